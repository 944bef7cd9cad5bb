"""The package's version, which every result file carries."""

__version__ = "1.0.0"

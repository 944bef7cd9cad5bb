"""Find the MLP neuron behind a token, in any decoder language model."""

__version__ = "0.1.0"

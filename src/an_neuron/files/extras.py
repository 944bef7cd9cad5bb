"""What the library needs only for some of its work: packages that `pip install an-neuron` alone leaves out."""

from collections.abc import Iterator
from contextlib import contextmanager

from an_neuron.errors import UserError

EXTRAS = {
    "plot": ("choreographer", "h5py", "kaleido", "plotly"),
    "workflow": ("bs4", "datasets", "jinja2", "jsonschema", "pooch", "pyarrow", "requests", "snakemake", "yaml"),
}
"""The modules that each extra of pyproject.toml adds; `workflow` adds those of `plot` too."""


@contextmanager
def extras() -> Iterator[None]:
    """Turn the import of a package that only an extra installs into a sentence with pip's command.

    Raises
    ------
    UserError
        If the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = next((extra for extra, modules in EXTRAS.items() if module in modules), None)
        if extra is None:
            raise
        raise UserError(f"The package {module} is not installed; run `pip install 'an-neuron[{extra}]'`.") from error

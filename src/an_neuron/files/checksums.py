"""The checksums of a study's results, in one file that `sha256sum --check` reads.

Jobs find damage in what they read by seals; this file tells of it also in tables, pages and figures, which no job
reads.
"""

import os
from collections.abc import Iterable
from hashlib import file_digest
from pathlib import Path

from an_neuron.errors import DamagedFileError
from an_neuron.files.atomic import write_text
from an_neuron.files.schema import Schema

CHECKSUMS = Schema(
    "checksums.sha256", "SHA-256 of all other results that `snakemake NAME` builds, as `sha256sum` writes them"
)
CIRCUIT_CHECKSUMS = Schema("checksums_circuit.sha256", "the same of what `snakemake NAME_circuit` builds besides")


def write_checksums(path: str | Path, results: Iterable[str | Path]) -> None:
    """Write the SHA-256 of files, one a line, sorted by their paths as seen from the folder of `path`.

    Raises
    ------
    DamagedFileError
        If a file cannot be read; the message names it.
    """
    folder = Path(path).parent
    lines = sorted((os.path.relpath(result, folder), _sum(Path(result))) for result in results)
    write_text(path, "".join(f"{digest}  {name}\n" for name, digest in lines))


def _sum(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedFileError(path, f"cannot be read ({error.strerror})") from error

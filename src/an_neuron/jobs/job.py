"""What every job does around its work: tell the terminal and the log, and end a user's mistake in a sentence.

Scripts import this module first: from then on, the collector of garbage looks through all objects far less often, of
which the modules that come next make a million that stay.
"""

import gc
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from an_neuron.errors import DamagedFileError, FullDiskError, UserError, is_out_of_memory

OUT_OF_MEMORY = (
    "The memory does not hold what this job needs. Run fewer jobs at a time (--cores 1), or take a larger machine."
)
gc.set_threshold(100_000, 20, 20)


class _Both:
    """A text stream that writes to the terminal and to the log; the log gets no redrawn progress lines."""

    def __init__(self, terminal: TextIO, log: TextIO) -> None:
        self._terminal, self._log = terminal, log

    def write(self, text: str) -> int:
        with suppress(OSError):  # a log on a full disk must not hide why a job stopped
            self._log.write(text.replace("\r", "\n"))
        return self._terminal.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._log.flush()
        self._terminal.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._terminal, name)


@contextmanager
def job(log: str, inputs: Iterable[str] = (), threads: int | None = None) -> Iterator[None]:
    """Run a job's work: stderr goes to terminal and log, and a UserError ends the process with its sentence alone.

    Parameters
    ----------
    log
        Path of the job's log.
    inputs
        Files that must not change while the job runs, else it fails: nobody could tell which of the two was read. Code
        is left out, since it was read at the start.
    threads
        How many threads torch may use; not set for jobs that do not use torch.
    """
    terminal = sys.stderr
    print(f"Running {_name(log)} …", file=terminal, flush=True)
    asked = sys.stdin
    gc.freeze()  # what is imported stays
    with _written(Path(log)) as file, Path(os.devnull).open(encoding="utf-8") as nothing:
        sys.stderr, sys.stdin = _Both(terminal, file), nothing  # no library asks anything in the middle of a job
        try:
            if threads is not None:
                import torch

                torch.set_num_threads(threads)
            with _unchanged([Path(path) for path in inputs if not path.endswith(".py")]):
                yield
        except UserError as error:
            print(f"\n{with_remedy(error)}\n", file=sys.stderr)
            if isinstance(error, FullDiskError):  # HDF5 would crash when it closes a file that it could not write
                sys.stderr.flush()
                os._exit(1)
            raise SystemExit(1) from None
        except Exception as error:
            import traceback

            traceback.print_exc()
            if is_out_of_memory(error):
                print(f"\n{OUT_OF_MEMORY}\n", file=sys.stderr)
            raise SystemExit(1) from None
        finally:
            sys.stderr, sys.stdin = terminal, asked
            gc.freeze()  # all that is left ends with the process: no need to look for what is garbage


@contextmanager
def _written(log: Path) -> Iterator[TextIO]:
    """Open a log; what a full disk does not take of it is lost, and nothing else is."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = log.open("w", encoding="utf-8")
    except OSError as error:
        print(f"\nThe log {log} cannot be written ({error.strerror}); make its folder writable.\n", file=sys.stderr)
        raise SystemExit(1) from None
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


def _name(log: str) -> str:
    """Return a job's rule and wildcards, by its log: `patch_neurons layers_0-29`."""
    parts = Path(log).with_suffix("").parts
    return " ".join(parts[parts.index("logs") + 1 :] if "logs" in parts else parts[-1:])


def with_remedy(error: UserError) -> str:
    """Return an error's sentence, and what mends it in a workflow."""
    if isinstance(error, DamagedFileError):
        return f"{error} Delete it and run snakemake again."
    if isinstance(error, FullDiskError):
        return f"{error} Then run snakemake again."
    return f"{error} In config.yaml: `{error.setting}`." if error.setting else str(error)


@contextmanager
def _unchanged(paths: Sequence[Path]) -> Iterator[None]:
    """Refuse that one of some files is another one at the end."""
    before = [_state(path) for path in paths]
    yield
    for path, state in zip(paths, before, strict=True):
        if _state(path) != state:
            raise UserError(f"{path} changed while this job read it, so its results are void. Run snakemake again.")


def _state(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns

"""The exceptions for what a user can mend, and what counts as too little memory.

They say what is wrong and where, to whoever calls the library; what to do about it in a workflow (which key of the
configuration, which command) is added by `jobs`.
"""

from pathlib import Path

MEMORY_REFUSALS = ("out of memory", "not enough memory", "allocate memory")
"""In the messages of the RuntimeErrors by which torch says that a GPU, or the CPU's allocator, has no more memory."""


class UserError(Exception):
    """A mistake or missing thing outside the code; the message says what and where in a sentence.

    Parameters
    ----------
    message
        The sentence.
    setting
        What would mend it in a study's configuration, as YAML: "corpus: {dtype: float32}".
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class NothingToRecoverError(UserError):
    """Clean and corrupted prompt measure the same, to rounding."""


class FullDiskError(UserError):
    """A result could not be written, because its disk is full."""


class DamagedFileError(UserError):
    """A result is missing, damaged, or not what its reader needs; to build it again mends that.

    Parameters
    ----------
    path
        The file.
    what
        What is wrong with it, as a clause after its name.
    """

    def __init__(self, path: str | Path, what: str) -> None:
        super().__init__(f"{path} {what}.")
        self.path = Path(path)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory was refused, by Python, numpy or torch, on whichever device."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(refusal in str(error).lower() for refusal in MEMORY_REFUSALS)

"""The exceptions for what a user can mend.

They say what is wrong and where, to whoever calls the library; what to do about it in a workflow (which key of the
configuration, which command) is added by `jobs`.
"""

from pathlib import Path


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

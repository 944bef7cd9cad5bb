"""The one exception for what a user can mend."""


class UserError(Exception):
    """A mistake or missing thing outside the code; the message says what, where and the remedy in a sentence."""


class FullDiskError(UserError):
    """A result could not be written, because its disk is full."""

"""Which device computes."""

import torch

from an_neuron.errors import UserError


def kind(name: str = "auto") -> str:
    """Return the torch device that a name means, and claim none; `auto` is cuda, then mps, then cpu.

    Raises
    ------
    UserError
        If a named device is not there.
    """
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return "cuda"  # not tried out, which would take memory of the first GPU, whoever uses that
    if name == "auto":
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device: {name!r} cannot be used ({reason}).", setting="device: auto") from error
    return name

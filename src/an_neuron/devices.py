"""Which device computes."""

import torch

from an_neuron.errors import UserError


def pick(name: str = "auto") -> str:
    """Return the torch device of a name; `auto` is cuda, then mps, then cpu.

    Raises
    ------
    UserError
        If a named device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device: {name!r} cannot be used ({reason}); write `device: auto` in config.yaml.") from error
    return name

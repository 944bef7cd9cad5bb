"""Values as a page's script reads them: numbers of few digits, arrays as text, and JSON that no token can end."""

import base64
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from an_neuron.files.texts import printable

DIGITS = 5
"""Significant digits of a number in a page; the files hold all of them."""


def rounded(values: Any, digits: int = DIGITS) -> Any:
    """Return a number, or an array as nested lists, in few significant digits; None for what is not finite."""
    array = np.asarray(values, dtype=float)
    if array.ndim:
        return [rounded(each, digits) for each in array]
    return float(f"{array:.{digits}g}") if np.isfinite(array) else None


def packed(values: np.ndarray) -> str:
    """Return an array, flat, as base64 of little-endian float32: a third of what digits would take."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def quoted(tokens: Iterable[str]) -> list[str]:
    """Return tokens in the double quotes in which finding.txt shows them; plain texts, not escaped."""
    return [f'"{printable(token)}"' for token in tokens]


def as_script(data: Any) -> str:
    """Return data as JSON for a script element, whose end no text in it can be: the same data gives the same text."""
    text = json.dumps(data, ensure_ascii=False, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")

"""How a study's figures look."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Drawing:
    """Size of a study's figures and of their letters, in pixels, and whether and how they are titled."""

    width: int
    height: int
    font_size: float
    title: bool
    titles: str

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Drawing":
        """Make it from its block of a checked configuration."""
        return cls(**{field.name: block[field.name] for field in fields(cls)})

"""Reading and changing what goes in and out of a model's modules, as long as a context lasts."""

from collections.abc import Callable, Iterator, Mapping, MutableSequence, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers.cache_utils import Cache

Function = Callable[[Tensor], Tensor | None]
Hook = tuple[nn.Module, str, Function]
"""A module, "in" or "out", and what sees its activation there and may return another one."""
Call = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional and named arguments of a block, besides its input."""


@contextmanager
def hooked(hooks: Sequence[Hook]) -> Iterator[None]:
    """Let functions see, and change by what they return, what goes into ("in") or comes out of ("out") modules."""
    handles = [
        module.register_forward_pre_hook(_before(function), with_kwargs=True)
        if end == "in"
        else module.register_forward_hook(_after(function))
        for module, end, function in hooks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def rows_apart(function: Function, rows: int) -> Function:
    """Let a function of [row, pos, ...] see activations whose rows and positions are one axis (inside OPT's blocks)."""

    def apart(activation: Tensor) -> Tensor | None:
        if activation.ndim > 2:
            return function(activation)
        changed = function(activation.unflatten(0, (rows, -1)))
        return None if changed is None else changed.flatten(0, 1)

    return apart


def _before(function: Function) -> Callable[..., Any]:
    """Return a hook for what a module is called with first, by place or, if nothing is given so, by name."""

    def hook(_module: nn.Module, inputs: tuple, named: dict[str, Any]) -> Any:
        name = None if inputs else next(iter(named))
        changed = function(inputs[0] if name is None else named[name])
        if changed is None:
            return None
        return ((changed, *inputs[1:]), named) if name is None else ((), {**named, name: changed})

    return hook


def _after(function: Function) -> Callable[..., Any]:
    def hook(_module: nn.Module, _inputs: tuple, output: Any) -> Any:
        changed = function(first(output))
        if changed is None or not isinstance(output, (tuple, list)):
            return changed
        return type(output)((changed, *output[1:]))

    return hook


@contextmanager
def noting_calls(blocks: Sequence[nn.Module], calls: list[Call]) -> Iterator[None]:
    """Note with which arguments, besides its input, each block is called; caches of keys and values are left out."""

    def note(_module: nn.Module, inputs: tuple, kwargs: dict[str, Any]) -> None:
        positional = tuple(None if isinstance(value, Cache) else value for value in inputs[1:])
        calls.append((positional, {key: None if isinstance(value, Cache) else value for key, value in kwargs.items()}))

    handles = [block.register_forward_pre_hook(note, with_kwargs=True) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def hand_on_more(calls: Sequence[Call]) -> bool:
    """Say whether blocks share anything else than the residual stream, such as other layers' keys (Gemma 4)."""
    handed = (value for positional, named in calls for value in (*positional, *named.values()))
    return any(isinstance(value, (Mapping, MutableSequence)) and bool(value) for value in handed)


def first(output: Any) -> Tensor:
    """Return a module's output, or the first of several."""
    return output[0] if isinstance(output, (tuple, list)) else output

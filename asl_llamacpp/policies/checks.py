"""Checks of a policy's values."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, get_args

import numpy as np

from ..selection.parameters import AllHeads, Heads


def integer(name: str, value: object, least: int) -> int:
    """`value` as an int of at least `least`; numpy integers pass, bools do not."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def number(name: str, value: object) -> float:
    """`value` as a float; bools do not pass."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return float(value)


def flag(name: str, value: object) -> bool:
    """`value` as a bool; numbers do not pass."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """ValueError if `value` is none of these words."""
    if value not in allowed:
        raise ValueError(f"{name} must be {' or '.join(map(repr, allowed))}, not {value!r}")


def heads_of(value: object) -> Heads:
    """A policy's `heads`: "sum", "max", or pairs of a layer and a query head, which are sorted."""
    words = get_args(AllHeads)
    if isinstance(value, str) or not isinstance(value, Iterable):
        if value not in words:
            raise ValueError(
                f"heads must be 'sum' or 'max', not {value!r}; or some heads as (layer, head), in text as 14.3+18.5"
            )
        return value  # type: ignore[return-value]
    pairs = [tuple(pair) if isinstance(pair, Iterable) and not isinstance(pair, str) else () for pair in value]
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"heads must be 'sum', 'max', or at least one pair (layer, head), not {value!r}")
    found = sorted((integer("heads: a layer", il, 0), integer("heads: a head", head, 0)) for il, head in pairs)
    twice = next((pair for pair, after in pairwise(found) if pair == after), None)
    if twice is not None:
        raise ValueError(f"heads has head {twice[1]} of layer {twice[0]} twice: name it once")
    return tuple(found)


def layer_or_auto(value: object) -> Any:
    """A policy's `layer`: an integer of at least 0, or "auto"."""
    if isinstance(value, str) and value != "auto":
        raise ValueError(f"layer must be an integer or 'auto', not {value!r}")
    return value if value == "auto" else integer("layer", value, 0)


def check_pooling(kernel: int) -> None:
    if kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} must be odd, to centre pooling: use {kernel + 1}")


def check_kept(name: str, kept: int, window: int) -> None:
    if kept <= window:
        raise ValueError(
            f"{name}={kept} must exceed window={window}, which is part of what is kept: raise {name} or lower window"
        )


def check_layer(name: str, value: object, n_layer: int) -> None:
    """A given layer must be one of the model's; words such as "auto" pass."""
    if isinstance(value, int) and value >= n_layer:
        raise ValueError(f"{name}={value}: lower it, the model's {n_layer} layers are 0 to {n_layer - 1}")


def check_resolved(*layers: object) -> None:
    """ValueError if one of them still is "auto"."""
    if "auto" in layers:
        raise ValueError("the policy still says 'auto': pass policy.resolve(n_layer)")

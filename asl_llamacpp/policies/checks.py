"""Checks of a policy's values."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np


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

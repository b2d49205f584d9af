"""What the policies share: their text form, and checks of their values."""

from __future__ import annotations

from dataclasses import fields
from numbers import Integral, Real
from typing import Any, ClassVar


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


class Spec:
    """A policy: a frozen dataclass with a name, whose text form `parse_policy` reads back.

    prunes     long prompts are prefilled layer by layer, and tokens or KV cells are dropped
    two_passes the first pass only chooses tokens; the model then runs again on just those, at positions 0..k-1
    """

    name: ClassVar[str]
    prunes: ClassVar[bool] = True
    two_passes: ClassVar[bool] = False

    def __str__(self) -> str:
        """The name, then whatever differs from the defaults: "asl:tau=0.4,select_k=1024"."""
        values = [(field, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        changed = [f"{field.name}={str(value).lower()}" for field, value in values if value != field.default]
        return ":".join(filter(None, (self.name, ",".join(changed))))

    def _set_checked(self, checked: dict[str, Any]) -> None:
        """Plain int and float in the place of what was given, so that policies compare and print alike."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)


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

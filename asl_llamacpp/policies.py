"""The pruning policies: one frozen dataclass each, and their text form, such as "asl:tau=0.4,select_k=1024".

A new policy is one more dataclass here and one more name in `Policy` and `POLICIES`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, TypeAlias


def _integer(name: str, value: object, least: int) -> int:
    """`value` as an int of at least `least`; numpy integers pass, bools do not."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return float(value)


class _Spec:
    """The text form that `parse_policy` reads back: the name, then whatever differs from the defaults."""

    name: ClassVar[str]
    prunes: ClassVar[bool]

    def __str__(self) -> str:
        values = [(field, getattr(self, field.name)) for field in fields(self)]  # type: ignore[arg-type]
        changed = [f"{field.name}={str(value).lower()}" for field, value in values if value != field.default]
        return ":".join(filter(None, (self.name, ",".join(changed))))


@dataclass(frozen=True)
class Full(_Spec):
    """No pruning: stock llama.cpp."""

    name: ClassVar[str] = "full"
    prunes: ClassVar[bool] = False


@dataclass(frozen=True)
class ASL(_Spec):
    """Adaptive layer selection (arXiv 2601.07667): prune at the layer where the ranks of the tokens settle.

    tau       select when the relative variance of the ranks, V_l / V_ref, is below it; finite, > 0
    l_min     first layer (0-based) at which the rule is evaluated, >= l_obs - 1;
              "auto": max(l_obs - 1, round(10 L / 32)) for a model of L layers
    l_max     layer after which selection is forced if the rule has not fired, >= l_min; None: never, which is
              the paper exactly; "auto": round(0.75 L), at least l_min and at most L - 1
    l_obs     how many most recent layers the variance looks at, >= 2
    window    observation window: the last `window` prompt tokens act as queries and are always kept, >= 1
    kernel    width of the average pooling over positions, odd, >= 1
    select_k  tokens kept by the selection, the window included, > window
    layer     select at this layer whatever the ranks say; the rule is not evaluated. None: the rule decides

    A model with so few layers that an "auto" l_min lies beyond its last one never fires, and its "auto" l_max
    is None: its prompts stay whole unless `layer` or a smaller `l_obs` is given.

    Raises TypeError or ValueError when made with a bad value.
    """

    tau: float = 0.3
    l_min: int | Literal["auto"] = "auto"
    l_max: int | Literal["auto"] | None = "auto"
    l_obs: int = 8
    window: int = 32
    kernel: int = 7
    select_k: int = 2048
    layer: int | None = None

    name: ClassVar[str] = "asl"
    prunes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {"tau": _number("tau", self.tau)}
        if not (math.isfinite(self.tau) and self.tau > 0):
            raise ValueError(f"tau must be finite and greater than 0, not {self.tau}: the paper's is 0.3")
        for name, least in (("l_obs", 2), ("window", 1), ("kernel", 1), ("select_k", 1)):
            checked[name] = _integer(name, getattr(self, name), least)
        for name, words in (("l_min", ("auto",)), ("l_max", ("auto", None)), ("layer", (None,))):
            value = getattr(self, name)
            if value in words:
                continue
            if isinstance(value, str):
                allowed = " or ".join(map(repr, words))
                raise ValueError(f"{name} must be an integer or {allowed}, not {value!r}")
            checked[name] = _integer(name, value, 0)
        for name, value in checked.items():  # plain int and float, so that policies compare and print alike
            object.__setattr__(self, name, value)
        self._check_together()

    def _check_together(self) -> None:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel={self.kernel} must be odd, to centre pooling: use {self.kernel + 1}")
        if self.select_k <= self.window:
            raise ValueError(
                f"select_k={self.select_k} must exceed window={self.window}, which is part of what is kept: "
                "raise select_k or lower window"
            )
        if isinstance(self.l_min, int) and self.l_min < self.l_obs - 1:
            raise ValueError(
                f"l_min={self.l_min} is too early to look back over l_obs={self.l_obs} layers: "
                f"use l_min >= {self.l_obs - 1}, or l_obs <= {self.l_min + 1}"
            )
        if isinstance(self.l_min, int) and isinstance(self.l_max, int) and self.l_max < self.l_min:
            raise ValueError(
                f"l_max={self.l_max} lies before l_min={self.l_min}, so the rule would never be evaluated: "
                f"raise l_max, lower l_min, or fix the layer with layer={self.l_max}"
            )

    def resolve(self, n_layer: int) -> ASL:
        """This policy for a model of `n_layer` layers: "auto" replaced by numbers (l_max may become None).

        Raises ValueError if a given layer is not in the model or a given l_max lies before the "auto" l_min.
        """
        n_layer = _integer("n_layer", n_layer, 1)
        for name in ("layer", "l_min", "l_max"):
            value = getattr(self, name)
            if isinstance(value, int) and value >= n_layer:
                last = n_layer - 1
                raise ValueError(f"{name}={value}: lower it, the model's {n_layer} layers are 0 to {last}")
        l_min = max(self.l_obs - 1, round(10 * n_layer / 32)) if self.l_min == "auto" else self.l_min
        l_max = self.l_max
        if l_max == "auto":
            l_max = min(max(l_min, round(0.75 * n_layer)), n_layer - 1) if l_min < n_layer else None
        return replace(self, l_min=l_min, l_max=l_max)


Policy: TypeAlias = Full | ASL
POLICIES: dict[str, type[Full] | type[ASL]] = {policy.name: policy for policy in (Full, ASL)}


def _value(text: str) -> int | float | str | None:
    if text == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def parse_policy(spec: str | Policy) -> Policy:
    """A policy object as it is, or one made from text: a name, then options after a colon, any letter case.

    "full", "asl", "asl:tau=0.4,select_k=1024", "asl:l_max=none,layer=14". Raises ValueError for an unknown
    name, an unknown option or a bad value, and TypeError for anything but text or a policy object.
    """
    if isinstance(spec, Policy):
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"a policy must be text such as 'asl' or a policy object such as ASL(), not {spec!r}")
    name, _, options = (part.strip() for part in spec.lower().partition(":"))
    if name not in POLICIES:
        raise ValueError(f"unknown policy {name!r}: use one of {', '.join(POLICIES)}")
    policy = POLICIES[name]
    known = [field.name for field in fields(policy)]
    values: dict[str, Any] = {}
    for option in options.split(",") if options else ():
        key, equals, text = (part.strip() for part in option.partition("="))
        if key not in known:
            raise ValueError(f"policy {name!r} has no option {key!r}: it takes {', '.join(known) or 'none'}")
        if not equals or key in values:
            raise ValueError(f"policy {spec!r}: give {key} once, as {key}=value")
        values[key] = _value(text)
    try:
        return policy(**values)
    except TypeError as error:  # the type is wrong because the text is: to the caller a bad value
        raise ValueError(f"policy {spec!r}: {error}") from None

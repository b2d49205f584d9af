"""The pruning policies: one frozen dataclass a file, and their text form, such as "asl:tau=0.4,select_k=1024".

A new policy is one more file here and one more name in `Policy` and `POLICIES`.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeAlias

from .asl import ASL, Heads, Reference
from .asl2pass import ASL2Pass
from .fastkv import FastKV
from .full import Full
from .gemfilter import GemFilter
from .snapkv import SnapKV

__all__ = [
    "ASL",
    "POLICIES",
    "ASL2Pass",
    "FastKV",
    "Full",
    "GemFilter",
    "Heads",
    "Policy",
    "Reference",
    "SnapKV",
    "parse_policy",
    "split_spec",
]

Policy: TypeAlias = Full | ASL | FastKV | SnapKV | GemFilter | ASL2Pass
POLICIES: dict[str, type[Policy]] = {policy.name: policy for policy in (Full, ASL, FastKV, SnapKV, GemFilter, ASL2Pass)}


def _value(text: str) -> int | float | str | None:
    if text == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def split_spec(spec: str) -> tuple[str, list[tuple[str, ...]]]:
    """The name of a text form, and its options: key, "=" or nothing, value. In lower case, nothing checked."""
    name, _, options = (part.strip() for part in spec.lower().partition(":"))
    parts = options.split(",") if options else []
    return name, [tuple(part.strip() for part in option.partition("=")) for option in parts]


def parse_policy(spec: str | Policy) -> Policy:
    """A policy object as it is, or one made from text: a name, then options after a colon, any letter case.

    "full", "asl", "asl:tau=0.4,select_k=1024", "asl:l_max=none,layer=14". Raises ValueError for an unknown
    name, an unknown option or a bad value, and TypeError for anything but text or a policy object.
    """
    if isinstance(spec, Policy):
        return spec
    if not isinstance(spec, str):
        raise TypeError(f"a policy must be text such as 'asl' or a policy object such as ASL(), not {spec!r}")
    name, options = split_spec(spec)
    if name not in POLICIES:
        raise ValueError(f"unknown policy {name!r}: use one of {', '.join(POLICIES)}")
    policy = POLICIES[name]
    known = [field.name for field in fields(policy)]
    values: dict[str, Any] = {}
    for key, equals, text in options:
        if key not in known:
            raise ValueError(f"policy {name!r} has no option {key!r}: it takes {', '.join(known) or 'none'}")
        if not equals or key in values:
            raise ValueError(f"policy {spec!r}: give {key} once, as {key}=value")
        values[key] = _value(text)
    try:
        return policy(**values)
    except TypeError as error:  # the type is wrong because the text is: to the caller a bad value
        raise ValueError(f"policy {spec!r}: {error}") from None

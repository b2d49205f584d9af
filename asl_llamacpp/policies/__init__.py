"""The pruning policies: one frozen dataclass a file, and their text form, such as "asl:tau=0.4,select_k=1024".

A new policy is one more file here, and one more line below; `Policy` says what it may answer.
"""

from __future__ import annotations

from typing import Any

from ..selection.parameters import AllHeads as AllHeads
from ..selection.parameters import Heads as Heads
from ..selection.parameters import Reference as Reference
from ..selection.parameters import Units as Units
from .base import POLICIES as POLICIES
from .base import Policy as Policy

# their order is that of help texts and tables
# isort: off
from .full import Full as Full
from .asl import ASL as ASL
from .fastkv import FastKV as FastKV
from .snapkv import SnapKV as SnapKV
from .gemfilter import GemFilter as GemFilter
from .asl2pass import ASL2Pass as ASL2Pass
from .pyramidinfer import PyramidInfer as PyramidInfer
# isort: on


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
    policy: Any = POLICIES[name]
    known = [field.name for field in policy.options()]
    values: dict[str, Any] = {}
    for key, equals, text in options:
        if key not in known:
            raise ValueError(f"policy {name!r} has no option {key!r}: it takes {', '.join(known) or 'none'}")
        if not equals or key in values:
            raise ValueError(f"policy {spec!r}: give {key} once, as {key}=value")
        values[key] = policy.read_option(key, text)
    try:
        made: Policy = policy(**values)
        return made
    except TypeError as error:  # the type is wrong because the text is: to the caller a bad value
        raise ValueError(f"policy {spec!r}: {error}") from None

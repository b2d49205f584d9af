"""What is compared: a policy at a budget, and what that makes of `Llama`'s arguments for a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from ..policies import POLICIES, Policy, parse_policy
from ..policies.read_by import Positions, check_reads

COMPRESSED = "+budget"


@dataclass(frozen=True)
class ReaderFile:
    """A model that reads for the one that is evaluated, whatever it costs."""

    path: Path
    positions: Positions = "original"

    def options(self) -> dict[str, Any]:
        """Further arguments of `Llama`."""
        return {"reader": self.path, "reader_options": {"allow_slower": True}, "positions": self.positions}

    def __str__(self) -> str:
        return f"read by {self.path.stem}" + ("" if self.positions == "original" else f", {self.positions}")


@dataclass(frozen=True)
class Variant:
    """A policy, and the share of the prompt that it keeps; `budget` None: what the policy itself says.

    The share is `select_k`, for SnapKV its budget. A policy that ends in "+budget" keeps no more KV cells per layer
    and head either: it compresses the layers before the selection. With a `reader` its layers are that model's.
    """

    policy: str
    budget: Fraction | None = None
    reader: ReaderFile | None = None

    @property
    def name(self) -> str:
        """Of the policy, in lines and tables."""
        return self.policy if self.reader is None else f"{self.policy} {self.reader}"

    def options(self, n_tokens: int) -> dict[str, Any]:
        """`kv_policy` and `kv_budget` for prompts of `n_tokens` tokens; more than the window is always kept."""
        policy = parse_policy(self.policy.removesuffix(COMPRESSED))
        more = {} if self.reader is None else self.reader.options()
        if self.budget is None or policy.size is None:
            return {"kv_policy": policy, "kv_budget": None, **more}
        kept = max(policy.window + 1, math.floor(self.budget * n_tokens))
        compressed = kept if self.policy.endswith(COMPRESSED) else None
        return {"kv_policy": policy.keeping(kept), "kv_budget": compressed, **more}

    def __str__(self) -> str:
        return self.name if self.budget is None else f"{self.name} at {self.budget}"


def variants(
    specs: Sequence[str], budgets: Sequence[str | Fraction] = (), reader: ReaderFile | None = None
) -> list[Variant]:
    """Each policy at each budget; `full`, and a policy that names its own `select_k` or `budget`, only as it is.

    reader: reads for every policy but `full`.

    Raises:
        ValueError: an unknown policy, a budget outside (0, 1), or "+budget" where there is nothing to compress; one
            that no other model can read for.
    """
    shares = [_share(budget) for budget in budgets]
    made: list[Variant] = []
    for spec in specs:
        compressed = spec.strip().lower().endswith(COMPRESSED)
        text = spec.strip().lower().removesuffix(COMPRESSED)
        policy = parse_policy(text)
        fixed = policy.size is None or f"{policy.size}=" in text
        if compressed:
            if not _compressible(policy):
                names = " and ".join(name for name in POLICIES if _compressible(parse_policy(name)))
                raise ValueError(f"{spec}: only {names} can be compressed beside their selection")
            if fixed or not shares:
                raise ValueError(f"{spec} needs a budget, such as 1/4, and no select_k of its own")
        if reader is not None and policy.prunes:
            check_reads(policy)
            if compressed:
                raise ValueError(f"{spec}: where another model reads, every layer holds the selected cells alone")
        name = f"{policy}{COMPRESSED if compressed else ''}"
        reads = reader if policy.prunes else None
        made += [Variant(name, share, reads) for share in ([None] if fixed or not shares else shares)]
    return list(dict.fromkeys(made))


def _compressible(policy: Policy) -> bool:
    return policy.select_k is not None and not policy.two_passes


def _share(text: str | Fraction) -> Fraction:
    try:
        share = Fraction(text)
    except (ValueError, ZeroDivisionError):
        share = Fraction(0)
    if not 0 < share < 1:
        raise ValueError(f"a budget is a share of the prompt between 0 and 1, such as 1/4, not {str(text)!r}")
    return share

"""What a model takes together with another one that reads its prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..policies import Policy
from ..policies.read_by import ReadBy, Reading, check_reads
from .memory_plan import Need, Planner
from .reader_pair import pair_work
from .reader_work import check_reader_work


@dataclass(frozen=True)
class ReaderPlanner:
    """Plans for two models.

    large, path          of the model that answers; its memory is for both
    reader, reader_path  of the one that reads; its memory and budget are not looked at
    """

    large: Planner
    path: Path
    reader: Planner
    reader_path: Path

    def needs(self, n_tokens: int, policies: Sequence[Policy]) -> list[Need]:
        """What each policy needs for a prompt of `n_tokens` of either model, each at its most; `full` has no reader.

        Raises ValueError if the prompt does not fit a context, or a policy selects no tokens.
        """
        rows = []
        for policy in policies:
            if not policy.prunes:
                rows += self.large.needs(self.path, n_tokens, [policy])
                continue
            check_reads(policy)
            rows.append(self._both(policy, n_tokens))
        return rows

    def _both(self, policy: Policy, n_tokens: int) -> Need:
        alone = replace(self.reader, memory=None, budget=None)
        (theirs,) = alone.needs(self.reader_path, n_tokens, [Reading(policy)])
        memory = self.large.memory
        left = None if memory is None or theirs.total is None else max(memory - theirs.total, 0)
        (ours,) = replace(self.large, memory=left).needs(self.path, n_tokens, [ReadBy(policy)])
        of_reader = (
            f"{(theirs.total or 0) / 2**20:,.1f} MiB of the total are the reader's" if memory is not None else ""
        )
        notes = filter(None, (of_reader, ours.note, self._work(policy, n_tokens)))
        return replace(_sum(ours, theirs), note="; ".join(notes))

    def _work(self, policy: Policy, n_tokens: int) -> str:
        """What it costs, as a sentence; why it would be refused, if it would."""
        found = self.reader.model, self.path, self.large.model.layers
        work = pair_work(self.reader_path, *found, policy, n_tokens)
        if n_tokens <= work.select_k:
            return f"prompts of at most select_k={work.select_k:,} tokens are not read by the other model"
        try:
            check_reader_work(work)
        except ValueError as error:
            return str(error)
        return f"{work}; so both take {work.share:.2f} of that"


def _sum(ours: Need, theirs: Need) -> Need:
    def both(name: str) -> int | None:
        one, other = getattr(ours, name), getattr(theirs, name)
        return None if one is None or other is None else one + other

    sizes = {name: both(name) for name in ("weights", "compute", "kv", "peak_kv", "host", "hidden", "mask", "total")}
    return replace(ours, **sizes, reader=theirs)  # type: ignore[arg-type]

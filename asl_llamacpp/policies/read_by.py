"""One model reads, another answers: what a policy means for each of the two.

A small model's attention chooses the tokens that a large one is then prefilled with, as in speculative prefill
(arXiv 2502.02789). Here the small one stops at the layer after which the policy selects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from ..engine.kinds import LayerShape
from ..selection.arrays import Floats, Ints
from ..selection.parameters import Heads
from ..selection.ranks import best
from ..selection.selectors import Deciding
from ..selection.unit_scores import best_units
from .answers import Pass, Prompt, WorstCase
from .base import Choice, Policy
from .checks import one_of
from .choice import InUnits
from .two_passes import TwoPasses

if TYPE_CHECKING:
    from typing_extensions import Self

Positions = Literal["original", "compact"]
"""Where the tokens that were chosen stand for the model that answers: where they stood, or one behind the other."""


def check_reads(policy: Policy) -> None:
    """ValueError for a policy that does not choose tokens once, by one layer's scores."""
    if not isinstance(policy, InUnits):
        raise ValueError(
            f"kv_policy={str(policy)!r} selects no tokens that another model could be given: take 'asl', 'fastkv' or "
            "'gemfilter' with reader=, or leave reader= out"
        )


def can_be_read_for(policy: Policy) -> bool:
    """Whether another model may read under this policy, or it needs none, as `full`."""
    return not policy.prunes or isinstance(policy, InUnits)


@dataclass(frozen=True)
class Half(Policy, listed=False):
    """One model's half of `policy`."""

    policy: Policy

    name: ClassVar[str] = "half"

    @property
    def window(self) -> int:
        return self.policy.window

    @property
    def kernel(self) -> int:
        return self.policy.kernel

    @property
    def select_k(self) -> int:
        assert self.policy.select_k is not None
        return self.policy.select_k

    @property
    def size(self) -> str | None:
        return self.policy.size

    def keeping(self, n: int) -> Self:
        return replace(self, policy=self.policy.keeping(n))

    def asked_in(self, n: int) -> Self:
        return replace(self, policy=self.policy.asked_in(n))

    def __str__(self) -> str:
        return str(self.policy)


@dataclass(frozen=True)
class Reading(Half, listed=False):
    """The half of the model that reads: it runs up to the selection, and leaves nothing but scores."""

    name: ClassVar[str] = "reading"
    two_passes: ClassVar[bool] = True

    @property
    def heads(self) -> Heads:
        return self.policy.heads

    def check_heads(self, shapes: Sequence[LayerShape]) -> None:
        self.policy.check_heads(shapes)

    @property
    def contrast(self) -> bool:
        return self.policy.contrast

    @property
    def threshold(self) -> float | None:
        return self.policy.threshold

    def resolve(self, n_layer: int) -> Self:
        return replace(self, policy=self.policy.resolve(n_layer))

    def selector(self, prompt: Prompt) -> Deciding:
        return self.policy.selector(prompt)

    @property
    def latest_layer(self) -> int | None:
        return self.policy.latest_layer

    def worst_case(self, prompt: Prompt, keep: int | None = None) -> WorstCase:
        one = super().worst_case(prompt)
        if one.latest is None or one.latest == prompt.n_layer:
            return one
        return WorstCase(one.latest, (Pass((prompt.n_tokens,) * (one.latest + 1), self.window),))


@dataclass(frozen=True)
class ReadBy(Half, TwoPasses, listed=False):  # type: ignore[override]
    """The half of the model that answers: it runs on `select_k` tokens that another one chose, through all layers.

    positions  "original": they keep their places in the prompt; "compact": they are numbered anew, 0..select_k-1
    """

    positions: Positions = "original"

    name: ClassVar[str] = "read"
    keep: ClassVar[str] = "selected"

    def __post_init__(self) -> None:
        check_reads(self.policy)
        one_of("positions", self.positions, ("original", "compact"))

    @property
    def reading(self) -> Reading:
        """The other model's half."""
        return Reading(self.policy)

    def choose(self, scores: Floats, count: int, starts: Ints) -> Ints:
        """Indices of the `count` tokens, of those that `scores` are of, that go to the model that answers.

        scores: float32 [m]
        starts: int32 [n_units], where each sentence, line or row among them begins
        """
        in_units = isinstance(self.policy, InUnits) and self.policy.units == "sentences"
        return best_units(scores, starts, count) if in_units else best(scores, count)

    def worst_case(self, prompt: Prompt, keep: int | None = None) -> WorstCase:
        n = min(prompt.n_tokens, self.select_k)
        return WorstCase(None, (Pass((n,) * prompt.n_layer, keep),))

    def _selecting_only(self, prompt: Prompt, select_k: int, forced: bool) -> Choice:
        if select_k == self.select_k:
            return Choice(self, None)
        return Choice(
            self.keeping(select_k), None, f"select_k lowered from {self.select_k} to {select_k}, to fit the budget"
        )

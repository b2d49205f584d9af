"""How far a prefill is, and how long it will still take, from what it says while it runs."""

from __future__ import annotations

from statistics import linear_regression

from ..policies import Policy
from ..policies.answers import Prompt
from ..policies.read_by import ReadBy
from .report import Progress

SURE_AFTER = 0.5
"""Seconds of a prefill before there is anything to tell."""

_ENOUGH = 3
_MOST_GROWTH = 4.0
_PHASES = ("document", "full", "reading", "shallow", "deep", "second", "answering")


class TimeLeft:
    """Work is counted in tokens times layers: behind the selection a layer runs on few tokens, and is cheap.

    Within a layer later tokens cost more, as they attend to more; how much more shows while it runs. Until the tokens
    are selected, the latest layer is assumed at which the policy may do that: the time left is then more likely to
    jump down than up.

    policy    None: nothing will be pruned
    n_prompt  tokens of the whole prompt; None: those that the first layers run on, which are too few for a prompt
              that begins with a document that is known
    share     of the work that is done, 0 to 1
    """

    def __init__(self, policy: Policy | None = None, n_prompt: int | None = None) -> None:
        self.policy, self.n_prompt = policy, n_prompt
        self.share = 0.0
        self._growth = 0.0  # how much more the last token costs than the first, as a share of that
        self._clear()

    def _clear(self) -> None:
        self._done, self._seconds = 0.0, 0.0
        self._run_begin = 0
        self._costs: list[tuple[float, float]] = []
        self._before: tuple[Progress, float, float] | None = None

    def __call__(self, progress: Progress, now: float) -> float | None:
        """Seconds left at `now`, a clock's seconds; None as long as nobody can know."""
        if self._before is not None and _place(progress) < _place(self._before[0]):
            self._clear()  # another prefill
        elif self._before is not None and self._before[0].phase != progress.phase == "answering":
            self._clear()  # another model
        if progress.tokens == 0:
            self._run_begin, self._costs = progress.layer, []
        before = self._before
        if before is not None and progress.tokens - before[0].tokens > 0:
            self._learn(before[0].tokens / progress.n_tokens, progress.tokens / progress.n_tokens, now - before[2])
        layers = self._layers(progress)
        if before is not None and before[0].phase == progress.phase:
            self._done += (layers - before[1]) * progress.n_tokens
            self._seconds += now - before[2]
        self._before = progress, layers, now
        left = self._left(progress, layers)
        self.share = min(max(self._done / (self._done + left), 0.0), 1.0) if self._done + left > 0 else 1.0
        if self._seconds < SURE_AFTER or self._done <= 0:
            return None
        return left * self._seconds / self._done

    def _learn(self, begin: float, end: float, seconds: float) -> None:
        self._costs.append(((begin + end) / 2, seconds / (end - begin)))
        if len(self._costs) >= _ENOUGH:
            slope, first = linear_regression(*zip(*self._costs, strict=True))
            self._growth = min(max(slope / first, 0.0), _MOST_GROWTH) if first > 0 else _MOST_GROWTH

    def _layers(self, progress: Progress) -> float:
        """Layers that the phase has run through. Several may run as one, batch by batch: the first is known then."""
        share = progress.tokens / max(progress.n_tokens, 1)
        begin, span = self._run_begin, 1.0
        if progress.phase == "full":
            begin, span = 0, float(progress.layers)
        elif progress.layer > begin and share > 0:
            span = (progress.layer - begin + 0.5) / share
        return begin + span * share * (1 + self._growth * share / 2) / (1 + self._growth / 2)

    def _left(self, progress: Progress, layers: float) -> float:
        n = progress.n_tokens
        if progress.phase not in ("shallow", "reading"):
            return max(progress.layers - layers, 0.0) * n
        policy = self.policy
        if progress.phase == "reading" and isinstance(policy, ReadBy):
            policy = policy.reading
        through, later = _expected(policy, self.n_prompt or n, progress.layers)
        return max(through - layers, 0.0) * n + sum(kept * self._cost(kept / n) for kept in later)

    def _cost(self, share: float) -> float:
        """What one of the first `share` of a layer's tokens costs, against one of all of them."""
        return (1 + self._growth * min(share, 1.0) / 2) / (1 + self._growth / 2)


def _expected(policy: Policy | None, n_tokens: int, layers: int) -> tuple[int, list[int]]:
    """Layers that a prompt's tokens run through, and the tokens that each one after these runs on."""
    if policy is None:
        return layers, []
    expected = policy.resolve(layers).worst_case(Prompt(n_tokens, layers, range(layers)))
    if expected.latest is None or expected.latest == layers:
        return layers, []
    tokens = [tokens for one in expected.passes for tokens in one.tokens]
    return expected.latest + 1, tokens[expected.latest + 1 :]


def _place(progress: Progress) -> tuple[int, int, int]:
    return _PHASES.index(progress.phase), progress.layer, progress.tokens


def duration_text(seconds: float) -> str:
    """As "40 s", "3 min 20 s" or "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"

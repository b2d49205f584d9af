"""How far a prefill is, and how long it will still take, from what it says while it runs."""

from __future__ import annotations

from ..policies import Full, Policy
from ..report import Progress

SURE_AFTER = 0.5
"""Seconds of a prefill before there is anything to tell."""

_PHASES = ("document", "full", "shallow", "deep", "second")


class TimeLeft:
    """Work is counted in tokens times layers: behind the selection a layer runs on few tokens, and is cheap.

    Until the tokens are selected, the latest layer is assumed at which the policy may do that: the time left is then
    more likely to jump down than up.

    policy    None: nothing will be pruned
    n_prompt  tokens of the whole prompt; None: those that the first layers run on, which are too few for a prompt
              that begins with a document that is known
    share     of the work that is done, 0 to 1
    """

    def __init__(self, policy: Policy | None = None, n_prompt: int | None = None) -> None:
        self.policy, self.n_prompt = policy, n_prompt
        self.share = 0.0
        self._clear()

    def _clear(self) -> None:
        self._done, self._seconds = 0.0, 0.0
        self._run_begin = 0
        self._before: tuple[Progress, float, float] | None = None

    def __call__(self, progress: Progress, now: float) -> float | None:
        """Seconds left at `now`, a clock's seconds; None as long as nobody can know."""
        if self._before is not None and _place(progress) < _place(self._before[0]):
            self._clear()  # another prefill
        if progress.tokens == 0:
            self._run_begin = progress.layer
        layers = self._layers(progress)
        if self._before is not None and self._before[0].phase == progress.phase:
            _, layers_before, then = self._before
            self._done += max(layers - layers_before, 0.0) * progress.n_tokens
            self._seconds += now - then
        self._before = progress, layers, now
        left = self._left(progress, layers)
        self.share = self._done / (self._done + left) if self._done + left else 1.0
        if self._seconds < SURE_AFTER or not self._done:
            return None
        return left * self._seconds / self._done

    def _layers(self, progress: Progress) -> float:
        """Layers that the phase has run through."""
        share = progress.tokens / max(progress.n_tokens, 1)
        if progress.phase == "full":
            return progress.layers * share
        # several layers may run as one, batch by batch; of these only whole ones are told
        return progress.layer + (0.5 if progress.layer > self._run_begin else share)

    def _left(self, progress: Progress, layers: float) -> float:
        n = progress.n_tokens
        if progress.phase != "shallow":
            return max(progress.layers - layers, 0.0) * n
        through, later = self._expected(progress.layers, n)
        return max(through - layers, 0.0) * n + later

    def _expected(self, layers: int, n: int) -> tuple[int, int]:
        """Layers that the prompt's tokens run through, and the work of the selected ones after that."""
        if self.policy is None or isinstance(self.policy, Full):
            return layers, 0
        policy = self.policy.resolve(layers)
        kept: int | None = getattr(policy, "select_k", None)
        layer: int | None = getattr(policy, "layer", None)
        layer = getattr(policy, "l_max", None) if layer is None else layer
        if kept is None or layer is None or (self.n_prompt or n) <= kept:
            return layers, 0
        return layer + 1, kept * (layers if policy.two_passes else layers - layer - 1)


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

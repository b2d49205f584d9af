"""Rules that choose a layer from what was recorded, and how far from the best layer they end.

The regret of a rule on a prompt is the log-probability of the right answer (mean over its tokens, nats) when selection
is forced at the best of the layers that were tried, minus the same at the layer that the rule chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lines import Line
from .signals import Series, relative_to_first, relative_to_peak

TAU, PEAK_TAU, L_OBS = 0.3, 0.4, 8
_CANDIDATES = 61

Choice = tuple[int, bool]
"""A layer, and whether the rule itself chose it."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tried:
    """One prompt at one budget, `share`; `logprob`, `greedy` and `kept` by how scores were combined, then by layer."""

    seed: int
    sample: int
    task: str
    share: float
    n_layer: int
    l_min: int
    l_max: int
    full: float
    logprob: dict[str, dict[int, float]]
    greedy: dict[str, dict[int, bool]]
    kept: dict[str, dict[int, float]]
    variance: dict[str, dict[int, Series]]
    series: dict[str, Series]
    settings: dict[str, tuple[int, float, float | None]]

    @property
    def best(self) -> float:
        return max(self.logprob["sum"].values())

    @property
    def deepest(self) -> int:
        return max(self.logprob["sum"])

    def work(self, layer: int) -> float:
        """Tokens times layers of a prefill that selects there, against those of an unpruned one."""
        return (layer + 1 + self.share * (self.n_layer - layer - 1)) / self.n_layer

    def regret(self, layer: int) -> float:
        return self.best - self.logprob["sum"][layer]


def tried(lines: Iterable[Line], budget: str) -> list[Tried]:
    """The prompts that the unpruned model answers rightly, at one budget."""
    return [_tried(line, budget) for line in lines if budget in line.get("budgets", {})]


def _tried(line: Line, budget: str) -> Tried:
    found, n_answer, l_min = line["budgets"][budget], line["n_answer"], line["l_min"]
    ways = {how: {int(il): value for il, value in by_layer.items()} for how, by_layer in found["tried"].items()}
    variance = {
        heads: {int(l_obs): series for l_obs, series in by_rows.items()} for heads, by_rows in found["variance"].items()
    }
    relative = {"V / V at L_min": relative_to_first, "V / peak V": relative_to_peak}
    return Tried(
        seed=line["seed"],
        sample=line["sample"],
        task=line["task"],
        share=found["k"] / line["length"],
        n_layer=line["n_layer"],
        l_min=l_min,
        l_max=line["l_max"],
        full=line["full"][0] / n_answer,
        logprob={how: {il: value[0] / n_answer for il, value in way.items()} for how, way in ways.items()},
        greedy={how: {il: value[1] for il, value in way.items()} for how, way in ways.items()},
        kept={how: {il: v[2] for il, v in way.items() if v[2] is not None} for how, way in ways.items()},
        variance=variance,
        series={**found["signals"], **{name: make(variance["sum"][L_OBS], l_min) for name, make in relative.items()}},
        settings={name: (il, value / n_answer, kept) for name, (il, value, _, kept) in found["settings"].items()},
    )


def first_past(series: Series, threshold: float, below: bool, start: int, last: int) -> Choice:
    """The first layer from `start` on whose signal is below (or above) the threshold; `last` if none is."""
    for il in range(start, last + 1):
        value = series[il]
        if value is not None and (value < threshold if below else value > threshold):
            return il, True
    return last, False


@dataclass(frozen=True)
class Signal:
    """A rule with one threshold on one signal: `name` in `Tried.series`; `below`: it fires when the signal falls."""

    name: str
    below: bool

    def choose(self, prompt: Tried, threshold: float, last: int | None = None) -> Choice:
        last = prompt.l_max if last is None else last
        return first_past(prompt.series[self.name], threshold, self.below, prompt.l_min, last)

    def fit(self, prompts: Sequence[Tried]) -> float:
        """The threshold of least mean regret; candidates are quantiles of the signal's values."""
        values = [value for p in prompts for value in p.series[self.name][p.l_min : p.l_max + 1] if value is not None]
        candidates = np.unique(np.quantile(values, np.linspace(0, 1, _CANDIDATES)))
        regrets = [np.mean([p.regret(self.choose(p, t)[0]) for p in prompts]) for t in candidates]
        return float(candidates[int(np.argmin(regrets))])


SIGNALS = (
    Signal("V / V at L_min", below=True),
    Signal("V / peak V", below=True),
    Signal("entropy", below=True),
    Signal("mass", below=False),
    Signal("peak", below=False),
    Signal("overlap", below=False),
    Signal("correlation", below=False),
)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a rule did on each prompt. `note`: the thresholds or layers that were fitted."""

    name: str
    regret: Floats
    layer: Floats
    fired: Floats
    greedy: Floats
    work: Floats
    note: str = ""


def outcome(name: str, prompts: Sequence[Tried], choices: Sequence[Choice], note: str = "") -> Outcome:
    pairs = list(zip(prompts, choices, strict=True))
    regret = np.array([prompt.regret(layer) for prompt, (layer, _) in pairs])
    greedy = np.array([float(prompt.greedy["sum"][layer]) for prompt, (layer, _) in pairs])
    layers, fired = np.array([float(layer) for layer, _ in choices]), np.array([float(own) for _, own in choices])
    work = np.array([prompt.work(layer) for prompt, (layer, _) in pairs])
    return Outcome(name, regret, layers, fired, greedy, work, note)


PAPER = f"V / V at L_min < {TAU:g}"


def outcomes(prompts: Sequence[Tried]) -> list[Outcome]:
    """Every rule on every prompt, the paper's (with l_max) first; what is fitted is fitted on the other half."""
    first, peak = SIGNALS[:2]
    deepest = prompts[0].deepest
    found = [
        outcome(PAPER, prompts, [first.choose(p, TAU) for p in prompts]),
        outcome(f"{PAPER}, no l_max", prompts, [first.choose(p, TAU, deepest) for p in prompts]),
        outcome(f"V / peak V < {PEAK_TAU:g}", prompts, [peak.choose(p, PEAK_TAU) for p in prompts]),
        outcome(f"V / peak V < {PEAK_TAU:g}, no l_max", prompts, [peak.choose(p, PEAK_TAU, deepest) for p in prompts]),
    ]
    for signal in SIGNALS:
        sign = "<" if signal.below else ">"
        found.append(_fitted(f"{signal.name} {sign} fitted", prompts, signal.fit, signal.choose))
    found.append(_fitted("fitted layer", prompts, best_layer, lambda p, layer: (int(layer), False)))
    found.append(outcome("layer 0.75 L", prompts, [(p.l_max, False) for p in prompts]))
    found.append(outcome("layer L // 2 - 1", prompts, [(p.n_layer // 2 - 1, False) for p in prompts]))
    found.append(outcome("best layer of each prompt", prompts, [(_best(p), False) for p in prompts]))
    return found


def best_layer(prompts: Sequence[Tried]) -> float:
    """The layer of least mean regret, if it is the same for all."""
    layers = sorted(set.intersection(*(set(p.logprob["sum"]) for p in prompts)))
    return layers[int(np.argmin([np.mean([p.regret(il) for p in prompts]) for il in layers]))]


def _best(prompt: Tried) -> int:
    return max(prompt.logprob["sum"], key=prompt.logprob["sum"].__getitem__)


def halves(prompts: Sequence[Tried]) -> list[int]:
    """0 or 1 by prompt: by seed, or by sample if there is one seed."""
    seeds = sorted({p.seed for p in prompts})
    return [(seeds.index(p.seed) if len(seeds) > 1 else p.sample) % 2 for p in prompts]


def _fitted(
    name: str,
    prompts: Sequence[Tried],
    fit: Callable[[Sequence[Tried]], float],
    choose: Callable[[Tried, float], Choice],
) -> Outcome:
    """Each half is judged by what was fitted on the other one."""
    half = halves(prompts)
    others = [[p for p, h in zip(prompts, half, strict=True) if h != mine] for mine in (0, 1)]
    values = [fit(other or prompts) for other in others]
    choices = [choose(p, values[h]) for p, h in zip(prompts, half, strict=True)]
    note = " / ".join(f"{value:.3g}" for value in values)
    return outcome(name, prompts, choices, note if all(others) else f"{note}, on the same prompts")

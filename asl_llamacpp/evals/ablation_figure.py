"""The figure of an ablation: how likely the right answer is by the layer of the selection."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..prefill.plot import figure_class
from .ablation_rules import Tried
from .signals import COMBINED
from .statistics import interval

_COLORS = ("#3b5b92", "#c8452d", "#8a6fb0", "#4f8f5b")
_LABELS = {
    "sum": "sum over heads (the paper)",
    "max": "max over heads",
    "sum4": "sum over heads, max over 4 layers",
    "max4": "max over heads and 4 layers",
}


def draw(by_budget: dict[str, list[Tried]], path: Path) -> None:
    """A panel for each budget, into a PNG file."""
    figure = figure_class()(figsize=(5.2 * len(by_budget), 4.2), layout="constrained")
    panels = figure.subplots(1, len(by_budget), sharey=True, squeeze=False)[0]
    for axes, (budget, prompts) in zip(panels, by_budget.items(), strict=True):
        for how, color in zip(COMBINED, _COLORS, strict=True):
            layers = sorted(set.intersection(*(set(p.logprob[how]) for p in prompts)))
            values = [[p.logprob[how][il] for p in prompts] for il in layers]
            axes.plot(layers, [np.mean(v) for v in values], color=color, marker="o", markersize=4, label=_LABELS[how])
            if how == "sum":
                low, high = zip(*map(interval, values), strict=True)
                axes.fill_between(layers, low, high, color=color, alpha=0.15, linewidth=0)
        axes.axhline(float(np.mean([p.full for p in prompts])), color="#555555", linestyle="--", label="unpruned")
        best = float(np.mean([p.best for p in prompts]))
        axes.axhline(best, color="#555555", linestyle=":", label="best layer of each prompt")
        axes.axvline(prompts[0].l_max, color="#bbbbbb", linewidth=1, zorder=0)
        axes.set_title(f"{budget} of the prompt kept, {len(prompts)} prompts", fontsize=10)
        axes.set_xlabel("layer of the selection (grey: l_max)")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("log-probability of the answer, nats per token")
    panels[0].legend(frameon=False, fontsize=8, loc="lower right")
    figure.savefig(path, dpi=150)

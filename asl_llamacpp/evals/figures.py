"""Figures: accuracy by policy and budget for each benchmark, and heat maps of the needle grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..prefill.plot import figure_class
from .lines import Line, answered
from .registry import GRID, GRID_TASK
from .summary import FULL, Row, summarize

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = ("#3b5b92", "#c8452d", "#4f8f5b", "#8a63a8", "#c98a1b", "#3a9aa8", "#7a5c48", "#9a9a9a")
_FULL_COLOR, _MUTED = "#555555", "#e6e6e6"
_OWN = "own"
"""Where a policy was run without a budget, with what it keeps by itself."""


def draw(lines: Sequence[Line], folder: str | Path) -> list[Path]:
    """Draw what `lines` hold into PNG files in `folder`; the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure_class()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    good = answered(lines)
    rows = summarize(good, by="family")
    models = list(dict.fromkeys(row.model for row in rows))
    made: list[Path] = []
    for model in models:
        start = "" if len(models) == 1 else f"{_file_name(model)}-"
        own = [row for row in rows if row.model == model]
        for family in dict.fromkeys(row.family for row in own):
            path = folder / f"{start}accuracy-{_file_name(family)}.png"
            _accuracy([row for row in own if row.family == family], f"{family}, {model}", path)
            made.append(path)
        if any(row.family == GRID for row in own):
            path = folder / f"{start}needle-grid.png"
            _heat_maps([row for row in summarize(good) if row.model == model and row.family == GRID], model, path)
            made.append(path)
    return made


def _accuracy(rows: list[Row], title: str, path: Path) -> None:
    """A panel for each length: a line for each policy over the budgets, `full` across."""
    lengths = sorted({row.length for row in rows})
    budgets = sorted({row.budget or _OWN for row in rows if row.policy != FULL}, key=_falling)
    policies = list(dict.fromkeys(row.policy for row in rows if row.policy != FULL))
    figure = figure_class()(figsize=(3.4 * len(lengths) + 2.2, 3.8), layout="constrained")
    panels = figure.subplots(1, len(lengths), sharey=True, squeeze=False)[0]
    figure.suptitle(f"{title}: accuracy, 95 % intervals", fontsize=11, x=0.02, ha="left")
    for axes, length in zip(panels, lengths, strict=True):
        here = [row for row in rows if row.length == length]
        _full_line(axes, [row for row in here if row.policy == FULL])
        for i, policy in enumerate(policies):
            shift = 0.5 * (i - (len(policies) - 1) / 2) / max(len(policies), 2)
            _policy_line(axes, [row for row in here if row.policy == policy], budgets, shift, _COLORS[i % len(_COLORS)])
        axes.set_title(f"{length:,} tokens", fontsize=10)
        axes.set_xticks(range(len(budgets)), budgets)
        axes.set_xlim(-0.6, max(len(budgets), 1) - 0.4)
        axes.set_xlabel("share of the prompt that is kept")
        axes.set_ylim(-0.03, 1.03)
        axes.grid(axis="y", color=_MUTED, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("accuracy")
    legend = {}
    for axes in panels:
        legend.update({label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)})
    figure.legend(legend.values(), legend.keys(), loc="outside right center", frameon=False, fontsize=9)
    figure.savefig(path, dpi=150)


def _full_line(axes: Axes, rows: list[Row]) -> None:
    for row in rows:
        axes.axhline(row.accuracy, color=_FULL_COLOR, linewidth=1.4, linestyle="--", label=FULL)
        axes.axhspan(*_span(row), color=_FULL_COLOR, alpha=0.12, linewidth=0)


def _policy_line(axes: Axes, rows: list[Row], budgets: list[str], shift: float, color: str) -> None:
    if not rows:
        return
    rows = sorted(rows, key=lambda row: budgets.index(row.budget or _OWN))
    x = [budgets.index(row.budget or _OWN) + shift for row in rows]
    y = [row.accuracy for row in rows]
    spans = [_span(row) for row in rows]
    errors = [[max(a - low, 0) for a, (low, _) in zip(y, spans, strict=True)]]
    errors.append([max(high - a, 0) for a, (_, high) in zip(y, spans, strict=True)])
    style: dict[str, Any] = {"marker": "o", "markersize": 5, "linewidth": 1.4, "capsize": 3, "color": color}
    axes.errorbar(x, y, yerr=errors, label=rows[0].policy, **style)


def _heat_maps(rows: list[Row], model: str, path: Path) -> None:
    """A panel for each policy and budget: depth of the needle downwards, length of the prompt across."""
    kinds = list(dict.fromkeys((row.policy, row.budget) for row in rows))
    lengths = sorted({row.length for row in rows})
    depths = sorted({_depth(row) for row in rows})
    across = min(len(kinds), 4)
    down = math.ceil(len(kinds) / across)
    size = (across * max(1.6 + 0.45 * len(lengths), 2.6) + 1, down * (1.4 + 0.3 * len(depths)) + 0.5)
    figure = figure_class()(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
    figure.suptitle(f"Needle grid, {model}", fontsize=11, x=0.02, ha="left")
    image = None
    for axes, (policy, budget) in zip(panels, kinds, strict=False):
        cells = [[float("nan")] * len(lengths) for _ in depths]
        for row in rows:
            if (row.policy, row.budget) == (policy, budget):
                cells[depths.index(_depth(row))][lengths.index(row.length)] = row.accuracy
        image = axes.imshow(cells, vmin=0, vmax=1, cmap="cividis", aspect="auto")
        axes.set_title(policy if budget is None else f"{policy} at {budget}", fontsize=9)
        axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths], rotation=45, fontsize=8)
        axes.set_yticks(range(len(depths)), [f"{depth:g} %" for depth in depths], fontsize=8)
    for axes in panels[len(kinds) :]:
        axes.set_visible(False)
    figure.supxlabel("prompt, tokens", fontsize=9)
    figure.supylabel("depth of the needle", fontsize=9)
    figure.colorbar(image, ax=list(panels), shrink=0.8)
    figure.savefig(path, dpi=150)


def _span(row: Row) -> tuple[float, float]:
    return (row.accuracy, row.accuracy) if math.isnan(row.low) else (row.low, row.high)


def _depth(row: Row) -> float:
    return float(row.task.removeprefix(f"{GRID_TASK}@"))


def _falling(budget: str) -> Fraction:
    return Fraction(-2) if budget == _OWN else -Fraction(budget)


def _file_name(text: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())

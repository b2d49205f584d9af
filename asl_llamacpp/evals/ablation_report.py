"""Tables and a figure of an ablation's lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from .ablation_figure import draw
from .ablation_rules import L_OBS, PAPER, Choice, Outcome, Tried, first_past, outcome, outcomes, tried
from .lines import Line
from .signals import COMBINED, relative_to_first, relative_to_peak
from .statistics import Comparison, compare, holm, interval

TAUS, ROWS, FIRST_LAYERS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.7), (2, 4, 6, 8, 10), (7, 9, 11, 13, 15)
MEMORY = (0.5, 0.6, 0.7, 0.8, 0.9)
LEAST = 2
"""Prompts without which there is nothing to tell."""

_HEAD = """\
# Ablation: where to select, and by which scores

Mean log-probability of the right answer's tokens (nats), over {n} prompts that the model answers rightly without
pruning ({skipped} others were left out, {failed} failed): {tasks}. Regret: how much less likely than with selection at
the best layer of that prompt. Intervals: 95 %, bootstrap over prompts. p: paired permutation test, with Holm's
correction over a table. Fitted: on the prompts of the other half of the seeds. greedy: prompts at which each token of
the right answer is the most likely one. kept: share of the answer's tokens in the prompt that are selected. work:
tokens times layers of the prefill, against an unpruned one: late layers lose little because they prune little.
"""


def write_report(lines: Sequence[Line], folder: Path) -> str:
    """Write ablation.md and ablation.png into `folder`; the text."""
    good = [line for line in lines if "budgets" in line]
    budgets = list(dict.fromkeys(budget for line in good for budget in line["budgets"]))
    counts = Counter(line["task"] for line in good)
    head = _HEAD.format(
        n=len(good),
        skipped=sum("skipped" in line for line in lines),
        failed=sum("error" in line for line in lines),
        tasks=", ".join(f"{task} {count}" for task, count in counts.items()) or "none",
    )
    parts = [head]
    by_budget = {budget: tried(good, budget) for budget in budgets}
    for budget, prompts in by_budget.items():
        if len(prompts) >= LEAST:
            parts += [f"\n## {budget} of the prompt\n", *_tables(prompts)]
    enough = {budget: prompts for budget, prompts in by_budget.items() if len(prompts) >= LEAST}
    if enough:
        parts += ["\n## The layer that a memory limit forces: log-probability (layer)\n", _memory(enough)]
    text = "\n".join(parts)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ablation.md").write_text(text, encoding="utf-8")
    if all(len(prompts) >= LEAST for prompts in by_budget.values()) and by_budget:
        draw(by_budget, folder / "ablation.png")
    return text


def _tables(prompts: list[Tried]) -> list[str]:
    full = np.mean([p.full for p in prompts])
    best = np.mean([p.best for p in prompts])
    return [
        f"Unpruned {full:.3f}, best layer of each prompt {best:.3f}.\n",
        "### Rules\n", _rules(outcomes(prompts)),
        "\n### How heads and layers are combined\n", _combinations(prompts),
        "\n### By layer\n", _by_layer(prompts),
        "\n### tau and L_obs: regret (share of prompts at which the rule fires)\n", _grid(prompts),
        "\n### L_min: the same\n", _starts(prompts),
        "\n### Window and kernel, the layer chosen by the paper's rule with l_max\n", _settings(prompts),
    ]  # fmt: skip


def _rules(found: list[Outcome]) -> str:
    paper = next(one for one in found if one.name == PAPER)
    compared = [one for one in found if one is not paper and one.name != "best layer of each prompt"]
    pairs = {one.name: compare(one.regret.tolist(), paper.regret.tolist()) for one in compared}
    corrected = dict(zip(pairs, holm([pair.p for pair in pairs.values()]), strict=True))
    rows = [("rule", "regret [95 %]", "against the paper's", "p (Holm)", "layer", "fires", "work", "greedy", "fitted")]
    for one in found:
        pair = pairs.get(one.name)
        rows.append(
            (
                one.name,
                mean_interval(one.regret.tolist()) if one.regret.any() else "0",
                "-" if pair is None else difference(pair),
                "-" if pair is None else f"{corrected[one.name]:.3f}",
                f"{one.layer.mean():.1f}",
                f"{100 * one.fired.mean():.0f} %",
                f"{one.work.mean():.2f}",
                f"{one.greedy.mean():.2f}",
                one.note or "-",
            )
        )
    return markdown(rows)


def _combinations(prompts: list[Tried]) -> str:
    """Each prompt's mean over the layers at which all ways were tried."""
    layers = sorted(set.intersection(*(set(way) for p in prompts for way in p.logprob.values())))
    means = {how: [float(np.mean([p.logprob[how][il] for il in layers])) for p in prompts] for how in COMBINED}
    pairs = {how: compare(means[how], means["sum"]) for how in COMBINED if how != "sum"}
    corrected = dict(zip(pairs, holm([pair.p for pair in pairs.values()]), strict=True))
    rows = [("scores", "log-probability [95 %]", "against sum", "p (Holm)", "greedy", "kept")]
    for how in COMBINED:
        pair = pairs.get(how)
        kept = [p.kept[how][il] for p in prompts for il in layers if il in p.kept[how]]
        greedy = [p.greedy[how][il] for p in prompts for il in layers]
        against = "-" if pair is None else difference(pair)
        p = "-" if pair is None else f"{corrected[how]:.3f}"
        rows.append((how, mean_interval(means[how]), against, p, f"{np.mean(greedy):.2f}", _number(kept)))
    return markdown(rows)


def _by_layer(prompts: list[Tried]) -> str:
    rows = [("layer", *(f"{how}: log-probability, kept" for how in COMBINED))]
    for il in sorted(prompts[0].logprob["sum"]):
        cells = []
        for how in COMBINED:
            values = [p.logprob[how][il] for p in prompts if il in p.logprob[how]]
            kept = [p.kept[how][il] for p in prompts if il in p.kept[how]]
            cells.append(f"{np.mean(values):.3f}, {_number(kept)}" if values else "-")
        rows.append((str(il), *cells))
    return markdown(rows)


def _memory(by_budget: dict[str, list[Tried]]) -> str:
    """For a share of the unpruned prompt's KV: the deepest layer that may select so many tokens, and what is left then.

    A prefill has as many cells as it has tokens times layers, so `Tried.work` is the share of them too.
    """
    rows = [("KV cells", *(f"keeping {budget}" for budget in by_budget))]
    for share in MEMORY:
        cells = []
        for prompts in by_budget.values():
            fitting = [il for il in sorted(prompts[0].logprob["sum"]) if prompts[0].work(il) <= share]
            values = [p.logprob["sum"][fitting[-1]] for p in prompts] if fitting else []
            cells.append(f"{np.mean(values):.3f} ({fitting[-1]})" if fitting else "-")
        rows.append((f"{share:.0%}", *cells))
    return markdown(rows)


def _grid(prompts: list[Tried]) -> str:
    """Offline: the layer that a rule would have chosen has been tried."""
    rows = [("reference", "L_obs", *(f"tau {tau:g}" for tau in TAUS))]
    for name in ("L_min", "peak"):
        for l_obs in ROWS:
            found = [_ruled(prompts, name, l_obs, tau, None) for tau in TAUS]
            rows.append((name, str(l_obs), *map(_cell, found)))
    return markdown(rows)


def _starts(prompts: list[Tried]) -> str:
    rows = [("reference", "tau", *(f"L_min {l_min}" for l_min in FIRST_LAYERS))]
    for name, tau in (("L_min", 0.3), ("peak", 0.3), ("peak", 0.4), ("peak", 0.5)):
        found = [_ruled(prompts, name, L_OBS, tau, l_min) for l_min in FIRST_LAYERS]
        rows.append((name, f"{tau:g}", *map(_cell, found)))
    return markdown(rows)


def _ruled(prompts: list[Tried], reference: str, l_obs: int, tau: float, l_min: int | None) -> Outcome:
    relative = relative_to_first if reference == "L_min" else relative_to_peak
    choices: list[Choice] = []
    for p in prompts:
        start = max(l_min if l_min is not None else p.l_min, l_obs - 1)
        choices.append(first_past(relative(p.variance["sum"][l_obs], start), tau, True, start, max(start, p.l_max)))
    return outcome("", prompts, choices)


def _settings(prompts: list[Tried]) -> str:
    """Against the default window and kernel, which is the first setting."""
    names = [name for name in prompts[0].settings if all(name in p.settings for p in prompts)]
    default = [p.settings[names[0]][1] for p in prompts] if names else []
    rows = [("setting", "log-probability [95 %]", "against the default", "layer", "kept")]
    for i, name in enumerate(names):
        values = [p.settings[name][1] for p in prompts]
        kept = [kept for p in prompts for kept in [p.settings[name][2]] if kept is not None]
        pair = compare(values, default) if i else None
        against = "-" if pair is None else difference(pair)
        layer = np.mean([p.settings[name][0] for p in prompts])
        shown = f"{name} (default)" if i == 0 else name
        rows.append((shown, mean_interval(values), against, f"{layer:.1f}", _number(kept)))
    return markdown(rows)


def _cell(found: Outcome) -> str:
    return f"{found.regret.mean():.3f} ({100 * found.fired.mean():.0f} %)"


def mean_interval(values: Sequence[float]) -> str:
    low, high = interval(values)
    return f"{np.mean(values):.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]")


def difference(pair: Comparison) -> str:
    return f"{pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]"


def _number(values: Sequence[float]) -> str:
    return f"{np.mean(values):.2f}" if values else "-"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first row the head, padded to be read as plain text too."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))} |"

    return "\n".join([line(rows[0]), line("-" * width for width in widths), *map(line, rows[1:])])

"""What calibration gains on prompts of kinds that it has not seen: one kind after another is left out and judged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..policies import ASL
from .ablation_report import difference, markdown, mean_interval
from .ablation_rules import Tried, tried
from .calibration_fit import Outcomes, Trials, fit, fit_layer, paper
from .lines import Line
from .statistics import compare, holm

KINDS = {
    "a needle in noise": ("niah_single_1", "passkey", "number_string"),
    "a needle in prose": ("niah_single_2", "niah_single_3", "niah_multikey_1"),
    "several needles": ("niah_multivalue", "niah_multiquery"),
    "one among its like": ("niah_multikey_2", "niah_multikey_3", "kv_retrieval"),
    "tracing, counting": ("vt", "cwe", "fwe"),
}

Fit = Callable[[Trials], ASL]

_HEAD = """\
# Calibration, on prompts of other kinds

{n} prompts at {budgets} of their tokens, of {kinds} kinds. Each kind is answered with constants that were found on the
other kinds. Loss: how much less probable a token of the right answer is than without pruning (geometric mean over the
answer). Work: tokens times layers of the prefill, against those of an unpruned one. Both are means over the budgets.
Intervals: 95 %, bootstrap over prompts. p: paired permutation test of the loss, Holm's correction.
"""


def kind_of(task: str) -> str:
    """The kind that a task belongs to; its own name if to none."""
    return next((kind for kind, tasks in KINDS.items() if task in tasks), task.partition("@")[0])


def report(lines: Sequence[Line]) -> str:
    """The tables; "" if there are not two kinds of prompts."""
    good = [line for line in lines if "budgets" in line]
    budgets = list(dict.fromkeys(budget for line in good for budget in line["budgets"]))
    prompts = [one for budget in budgets for one in tried(good, budget)]
    kinds = list(dict.fromkeys(kind_of(p.task) for p in prompts))
    if len(kinds) < 2:
        return ""
    n_layer = prompts[0].n_layer
    rules: dict[str, Fit] = {
        "the paper's constants, l_max": lambda _: paper(n_layer),
        "the paper's, never forced": lambda _: replace(paper(n_layer), l_max=n_layer - 2),
        "calibrated": lambda others: fit(others).policy,
        "best fixed layer": lambda others: fit_layer(others).policy,
        "layer L // 2 - 1": lambda _: ASL(layer=n_layer // 2 - 1),
    }
    found = {name: [_on_kind(prompts, kind, rule) for kind in kinds] for name, rule in rules.items()}
    head = _HEAD.format(n=len(good), budgets=" and ".join(budgets), kinds=len(kinds))
    parts = [head, _all(found), "\n## By kind: loss, work\n", _by_kind(found, kinds), "\n## What was found\n"]
    parts += [f"- without {kind}: `{one.policy}`" for kind, one in zip(kinds, found["calibrated"], strict=True)]
    parts.append(f"- on all: `{fit(Trials(prompts)).policy}`\n")
    return "\n".join(parts)


def _on_kind(prompts: Sequence[Tried], kind: str, rule: Fit) -> Outcomes:
    """What the constants found on the other kinds do on the prompts of `kind`."""
    policy = rule(Trials([p for p in prompts if kind_of(p.task) != kind]))
    return Trials([p for p in prompts if kind_of(p.task) == kind]).outcomes(policy)


def _all(found: dict[str, list[Outcomes]]) -> str:
    loss = {name: np.concatenate([one.loss for one in several]).tolist() for name, several in found.items()}
    work = {name: np.concatenate([one.work for one in several]) for name, several in found.items()}
    first = next(iter(found))
    pairs = {name: compare(loss[name], loss[first]) for name in list(found)[1:]}
    corrected = dict(zip(pairs, holm([pair.p for pair in pairs.values()]), strict=True))
    rows = [("rule", "loss [95 %]", "against the first", "p (Holm)", "work", "layer", "fires")]
    for name, several in found.items():
        pair = pairs.get(name)
        layers = np.concatenate([one.layer for one in several])
        fired = np.concatenate([one.fired for one in several])
        rows.append(
            (
                name,
                mean_interval(loss[name]),
                "-" if pair is None else difference(pair),
                "-" if pair is None else f"{corrected[name]:.3f}",
                f"{work[name].mean():.3f}",
                f"{layers.mean():.1f}",
                f"{100 * fired.mean():.0f} %",
            )
        )
    return markdown(rows)


def _by_kind(found: dict[str, list[Outcomes]], kinds: Sequence[str]) -> str:
    counts = [len(one.loss) for one in next(iter(found.values()))]
    rows = [("rule", *(f"{kind} ({n})" for kind, n in zip(kinds, counts, strict=True)))]
    for name, several in found.items():
        rows.append((name, *(f"{one.loss.mean():.3f}, {one.work.mean():.2f}" for one in several)))
    return markdown(rows)

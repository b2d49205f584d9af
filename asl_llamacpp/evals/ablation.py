"""Which signal picks the layer closest to the best? Every layer of a prompt is tried, and its signals recorded.

The measure is the log-probability of the right answer: what the unpruned model answers, up to the token that completes
the last of the sample's answers. Prompts that it does not answer rightly are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..files.fingerprint import model_fingerprint
from ..llama import models
from ..policies import ASL, AllHeads, Full
from ..selection.arrays import Floats, Ints
from ..selection.ranks import rank, selected_positions
from ..selection.rule import Decision, Selector
from ..selection.scores import token_scores
from .asking import asking
from .forced import ForcedSelection
from .lines import Line, append, key_of, repair
from .racing import EVERYTHING, Race
from .recorded import RecordedPrompt
from .registry import expand
from .sample import Sample, Task
from .shared import SharedLlama
from .signals import COMBINED, Series, signals, variances
from .ways import Choosing

L_OBS = (2, 4, 6, 8, 10)
WINDOWS, KERNELS = (16, 64), (1, 3, 15)
POLICY = "ablation"

OnLine = Callable[[Line], None]


def run_ablation(
    model: str | Path,
    tasks: Sequence[str],
    length: int,
    out: str | Path,
    *,
    budgets: Sequence[str] = ("1/4", "1/8"),
    n_samples: int = 10,
    seeds: Sequence[int] = (0, 1),
    ways: Sequence[str] = tuple(COMBINED),
    windows: Sequence[int] = WINDOWS,
    kernels: Sequence[int] = KERNELS,
    enough: int | None = None,
    race: Race = EVERYTHING,
    on_line: OnLine | None = None,
    **llama_options: Any,
) -> int:
    """Try every layer on `n_samples` prompts of each task and seed; one line of `out` for each, the number of new ones.

    Lines that are there are not repeated. The tasks take turns, so that a run that is stopped has some of each.
    `enough`: end with so many prompts that the model answers rightly. `race`: end when it is settled, too; it says what
    each prompt is tried with, and is told the lines, also those that are there. `ways`, `windows`, `kernels`: see
    `try_layers`.
    """
    path, out = models.find_model(model), Path(out)
    name = {"model": model_fingerprint(path), "model_name": path.name, "policy": POLICY, "budget": None}
    before = own(repair(out), name["model"], length)
    done = {key_of(line) for line in before}
    usable = sum("budgets" in line for line in before)
    for line in before:
        race.add(line)
    out.parent.mkdir(parents=True, exist_ok=True)
    shares, made = [Fraction(budget) for budget in budgets], 0
    with asking(path, expand(tasks), length, **llama_options) as (llm, opened):
        for sample, seed, task in ((i, seed, task) for i in range(n_samples) for seed in seeds for task in opened):
            if (enough is not None and usable >= enough) or race.settled:
                break
            key = {**name, "task": task.name, "length": length, "sample": sample, "seed": seed}
            if key_of(key) in done:
                continue
            try:
                made_of = task.make(length, (seed, sample))
                line = try_layers(llm, task, made_of, shares, ways, windows, kernels, race)
            except Exception as error:
                line = {"error": f"{type(error).__name__}: {error}"}
            line = rounded({**key, **line})
            append(out, line)
            made, usable = made + 1, usable + ("budgets" in line)
            race.add(line)
            if on_line is not None:
                on_line(line)
    return made


def own(lines: Iterable[Line], model: str | None, length: int) -> list[Line]:
    """The lines of a model, by its fingerprint, and of a length, without those that failed and may be tried again."""
    return [line for line in lines if (line["model"], line["length"]) == (model, length) and "error" not in line]


def rounded(value: Any) -> Any:
    """The same with 6 digits of each float: the lines are long enough."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def try_layers(
    llm: SharedLlama,
    task: Task,
    sample: Sample,
    budgets: Sequence[Fraction],
    ways: Sequence[str] = tuple(COMBINED),
    windows: Sequence[int] = WINDOWS,
    kernels: Sequence[int] = KERNELS,
    race: Race = EVERYTHING,
) -> Line:
    """The line of one prompt; "skipped" says why there is nothing in it.

    ways              of choosing, names as `way_named` takes them, "sum" among them
    windows, kernels  tried beside the default ones, where the paper's rule selects
    race              what to try; the layer of the paper's rule, and its l_max, are tried in any case
    """
    prompt = llm.record(sample.tokens, max((*windows, ASL().window)))
    answer = right_answer(llm, task, sample)
    if answer is None:
        return {"skipped": "not answered rightly without pruning"}
    forced = ForcedSelection(llm, prompt, answer)
    full, n_layer = forced.unpruned(), prompt.n_layer
    policy = ASL().resolve(n_layer)
    assert isinstance(policy.l_min, int)
    sums = prompt.window_sums(policy.window)
    for window in windows:
        prompt.window_sums(window)
    choosing = Choosing(prompt, ways, policy.window, policy.kernel, _neutral(llm))
    line: Line = {
        "n_layer": n_layer, "l_min": policy.l_min, "l_max": policy.l_max, "n_answer": len(answer),
        "full": [full.logprob, full.greedy], "budgets": {},
    }  # fmt: skip
    kept = {share: max(policy.window + 1, math.floor(share * len(sample.tokens))) for share in budgets}
    tried: dict[Fraction, dict[str, dict[str, Any]]] = {share: {how: {} for how in ways} for share in budgets}
    papers = {share: _paper_layers(prompt, policy, kept[share]) for share in budgets}
    for layer in range(first_layer(prompt, policy), n_layer - 1):  # a layer at a time: its state is put back only once
        for how in ways:
            if how != "sum" and layer < policy.l_min:
                continue
            if not choosing.has(how, layer):
                continue
            wanted = race.wants(how, layer)
            shares = [share for share in budgets if wanted or (how == "sum" and layer in papers[share])]
            if not shares:
                continue
            scores = choosing.scores(how, layer)
            for share in shares:
                found = _forced(forced, sample, layer, choosing.positions(how, scores, kept[share]))
                tried[share][how][str(layer)] = found
    for share in budgets:
        settings = _settings(forced, prompt, sample, policy, kept[share], windows, kernels)
        signalled = _signals(sums, policy, kept[share])
        line["budgets"][str(share)] = {"k": kept[share], **signalled, "tried": tried[share], "settings": settings}
    return line


def first_layer(prompt: RecordedPrompt, policy: ASL) -> int:
    """The first layer that is tried: a little before L_min, where the rule begins, if there are scores."""
    assert isinstance(policy.l_min, int)
    return max(policy.l_min - 2, prompt.scored[0])


def _paper_layers(prompt: RecordedPrompt, policy: ASL, select_k: int) -> tuple[int | None, ...]:
    """Where the paper's rule selects, and its l_max."""
    decision = _decision(prompt, replace(policy, select_k=select_k))
    return None if decision is None else decision.layer, policy.latest_layer


def _decision(prompt: RecordedPrompt, rule: ASL) -> Decision | None:
    """Of a resolved rule."""
    selector = Selector(rule, len(prompt.tokens), prompt.scored)
    sums = prompt.window_sums(rule.window)
    return next(filter(None, (selector.observe(il, layer) for il, layer in enumerate(sums))), None)


def right_answer(llm: SharedLlama, task: Task, sample: Sample) -> list[int] | None:
    """The beginning of the unpruned model's greedy answer that holds all answers; None if it does not."""
    llm.set_policy(Full())
    tokens: list[int] = []
    stop = llm.llm.token_eos()
    for token in llm.llm.generate(sample.tokens, temp=0.0):
        if token == stop or len(tokens) == task.max_tokens:
            return None
        tokens.append(token)
        text = llm.llm.detokenize(tokens).decode(errors="ignore")
        if task.score(text, sample.answers) == 1.0:
            return tokens
    return None


def _signals(sums: Sequence[Floats | None], policy: ASL, select_k: int) -> dict[str, Any]:
    """Every signal by layer; V by how heads are combined, then by L_obs."""
    top = select_k - policy.window
    variance: dict[str, dict[str, Series]] = {}
    for heads in get_args(AllHeads):
        ranks = [None if s is None else rank(token_scores(s, policy.window, policy.kernel, heads)) for s in sums]
        variance[heads] = {str(l_obs): variances(ranks, top, l_obs) for l_obs in L_OBS}
    return {"signals": signals(sums, policy.window, policy.kernel, top), "variance": variance}


def _try(
    forced: ForcedSelection, sample: Sample, layer: int, scores: Floats, select_k: int, window: int
) -> list[float | bool | None]:
    """[log-probability, greedy, share of the answers' tokens kept] of a selection by `scores`."""
    return _forced(forced, sample, layer, selected_positions(scores, select_k - window, window))


def _neutral(llm: SharedLlama) -> Sequence[int]:
    cache = llm.llm.pruned_cache
    return () if cache is None or cache.neutral is None else cache.neutral()


def _forced(forced: ForcedSelection, sample: Sample, layer: int, positions: Ints) -> list[float | bool | None]:
    found = forced.at(layer, positions)
    kept = None if sample.evidence is None else float(np.isin(sample.evidence, positions).mean())
    return [found.logprob, found.greedy, kept]


def _settings(
    forced: ForcedSelection,
    prompt: RecordedPrompt,
    sample: Sample,
    policy: ASL,
    select_k: int,
    windows: Sequence[int],
    kernels: Sequence[int],
) -> dict[str, Any]:
    """One setting changed at a time, the layer being what the rule (with its l_max) makes of it: [layer, *`_try`]."""
    changed = [(f"window={window}", window, policy.kernel) for window in (policy.window, *windows)]
    changed += [(f"kernel={kernel}", policy.window, kernel) for kernel in kernels]
    found: dict[str, Any] = {}
    for name, window, kernel in changed:
        if select_k <= window:
            continue
        rule = ASL(window=window, kernel=kernel, select_k=select_k).resolve(prompt.n_layer)
        decision = _decision(prompt, rule)
        if decision is not None:
            found[name] = [
                decision.layer, *_try(forced, sample, decision.layer, decision.scores, select_k, window)
            ]  # fmt: skip
    return found

"""Calibration: its rules are those of a prefill, the cheapest good one is chosen, and one model from end to end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from any_answer import take_any_answer
from llama_fixtures import narrow_path
from typer.testing import CliRunner

from asl_llamacpp import ASL
from asl_llamacpp.cli import app
from asl_llamacpp.evals import ablation, calibrate
from asl_llamacpp.evals.ablation_rules import Tried
from asl_llamacpp.evals.calibration_fit import Outcomes, Trials, choose, fit, paper
from asl_llamacpp.evals.lines import append
from asl_llamacpp.evals.signals import COMBINED, combined, variances
from asl_llamacpp.evals.ways import name_of
from asl_llamacpp.files import calibration
from asl_llamacpp.files.fingerprint import model_fingerprint
from asl_llamacpp.selection.ranks import rank
from asl_llamacpp.selection.rule import Selector
from asl_llamacpp.selection.scores import token_scores

N_LAYER, N_TOKENS, K, WINDOW = 24, 200, 60, 32
L_OBS = 8


def random_sums(seed: int, scored: list[int]) -> list[Any]:
    """Attention whose ranks settle more and more, so that rules fire at different layers."""
    rng = np.random.default_rng(seed)
    base = rng.random((2, N_TOKENS)).astype(np.float32)
    noise = [np.float32(2.0 / (1 + max(0, il - 8))) for il in range(N_LAYER)]
    return [
        base + noise[il] * rng.random((2, N_TOKENS)).astype(np.float32) if il in scored else None
        for il in range(N_LAYER)
    ]


def tried_of(sums: list[Any], seed: int = 0, task: str = "t", best: int = 12) -> Tried:
    variance = {}
    for heads in ("sum", "max"):
        ranks = [None if s is None else rank(token_scores(s, WINDOW, 7, heads)) for s in sums]
        variance[heads] = {L_OBS: variances(ranks, K - WINDOW, L_OBS)}
    logprob = {how: {il: -0.1 * abs(il - best) for il in range(7, N_LAYER - 1)} for how in COMBINED}
    return Tried(
        seed=seed, sample=0, task=task, share=K / N_TOKENS, n_layer=N_LAYER, l_min=8, l_max=18, full=0.0,
        logprob=logprob, greedy={}, kept={}, variance=variance, series={}, settings={},
    )  # fmt: skip


@pytest.mark.parametrize("scored", [list(range(N_LAYER)), list(range(2, N_LAYER, 3))])
@pytest.mark.parametrize("how", list(COMBINED))
@pytest.mark.parametrize("reference", ["first", "peak"])
def test_a_rule_chooses_the_layer_that_a_prefill_would(scored: list[int], how: str, reference: Any) -> None:
    heads, score_layers = COMBINED[how]
    layers = set()
    for seed in range(5):
        sums = random_sums(seed, scored)
        trials = Trials([tried_of(sums)])
        for tau in (0.2, 0.4, 0.6, 0.8):
            rule = ASL(
                tau=tau, l_min=8, l_max=20, reference=reference, heads=heads, score_layers=score_layers, select_k=K
            )
            selector = Selector(rule, N_TOKENS, scored)
            decision = None
            for il, layer in enumerate(sums):
                decision = decision or selector.observe(il, layer if selector.needs_scores(il) else None)
            assert decision is not None
            found = trials.outcomes(rule)
            assert (int(found.layer[0]), bool(found.fired[0])) == (decision.layer, not decision.forced)
            scores = combined(sums[: decision.layer + 1], WINDOW, 7, how)
            np.testing.assert_array_equal(scores, decision.scores)
            layers.add(decision.layer)
    assert len(layers) > 1


def outcomes(policy: ASL, loss: list[float], work: float) -> Outcomes:
    n = len(loss)
    return Outcomes(policy, np.array(loss), np.full(n, work), np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.bool_))


def test_of_the_good_ones_the_cheapest_is_chosen() -> None:
    best = outcomes(ASL(layer=20), [0.0, 0.1, 0.0, 0.1], 0.8)
    as_good = outcomes(ASL(layer=16), [0.1, 0.0, 0.1, 0.0], 0.6)
    bad = outcomes(ASL(layer=4), [0.5, 0.4, 0.6, 0.5], 0.2)
    assert choose([best, as_good, bad]) is as_good
    assert choose([bad]) is bad
    assert choose([outcomes(ASL(), [0.3], 0.5), bad]).policy == ASL()


def test_loss_and_work_are_means_over_a_prompts_budgets() -> None:
    sums = random_sums(0, list(range(N_LAYER)))
    one, two = tried_of(sums, best=10), tried_of(sums, best=14)
    found = Trials([one, two, tried_of(sums, seed=1)]).outcomes(ASL(layer=12))
    assert found.loss == pytest.approx([1 - np.exp(-0.2), 0.0])
    assert found.work == pytest.approx((13 + 11 * K / N_TOKENS) / N_LAYER)


def test_fit_finds_the_layer() -> None:
    prompts = [tried_of(random_sums(seed, list(range(N_LAYER))), seed) for seed in range(6)]
    trials = Trials(prompts)
    found, exactly = fit(trials), trials.outcomes(ASL(layer=12))
    assert np.abs(found.layer - 12).mean() < 0.5 and exactly.loss.max() == 0
    assert found.work.mean() <= exactly.work.mean()
    assert name_of(paper(N_LAYER), list(COMBINED)) == "sum" and paper(N_LAYER) in list(Trials(prompts).candidates())


def test_a_rule_that_loses_one_answer_is_not_good() -> None:
    """Whatever the number of prompts: one outlier's mean is just its standard error."""
    for n in (6, 24, 100):
        best, careless = [0.0] * n, [0.9] + [0.0] * (n - 1)
        assert choose([outcomes(ASL(layer=20), best, 0.8), outcomes(ASL(layer=5), careless, 0.3)]).policy.layer == 20


def test_a_layer_that_was_not_tried_is_not_chosen() -> None:
    never = outcomes(ASL(layer=29), [float("nan"), 0.0], 0.1)
    assert choose([never, outcomes(ASL(layer=20), [0.1, 0.1], 0.8)]).policy.layer == 20


def test_too_few_layers(tiny_path: Callable[[str], Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tiny-llama.gguf has \d layers, and 10 are needed to choose one from"):
        calibrate.measure(tiny_path("tiny-llama"), tmp_path / "lines.jsonl", n_prompts=6, length=256)
    result = CliRunner().invoke(app, ["calibrate", str(tiny_path("tiny-llama")), "--out", str(tmp_path / "no" / "x")])
    assert (result.exit_code, result.stderr.splitlines()) == (2, [f"error: {tmp_path}/no/x cannot be written: there is "
        f"no folder {tmp_path}/no to write to"])  # fmt: skip


def test_lines_of_others_do_not_count(smollm2_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither another model's, nor those of another length, nor what failed."""
    ours, out = model_fingerprint(smollm2_path), tmp_path / "lines.jsonl"
    key = {"task": "passkey", "seed": calibrate.SEED, "policy": "ablation", "budget": None}
    for i, (model, length, what) in enumerate([("x", 256, "budgets"), (ours, 512, "budgets"), (ours, 256, "error")]):
        append(out, {**key, "model": model, "length": length, "sample": i, what: {}})
    tried: list[str] = []

    def fake(llm: Any, task: Any, *rest: Any) -> dict[str, Any]:
        tried.append(task.name)
        found = {"1/4": {"tried": {"sum": {"15": [0.0, True, None]}}}}
        return {"error": "so"} if len(tried) == 3 else {"budgets": found, "full": [0.0, True], "n_answer": 1}

    monkeypatch.setattr(ablation, "try_layers", fake)
    how: dict[str, Any] = {"n_prompts": 4, "length": 256, "tasks": ["passkey"]}
    with pytest.raises(RuntimeError, match="a prompt of passkey failed: so"):
        calibrate.measure(smollm2_path, out, **how)
    lines = calibrate.measure(smollm2_path, out, **how)
    assert len(tried) == 5 and [line["length"] for line in lines] == [256] * 4


def test_too_few_answers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="answers 0 of 1 generated prompts rightly without any pruning, and 6 are"):
        calibrate.find([{"skipped": "no"}])


@pytest.mark.slow
def test_one_model_from_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_any_answer(monkeypatch)
    monkeypatch.setattr(calibration.platformdirs, "user_config_path", lambda *_, **__: tmp_path / "user")
    monkeypatch.setattr(calibration.platformdirs, "user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.setattr(calibrate, "BUDGETS", ("1/4",))
    monkeypatch.setattr(calibrate, "WAYS", ("sum",))
    model = tmp_path / "model.gguf"
    model.symlink_to(narrow_path())
    options = ["--prompts", "6", "--length", "256", "--threads", "1", "--lines", str(tmp_path / "lines.jsonl")]
    result = CliRunner().invoke(app, ["calibrate", str(model), *options])
    assert result.exit_code == 0, result.output
    told = result.stdout.splitlines()
    assert told[0] == "on the 6 prompts that the constants were chosen by:"
    assert [line[:19].strip() for line in told[1:4]] == ["calibrated", "paper's constants", "best fixed layer"]
    assert told[4].startswith("heads ") and told[6].split()[0] == "niah_single_2"
    found = calibration.read(tmp_path / "model.asl.toml")
    assert "+" in found.facts["heads"]["chosen"] and found.facts["heads"]["kept"]
    assert sum(found.facts["measured"]["prompts"].values()) == 6
    assert str(found.policy) == found.facts["measured"]["calibrated"]["policy"]
    assert calibration.calibrated("asl", model) == (found.policy, found.path)
    again = CliRunner().invoke(app, ["calibrate", str(model), *options])  # from the lines that there are
    assert again.stdout == result.stdout

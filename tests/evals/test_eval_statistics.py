"""Intervals, paired tests and Holm's correction against known values; tables and figures of made-up lines."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from eval_lines import line, lines

from asl_llamacpp.evals import figures
from asl_llamacpp.evals.statistics import compare, holm, interval
from asl_llamacpp.evals.summary import ALL_TASKS, summarize
from asl_llamacpp.evals.tables import report


def test_interval_of_mixed_scores_is_near_the_normal_one() -> None:
    scores = [1.0] * 60 + [0.0] * 40
    low, high = interval(scores)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 100)
    assert (low, high) == (pytest.approx(0.6 - half, abs=0.015), pytest.approx(0.6 + half, abs=0.015))
    assert (low, high) == interval(scores)


def test_interval_of_equal_scores() -> None:
    assert interval([1.0] * 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)  # Clopper-Pearson, by hand
    assert interval([0.0] * 10) == (0.0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert all(map(math.isnan, interval([0.5, 0.5, 0.5])))
    assert all(map(math.isnan, interval([0.5])))


def test_mcnemar_is_the_exact_binomial_of_the_discordant_pairs() -> None:
    full = [1.0] * 20
    asl = [0.0] * 8 + [1.0] * 12
    found = compare(asl, full)
    assert found.test == "McNemar" and found.n == 20
    assert found.p == pytest.approx(2 * 0.5**8)
    assert found.difference == pytest.approx(-0.4) and found.low < -0.4 < found.high < 0
    mixed = compare([0.0] * 8 + [1.0] * 2 + [1.0] * 5, [1.0] * 8 + [0.0] * 2 + [1.0] * 5)
    assert mixed.p == pytest.approx(2 * sum(math.comb(10, k) for k in range(3)) * 0.5**10)


def test_permutation_of_signs_where_scores_are_not_binary() -> None:
    full = [0.5, 0.75, 1.0, 0.25, 0.5, 1.0, 0.75, 0.5]
    found = compare([score - 0.25 for score in full], full)
    assert found.test == "permutation" and found.p == pytest.approx(2 / 2**8)
    assert compare(full, full).p == 1.0 and math.isnan(compare(full, full).low)


def test_pairs_are_needed() -> None:
    for ours, full in (([], []), ([1.0], [1.0, 0.0])):
        with pytest.raises(ValueError, match="pairs"):
            compare(ours, full)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


# ---- lines summed up ------------------------------------------------------------------------------------------------


def results() -> list[dict[str, object]]:
    rng = np.random.default_rng(0)
    made = []
    for task, family in (("vt", "RULER"), ("needle_grid@0", "needle grid"), ("needle_grid@100", "needle grid")):
        made += lines(task, "full", [1.0] * 12, family=family)
        for budget, right in (("1/4", 10), ("1/8", 4)):
            scores = rng.permutation([1.0] * right + [0.0] * (12 - right)).tolist()
            pruned = {"selection_layer": 20, "forced": True, "kept": 0.5, "family": family}
            made += lines(task, "asl", scores, budget=budget, **pruned)
    return made


def test_rows_by_task_and_over_all_of_them() -> None:
    rows = summarize(results())
    assert [(row.policy, row.budget) for row in rows[:3]] == [("full", None), ("asl", "1/4"), ("asl", "1/8")]
    full, quarter, eighth = rows[:3]
    assert full.against_full is None and full.p_holm is None and full.accuracy == 1.0
    assert quarter.accuracy == pytest.approx(10 / 12) and quarter.n == 12
    assert eighth.against_full is not None and eighth.against_full.p == pytest.approx(2 * 0.5**8)
    assert eighth.p_holm == pytest.approx(6 * 2 * 0.5**8)
    assert (eighth.kept, eighth.selection_layer, eighth.forced_share, eighth.kv_share) == (0.5, 20, 1.0, 0.5)
    every = summarize(results(), by="all")
    assert {row.task for row in every} == {ALL_TASKS} and [row.n for row in every] == [36, 36, 36]
    assert len(summarize(results(), by="family")) == 6


def test_only_the_same_prompts_are_paired() -> None:
    made = [line("vt", 0, "full", 1.0), line("vt", 0, "asl", 0.0), line("vt", 1, "asl", 1.0)]
    assert summarize(made)[1].against_full.n == 1  # type: ignore[union-attr]
    other = [line("vt", 0, "full", 1.0), line("vt", 0, "asl", 0.0, prompt="changed")]
    assert summarize(other)[1].against_full is None


def test_report_shows_errors_and_does_not_count_them() -> None:
    key = {k: v for k, v in line("vt", 12, "asl", 0.0, budget="1/4").items() if k != "score"}
    text = report([*results(), {**key, "error": "ValueError: too\nshort"}])
    assert "| vt " in text and "12 (1 failed)" in text
    assert "## Failed: 1 of 109 samples" in text and "vt, 1024 tokens, asl: ValueError: too short (1 times)" in text
    assert "| all tasks |" in text


def test_report_of_nothing_but_errors() -> None:
    key = {k: v for k, v in line("vt", 0, "asl", 0.0).items() if k != "score"}
    assert "## Failed: 1 of 1" in report([{**key, "error": "ValueError: no"}])


def test_figures(tmp_path: Path) -> None:
    made = figures.draw(results(), tmp_path / "pictures")  # type: ignore[arg-type]
    assert [path.name for path in made] == ["accuracy-ruler.png", "accuracy-needle-grid.png", "needle-grid.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in made)


def test_one_pair_proves_nothing() -> None:
    assert compare([0.5], [1.0]).p == 1.0

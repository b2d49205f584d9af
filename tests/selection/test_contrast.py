"""What a question adds to the attention that any other would pay, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from asl_llamacpp.policies import ASL, parse_policy
from asl_llamacpp.selection.contrast import SINKS, less, neutral_scores
from asl_llamacpp.selection.rule import Selector

N, WINDOW, SELECT_K = 40, 4, 12


def test_the_neutral_scores_are_those_of_the_same_number_of_queries() -> None:
    random = np.random.default_rng(0)
    sums = random.random((3, 20), dtype=np.float32)
    expected = sum(np.convolve(row, np.ones(5) / 5, "same") for row in sums.astype(np.float64)) * 2.5
    np.testing.assert_allclose(neutral_scores(sums, 5, "sum", 2.5), expected, rtol=1e-5)
    largest = np.max([np.convolve(row, np.ones(5) / 5, "same") for row in sums.astype(np.float64)], axis=0)
    np.testing.assert_allclose(neutral_scores(sums, 5, "max", 2.5), 2.5 * largest, rtol=1e-5)
    np.testing.assert_array_equal(neutral_scores(sums[0], 5, "max", 2.0), 2 * sums[0])


@pytest.mark.parametrize("n_seen", [0, 2, SINKS, 9, 10, 14])
def test_only_what_has_a_neutral_score_loses_it(n_seen: int) -> None:
    scores, neutral = np.arange(10, dtype=np.float32), np.full(n_seen, 0.5, dtype=np.float32)
    got = less(scores, neutral)
    for i in range(10):
        assert got[i] == scores[i] - (0.5 if SINKS <= i < n_seen else 0)
    assert scores[5] == 5  # the original is as it was


def chosen(contrast: bool, neutral: np.ndarray | None, heads: str = "sum") -> list[int]:
    policy = ASL(layer=1, window=WINDOW, kernel=1, select_k=SELECT_K, contrast=contrast, heads=heads).resolve(4)  # type: ignore[arg-type]
    selector = Selector(policy, N)
    sums = np.full((2, N), 0.1, dtype=np.float32)
    sums[:, 8:14] = 3  # what is always looked at
    sums[:, 20:26] = 2  # what the question looks at
    decision = selector.observe(1, sums, neutral)
    assert decision is not None
    assert len(decision.positions) == SELECT_K
    return decision.positions.tolist()[: SELECT_K - WINDOW]


@pytest.mark.parametrize("heads", ["sum", "max"])
def test_what_is_always_looked_at_counts_less(heads: str) -> None:
    neutral = np.full(N - WINDOW, 0.1, dtype=np.float32)
    neutral[8:14] = 6
    assert chosen(False, neutral, heads) == [8, 9, 10, 11, 12, 13, 20, 21]
    assert chosen(True, None, heads) == [8, 9, 10, 11, 12, 13, 20, 21]
    assert set(range(20, 26)) <= set(chosen(True, neutral, heads))
    assert not set(range(8, 14)) & set(chosen(True, neutral, heads))


def test_the_sinks_stay() -> None:
    """Under a contrast the first tokens would be the first to go, and the model would say nothing sensible."""
    policy = ASL(layer=1, window=WINDOW, kernel=1, select_k=SELECT_K, contrast=True).resolve(4)
    sums = np.full((1, N), 0.1, dtype=np.float32)
    sums[:, :SINKS] = 50
    decision = Selector(policy, N).observe(1, sums, sums[0, : N - WINDOW])
    assert decision is not None
    assert decision.positions[:SINKS].tolist() == list(range(SINKS))


def test_the_ranks_are_of_the_plain_scores() -> None:
    random = np.random.default_rng(1)
    variances = []
    for contrast in (False, True):
        policy = ASL(l_min=2, l_max=None, l_obs=2, window=WINDOW, kernel=1, select_k=SELECT_K, contrast=contrast)
        selector = Selector(policy, N)
        random = np.random.default_rng(1)
        for layer in range(4):
            sums = random.random((2, N), dtype=np.float32)
            selector.observe(layer, sums, random.random(N - WINDOW, dtype=np.float32))
        variances.append(selector.variance)
    assert variances[0] and variances[0] == variances[1]


def test_the_text_form() -> None:
    policy = parse_policy("asl:contrast=true,units=sentences")
    assert policy == ASL(contrast=True, units="sentences")
    assert parse_policy(str(policy)) == policy
    assert parse_policy("fastkv:contrast=false").contrast is False
    with pytest.raises(ValueError, match="contrast must be True or False, not 1"):
        parse_policy("asl:contrast=1")
    with pytest.raises(TypeError, match="contrast must be True or False, not 'yes'"):
        ASL(contrast="yes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no option 'contrast'"):
        parse_policy("snapkv:contrast=true")

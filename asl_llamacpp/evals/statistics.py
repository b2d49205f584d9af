"""How sure the scores are: intervals, paired tests against `full`, and their correction. All of it from libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
RESAMPLES = 9999
_SEED = 0

Floats = NDArray[np.float64]


def check_installed() -> None:
    """ImportError, with what to install, if the libraries are missing: worth knowing before a long run."""
    try:
        import scipy.stats  # noqa: F401
        import statsmodels.stats.contingency_tables  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'statistics need scipy and statsmodels ({error}): pip install "asl-llamacpp[eval]"'
        ) from None


def interval(scores: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean: bootstrap, bias-corrected and accelerated (BCa).

    Scores that are all 1 or all 0 leave a bootstrap nothing to vary: theirs is the exact binomial (Clopper-Pearson)
    interval, lest three right answers of three pass for certainty. Other scores that are all the same, and a single
    one, have no interval: (nan, nan).
    """
    check_installed()
    from statsmodels.stats.proportion import proportion_confint

    values = np.asarray(scores, dtype=np.float64)
    if len(values) and np.isin(values[0], (0.0, 1.0)) and (values == values[0]).all():
        low, high = proportion_confint(values.sum(), len(values), alpha=1 - CONFIDENCE, method="beta")
        return _number(low, 0.0), _number(high, 1.0)
    return _bootstrap(values)


@dataclass(frozen=True)
class Comparison:
    """A policy against `full` on the same prompts.

    n           pairs
    difference  mean score of the policy minus that of `full`
    low, high   its 95 % bootstrap interval, over pairs; nan where all differences are the same
    p           two-sided, before any correction
    test        "McNemar", exact, if all scores are 0 or 1; else "permutation": of the signs of the differences
    """

    n: int
    difference: float
    low: float
    high: float
    p: float
    test: str


def compare(scores: Sequence[float], full: Sequence[float]) -> Comparison:
    """The paired comparison of `scores` with those of `full`, prompt by prompt; at least one pair."""
    check_installed()
    ours, theirs = np.asarray(scores, dtype=np.float64), np.asarray(full, dtype=np.float64)
    if ours.shape != theirs.shape or not len(ours):
        raise ValueError(f"{len(ours)} and {len(theirs)} scores: pairs are needed")
    low, high = _bootstrap(ours - theirs)
    binary = bool(np.isin([ours, theirs], (0.0, 1.0)).all())
    p = _mcnemar(ours, theirs) if binary else _permutation(ours, theirs)
    return Comparison(len(ours), float((ours - theirs).mean()), low, high, p, "McNemar" if binary else "permutation")


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's corrected p-values, in the same order."""
    if not p_values:
        return []
    check_installed()
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]


def _bootstrap(values: Floats) -> tuple[float, float]:
    from scipy.stats import bootstrap

    if len(values) < 2 or (values == values[0]).all():
        return float("nan"), float("nan")
    options: dict[str, Any] = {"n_resamples": RESAMPLES, "confidence_level": CONFIDENCE, "method": "BCa"}
    found = bootstrap((values,), np.mean, batch=1000, rng=np.random.default_rng(_SEED), **options)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _mcnemar(ours: Floats, theirs: Floats) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[int(((ours == a) & (theirs == b)).sum()) for b in (1, 0)] for a in (1, 0)]
    return min(1.0, float(mcnemar(table, exact=True).pvalue))


def _permutation(ours: Floats, theirs: Floats) -> float:
    from scipy.stats import permutation_test

    if len(ours) < 2:
        return 1.0  # the two signs of one difference are equally far from 0

    def mean_difference(x: Floats, y: Floats, axis: int) -> Any:
        return np.mean(x - y, axis=axis)

    options: dict[str, Any] = {"permutation_type": "samples", "n_resamples": RESAMPLES, "batch": 1000}
    rng = np.random.default_rng(_SEED)
    return float(permutation_test((ours, theirs), mean_difference, vectorized=True, rng=rng, **options).pvalue)


def _number(value: float, fallback: float) -> float:
    return float(value) if np.isfinite(value) else fallback

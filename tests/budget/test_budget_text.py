"""`kv_budget` as a user writes it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asl_llamacpp.budget.text import Budget, parse_budget


@pytest.mark.parametrize(
    ("value", "budget"),
    [
        (2048, Budget("tokens", 2048)),
        (np.int64(7), Budget("tokens", 7)),
        ("2048", Budget("tokens", 2048)),
        (" 1 ", Budget("tokens", 1)),
        (0.1, Budget("fraction", 0.1)),
        (1.0, Budget("fraction", 1.0)),
        ("1.0", Budget("fraction", 1.0)),
        ("10%", Budget("fraction", 0.1)),
        ("0.7 %", Budget("fraction", 0.007)),
        ("2GiB", Budget("bytes", 2 * 2**30)),
        ("512mib", Budget("bytes", 512 * 2**20)),
        ("1.5GB", Budget("bytes", 1_500_000_000)),
        ("800 MB", Budget("bytes", 800_000_000)),
        ("3KiB", Budget("bytes", 3072)),
        ("0.5TiB", Budget("bytes", 2**39)),
        ("17B", Budget("bytes", 17)),
        (Budget("bytes", 17), Budget("bytes", 17)),
    ],
)
def test_what_a_budget_may_be(value: Any, budget: Budget) -> None:
    parsed = parse_budget(value)
    assert parsed == budget
    assert type(parsed.value) is type(budget.value)  # type: ignore[union-attr]


def test_none_is_no_budget() -> None:
    assert parse_budget(None) is None


@pytest.mark.parametrize("value", [0, -1, "0", "-5", "0%", "0GiB", "0.1B", "-2GiB", math.nan, -0.5, math.inf, "1e999"])
def test_nothing_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="must be more than 0"):
        parse_budget(value)


@pytest.mark.parametrize("value", [1.5, 2048.0, "110%", "2048.5"])
def test_more_than_the_prompt_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="fraction above 1"):
        parse_budget(value)


@pytest.mark.parametrize("value", ["", "much", "2G", "2 parsec", "1,000", "GiB", "nan", "2GiB 3", "٣"])
def test_unknown_text_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not understood: give tokens"):
        parse_budget(value)


@pytest.mark.parametrize("value", [True, False, [2048], b"2GiB", 1j])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(TypeError, match="no budget: give tokens"):
        parse_budget(value)


@given(
    st.one_of(
        st.builds(Budget, st.just("tokens"), st.integers(1, 10**9)),
        st.builds(Budget, st.just("fraction"), st.floats(0, 1, exclude_min=True)),
        st.builds(Budget, st.just("bytes"), st.integers(1, 2**50)),
        st.builds(Budget, st.just("bytes"), st.integers(1, 2**20).map(lambda n: n * 2**20)),
    )
)
def test_the_text_of_a_budget_reads_back(budget: Budget) -> None:
    assert parse_budget(str(budget)) == budget


def test_text_is_short() -> None:
    assert [str(parse_budget(value)) for value in ("2GiB", "1536MiB", "10%", "64")] == ["2GiB", "1536MiB", "0.1", "64"]


def test_a_fraction_counts_as_it_is_written() -> None:
    assert Budget("fraction", 0.29).tokens(100) == 29  # in binary 0.29 * 100 is below 29
    assert Budget("fraction", 0.1).tokens(39) == 3
    assert Budget("tokens", 50).tokens(39) == 50

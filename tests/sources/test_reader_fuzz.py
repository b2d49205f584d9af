"""Each reader on damaged files, a few of each: tests/sources/fuzz/long_run.py reads many."""

from __future__ import annotations

import random

import pytest
from damaged import damaged
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_files import SAMPLES

from asl_llamacpp.sources.content import read_bytes


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_read(name: str) -> None:
    assert read_bytes(SAMPLES[name], name).text.strip()


@pytest.mark.parametrize("name", SAMPLES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_damaged_files_are_read_or_refused(name: str, seed: int) -> None:
    data = damaged(SAMPLES[name], random.Random(seed))
    try:
        source = read_bytes(data, name)
    except ValueError as error:
        assert name in str(error)
        assert type(error).__module__.startswith("asl_llamacpp.")
        return
    source.text.encode()
    starts = [mark.start for mark in source.marks]
    assert starts == sorted(starts) and all(0 <= start <= len(source.text) for start in starts)
    assert all(source.text[one.start :].lstrip("# ")[:1] for one in source.headings)

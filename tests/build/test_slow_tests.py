"""The list of slow tests names tests that there are."""

from __future__ import annotations

from places import ROOT


def test_every_slow_test_is_there() -> None:
    lines = (ROOT / "tests" / "slow_tests.txt").read_text().splitlines()
    names = [line for line in lines if not line.startswith("#")]
    assert names == sorted(set(names))
    for name in names:
        path, *_, function = name.split("::")
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), name

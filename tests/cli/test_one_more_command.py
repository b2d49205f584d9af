"""The command of CONTRIBUTING.md: one file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import contributing
import pytest
from cli_calls import fails, invoke

from asl_llamacpp.cli import commands

FILE = "asl_llamacpp/cli/commands/count.py"


@pytest.fixture(autouse=True)
def _count(tmp_path: Path) -> Iterator[None]:
    with contributing.added(commands, FILE, tmp_path):
        yield


def test_it_is_listed_in_its_place() -> None:
    listed = re.findall(r"│ (\w[\w-]*) +(\w.*?) +│", invoke("--help").stdout)
    assert ("count", "Count the tokens of a document.") in listed
    names = [name for name, _ in listed]
    assert names.index("chat") < names.index("count") < names.index("demo")


def test_it_runs(tmp_path: Path, smollm2_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two three")
    assert invoke("count", tmp_path / "a.txt", "--model", smollm2_path).stdout == "a.txt: 3 tokens\n"
    fails(invoke("count", tmp_path / "b.txt", "--model", smollm2_path), "no such document")
    assert "--model" in invoke("count", "--help").stdout

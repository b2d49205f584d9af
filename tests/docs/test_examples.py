"""The examples are short, and run as their first lines say."""

from __future__ import annotations

import csv
import io
import runpy
import shlex
from pathlib import Path

import pytest
from places import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LONGEST = 40


def command(example: Path) -> list[str]:
    """The arguments that an example's docstring calls it with."""
    line = next(line for line in example.read_text(encoding="utf-8").splitlines() if line.startswith("python "))
    program, *arguments = shlex.split(line.removeprefix("python "))
    assert program == f"examples/{example.name}"
    return [argument for argument in arguments if argument != "..." and not argument.startswith("[")]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_example(
    example: Path, reader: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", [str(example), *command(example)])
    monkeypatch.setattr("sys.stdin", io.StringIO("Who took part?\nWhat does it cost?\n\n"))
    (reader / "questions.txt").write_text("Who may end it?\nWhat does it cost?\n", encoding="utf-8")
    runpy.run_path(str(example), run_name="__main__")
    told = capsys.readouterr().out
    if example.stem == "ask_a_pdf":
        assert "- contract.pdf · page " in told and "policy     asl" in told
    elif example.stem == "chat":
        assert told.count("of the prompt was known") == 2 and " 0% of the prompt" not in told
    elif example.stem == "table_of_answers":
        with (reader / "answers.csv").open(encoding="utf-8") as file:
            rows = list(csv.reader(file))
        assert [row[0] for row in rows] == ["document", "contract.pdf", "report.pdf"]
        assert all("page" in cell for row in rows[1:] for cell in row[1:])
    elif example.stem == "within_a_budget":
        assert told.startswith("full: kv_policy='full' holds") and "\nasl: " in told
    elif example.stem == "evidence_to_html":
        assert [path.read_text(encoding="utf-8")[:15] for path in sorted((reader / "maps").iterdir())] == [
            "<!DOCTYPE html>"
        ] * 2
    elif example.stem == "compare_policies":
        assert len(told.splitlines()) == 7
    else:
        pytest.fail(f"nothing is checked of {example.name}")


def test_there_are_six_short_ones_and_all_are_listed() -> None:
    listed = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert len(EXAMPLES) == 6
    for example in EXAMPLES:
        assert len(example.read_text(encoding="utf-8").splitlines()) <= LONGEST
        assert f"]({example.name})" in listed

"""A terminal of 60 columns, and one that is made narrower: what is shown meanwhile fits in a line."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from asl_llamacpp.cli.counting_bar import counting_bar
from asl_llamacpp.cli.progress import PrefillBar
from asl_llamacpp.prefill.report import Progress

WIDE = 200


def shown(width: int, show: Callable[[Console], None], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All lines that a bar was drawn with."""
    monkeypatch.setenv("COLUMNS", str(width))
    file = io.StringIO()
    show(Console(file=file, force_terminal=True, width=width, color_system=None, legacy_windows=False))
    text = file.getvalue().replace("\r", "\n").replace("\x1b[2K", "").replace("\x1b[1A", "")
    return [line for line in text.split("\n") if line.strip("\x1b[?25lh ")]


def prefill(console: Console) -> None:
    with PrefillBar(console=console) as bar:
        for layer in (0, 99):
            bar(Progress(layer, 126, 130_000, 131_072, "shallow"))
            bar.time_left.share = 0.5
            bar._bar.refresh()
        bar.thought("one two three " * 100_000)
        bar._bar.refresh()


@pytest.mark.parametrize("width", [60, WIDE])
def test_the_bar_of_a_prefill_is_one_line_of_60_columns(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(width, prefill, monkeypatch)
    assert any("layer 100 of 126" in line for line in lines)
    assert any("thinking" in line and "300,000 words" in line for line in lines)
    assert all(len(line.rstrip()) <= 60 for line in lines), lines
    drawn = [line for line in lines if "layer" in line or "prefill" in line]
    assert all("layer" in line and "prefill" in line for line in drawn)  # not broken in two


def test_the_bar_of_an_evaluation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def count(console: Console) -> None:
        monkeypatch.setattr("asl_llamacpp.cli.counting_bar.Console", lambda **_: console)
        with counting_bar(True) as bar:
            bar.add_task("heads that look answers up", total=1000, completed=999)
            bar.refresh()

    lines = shown(60, count, monkeypatch)
    assert any("999/1000" in line for line in lines) and all(len(line.rstrip()) <= 60 for line in lines), lines

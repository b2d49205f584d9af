"""The picture of a prefill: it shows the report, and refuses before the prefill what it could not write after it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.figure import Figure

from asl_llamacpp.prefill.plot import check_plot_path, plot_report
from asl_llamacpp.prefill.report import PrefillReport

REPORT = PrefillReport(
    policy="asl:select_k=40",
    n_prompt=400,
    n_layer=12,
    selection_layer=7,
    reason="relative variance 0.2 < tau=0.3",
    selected=np.arange(40, dtype=np.int32),
    relative_variance={4: 1.0, 5: 0.8, 6: 0.5, 7: 0.2},
    tau=0.3,
    cells=[400] * 8 + [40] * 4,
    kv_bytes=4 << 20,
    kv_bytes_full=8 << 20,
)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that were saved."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure: Figure, *args: object, **options: object) -> None:
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", keep)
    return figures


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


@pytest.mark.parametrize(("ending", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF-")])
def test_each_format(tmp_path: Path, ending: str, start: bytes) -> None:
    path = tmp_path / f"picture{ending}"
    plot_report(REPORT, path)
    assert path.read_bytes().startswith(start)


def test_shows_variance_threshold_choice_and_cells(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_report(REPORT, tmp_path / "picture.png")
    above, below = drawn[0].axes
    curves = {line.get_label(): line for line in above.lines}
    assert list(curves["V / V_ref"].get_xdata()) == [4, 5, 6, 7]
    assert list(curves["V / V_ref"].get_ydata()) == [1.0, 0.8, 0.5, 0.2]
    assert set(curves["tau = 0.3"].get_ydata()) == {0.3}
    assert labels(drawn[0]) == ["tau = 0.3", "V / V_ref", "selected at layer 7"]
    assert [bar.get_height() for bar in below.patches] == REPORT.cells
    assert "50 % saved" in below.get_title(loc="right")
    assert "40 of 400 prompt tokens kept after layer 7 of 12" in drawn[0].get_suptitle()


def test_a_forced_layer_looks_different(tmp_path: Path, drawn: list[Figure]) -> None:
    for forced in (False, True):
        plot_report(replace(REPORT, forced=forced), tmp_path / "picture.png")
    assert labels(drawn[1])[-1] == "forced at layer 7"
    lines, points = zip(*((axes.lines[-1], axes.lines[2]) for axes in (f.axes[0] for f in drawn)), strict=True)
    assert [line.get_linestyle() for line in lines] == ["-", "--"]
    assert points[0].get_markerfacecolor() != points[1].get_markerfacecolor() == "white"


def test_a_report_without_pruning(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_report(PrefillReport(policy="full", n_prompt=9, n_layer=3), tmp_path / "picture.png")
    assert "nothing pruned" in drawn[0].get_suptitle()


def test_a_fixed_layer_without_variance(tmp_path: Path, drawn: list[Figure]) -> None:
    plot_report(replace(REPORT, relative_variance={}, tau=None, forced=True), tmp_path / "picture.png")
    assert labels(drawn[0]) == ["forced at layer 7"]


@pytest.mark.parametrize("name", ["picture", "picture.jpg", "picture.png.txt"])
def test_other_endings_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"endings \.png, \.svg, \.pdf"):
        check_plot_path(tmp_path / name)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        check_plot_path(tmp_path / "nowhere" / "picture.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install \"asl-llamacpp\[plot\]\""):
        check_plot_path(tmp_path / "picture.png")

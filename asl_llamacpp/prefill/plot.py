"""A picture of one prefill: when the ranks settled, where the prompt was pruned, and what each layer keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .report import PrefillReport

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENDINGS = (".png", ".svg", ".pdf")

_LINE, _TAU, _CHOSEN, _CELLS, _MUTED = "#3b5b92", "#8a8a8a", "#c8452d", "#a9bcd8", "#555555"


def check_plot_path(path: str | Path) -> None:
    """Whether `plot_report` will be able to write `path`: worth knowing before a long prefill.

    Raises:
        ValueError: not a .png, .svg or .pdf file.
        FileNotFoundError: its folder does not exist.
        ImportError: matplotlib is not installed.
    """
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise ValueError(f"cannot draw {path.name!r}: give the picture one of the endings {', '.join(ENDINGS)}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"no such folder for the picture: {path.absolute().parent}")
    figure_class()


def plot_report(report: PrefillReport, path: str | Path) -> None:
    """Draw `report` into the file `path` (.png, .svg or .pdf).

    Above: the relative variance V_l / V_ref of the token ranks by layer (arXiv 2601.07667) with the threshold tau
    and the selection layer. Below: the KV cells of each layer. A report without pruning is drawn too.

    Raises:
        ValueError, FileNotFoundError, ImportError: as `check_plot_path`.
    """
    check_plot_path(path)
    figure = figure_class()(figsize=(8.0, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.suptitle(_title(report), fontsize=12, x=0.02, ha="left")
    _draw_variance(above, report)
    _draw_cells(below, report)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        axes.set_axisbelow(True)
        if report.selection_layer is not None:
            axes.axvline(report.selection.selection_layer, **_line_style(report))
    figure.savefig(path, dpi=150)


def figure_class() -> Any:
    """matplotlib's Figure: without pyplot no window system is touched, and Agg draws."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('drawing needs matplotlib: pip install "asl-llamacpp[plot]"') from None
    return Figure


def _title(report: PrefillReport) -> str:
    if report.selection_layer is None:
        return f"{report.policy}: nothing pruned, {report.n_prompt:,} prompt tokens in all {report.n_layer} layers"
    return f"{report.policy}: {report.n_selected:,} of {report.n_prompt:,} prompt tokens kept {report.place}"


def _line_style(report: PrefillReport) -> dict[str, Any]:
    return {"color": _CHOSEN, "linewidth": 1.6, "linestyle": "--" if report.forced else "-"}


def _marker_style(report: PrefillReport) -> dict[str, Any]:
    face = "white" if report.forced else _CHOSEN
    return {"marker": "o", "markersize": 9, "markerfacecolor": face, "markeredgecolor": _CHOSEN, "markeredgewidth": 1.8}


def _draw_variance(axes: Axes, report: PrefillReport) -> None:
    axes.set_ylabel("relative variance")
    if report.tau is not None:
        axes.axhline(report.tau, color=_TAU, linewidth=1.2, linestyle=":", label=f"tau = {report.tau:g}")
    layers = sorted(report.relative_variance)
    if layers:
        values = [report.relative_variance[layer] for layer in layers]
        axes.plot(layers, values, color=_LINE, linewidth=1.6, marker="o", markersize=4, label="V / V_ref")
        axes.set_ylim(bottom=0)
    else:
        axes.text(0.5, 0.5, "the rule was not evaluated", transform=axes.transAxes, ha="center", color=_MUTED)
        axes.set_yticks([])
    chosen = report.selection.selection_layer
    if chosen is not None:
        how = "forced at" if report.forced else "selected at"
        if chosen in report.relative_variance:
            axes.plot(chosen, report.relative_variance[chosen], zorder=3, **_marker_style(report))
        axes.plot([], [], label=f"{how} layer {chosen}", **_line_style(report), **_marker_style(report))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)


def _draw_cells(axes: Axes, report: PrefillReport) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylabel("KV cells")
    axes.set_xlabel("layer")
    axes.bar(range(len(report.cells)), report.cells, width=0.8, color=_CELLS)
    axes.set_xlim(-0.8, max(report.n_layer, report.selection.n_layer) - 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if report.kv_bytes_full:
        saved = 1 - report.kv_bytes / report.kv_bytes_full
        used, full = report.kv_bytes / 2**20, report.kv_bytes_full / 2**20
        text = f"KV memory: {used:.1f} of {full:.1f} MiB, {100 * saved:.0f} % saved"
        axes.set_title(text, fontsize=9, color=_MUTED, loc="right")

"""Draws the composed results of scaling, by itself too: python -m benchmarks.scaling.picture RESULT.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLORS = {
    "full": "#9aa0a6",
    "asl, at the latest": "#1a73e8",
    "asl, half way": "#34a853",
    "asl, half way, kv_budget": "#f9ab00",
    "snapkv": "#a142f4",
    "gemfilter": "#ea4335",
}
IDEAL_OF = "asl, half way"


def _time(panel: Any, policy: str, own: list[dict[str, Any]]) -> None:
    color = COLORS[policy]
    timed = [row for row in own if row["measured"]]
    fitted = own[max(len(timed) - 1, 0) :]
    line = {"color": color, "linewidth": 1.4}
    panel.plot([r["n"] for r in timed], [r["prefill_s"] for r in timed], "-o", markersize=3.5, label=policy, **line)
    panel.plot([r["n"] for r in fitted], [r["prefill_s"] for r in fitted], "--", **line)


def _ratio(panel: Any, policy: str, own: list[dict[str, Any]]) -> None:
    color, lengths = COLORS[policy], [row["n"] for row in own]
    panel.plot(lengths, [row["prefill_ratio"] for row in own], "-o", markersize=3, color=color, linewidth=1.4)
    if policy == IDEAL_OF:
        kinds = [("tokens", ":", "ideal: tokens x layers"), ("arithmetic", "-.", "ideal: all arithmetic")]
        for kind, style, label in kinds:
            values = [row[f"ideal_{kind}"] for row in own]
            panel.plot(lengths, values, style, color="black", linewidth=1, label=f"{label} ({policy})")


def _memory(panel: Any, policy: str, own: list[dict[str, Any]]) -> None:
    values = [row["peak_kv_bytes"] / 2**30 for row in own]
    panel.plot([row["n"] for row in own], values, "-", color=COLORS[policy], linewidth=1.4)


PANELS = [
    (_time, True, "seconds of prefill (dashed: fitted)"),
    (_ratio, False, "prefill, share of full"),
    (_memory, True, "GiB of KV at most"),
]


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """A row of panels for each shape: seconds, their share of full with the ideal curves, and peak KV."""
    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure, panels = plt.subplots(
        len(shapes), len(PANELS), figsize=(12, 0.9 + 2.9 * len(shapes)), squeeze=False, layout="constrained"
    )
    for shape, line in zip(shapes, panels, strict=True):
        for panel, (plot, logarithmic, what) in zip(line, PANELS, strict=True):
            for policy in COLORS:
                own = [row for row in rows if row["shape"] == shape and row["policy"] == policy]
                plot(panel, policy, own)
            lengths = sorted({row["n"] for row in rows if row["shape"] == shape})
            panel.set_xscale("log", base=2)
            panel.set_xticks(lengths, [f"{n // 1024}k" for n in lengths], fontsize=8)
            panel.set_yscale("log" if logarithmic else "linear")
            if not logarithmic:
                panel.set_ylim(bottom=0)
            panel.set_title(f"{shape}: {what}", fontsize=9)
            panel.grid(alpha=0.25)
            panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].legend(frameon=False, fontsize=7)
    panels[0][1].legend(frameon=False, fontsize=7)
    figure.suptitle(f"composed of measured layers, KV planned; {title}", fontsize=8, color="#5f6368")
    figure.savefig(path, dpi=140)
    plt.close(figure)


def main() -> None:
    """Draw beside the result."""
    source = Path(sys.argv[1])
    result = json.loads(source.read_text(encoding="utf-8"))
    draw(result["rows"], source.with_suffix(".png"), result["machine"]["processor"])
    print(source.with_suffix(".png"))


if __name__ == "__main__":
    main()

"""Draws the results of compare, by itself too: python -m benchmarks.compare.picture RESULT.json"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PANELS = [
    ("prefill_s", 1.0, "seconds to the first token", "{:.1f}"),
    ("decode_tok_s", 1.0, "tokens per second after it", "{:.0f}"),
    ("kv_bytes", 2.0**20, "MiB of KV cache after the prefill", "{:.0f}"),
    ("peak_rss", 2.0**20, "MiB of the process at most", "{:.0f}"),
]
COLORS = {"stock": "#9aa0a6", "short": "#9aa0a6", "torch": "#f9ab00", "kvpress": "#f9ab00", "ours": "#1a73e8"}


def color(name: str) -> str:
    """Grey for llama.cpp, blue for this package, yellow for transformers."""
    return COLORS.get(name.split("-")[0], COLORS["ours"])


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """A row of panels for each length, a bar for each contestant."""
    lengths = sorted({row["n"] for row in rows})
    names = list(dict.fromkeys(row["contestant"] for row in rows))
    size = (3.6 * len(PANELS), 0.9 + 0.27 * len(names) * len(lengths))
    figure, panels = plt.subplots(len(lengths), len(PANELS), figsize=size, squeeze=False, layout="constrained")
    for n, line in zip(lengths, panels, strict=True):
        shown = [row for row in rows if row["n"] == n]
        for panel, (key, scale, what, form) in zip(line, PANELS, strict=True):
            values = [row[key] / scale for row in shown]
            colors = [color(row["contestant"]) for row in shown]
            bars = panel.barh(range(len(shown)), values, 0.75, color=colors)
            panel.bar_label(bars, fmt=form, fontsize=7, padding=2)
            panel.set_xlim(0, 1.18 * max(values))
            panel.invert_yaxis()
            first = panel is line[0]
            panel.set_yticks(range(len(shown)), [row["label"] for row in shown] if first else [], fontsize=8)
            panel.tick_params(axis="x", labelsize=7)
            panel.set_title(f"{what}, {n:,} tokens", fontsize=8)
            panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=8, color="#5f6368")
    figure.savefig(path, dpi=140)
    plt.close(figure)


def main() -> None:
    """Draw beside the result."""
    source = Path(sys.argv[1])
    result = json.loads(source.read_text(encoding="utf-8"))
    draw(result["rows"], source.with_suffix(".png"), result["model"])
    print(source.with_suffix(".png"))


if __name__ == "__main__":
    main()

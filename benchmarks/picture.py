"""Draw the picture of the README from the newest result of compare.py: python benchmarks/picture.py [RESULT.json]"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).resolve().parent / "results"
SHOWN = {
    "stock": ("llama.cpp", "#9aa0a6"),
    "asl": ("ASL", "#1a73e8"),
    "asl-calibrated": ("ASL, calibrated", "#34a853"),
    "asl-budget": ("and kv_budget", "#f9ab00"),
}
WIDTH = 0.8 / len(SHOWN)
PANELS = [
    ("prefill_s", 1.0, "seconds to the first token"),
    ("decode_tok_s", 1.0, "tokens per second after it"),
    ("kv_bytes", 2.0**20, "MiB of KV cache"),
]


def draw(result: dict[str, Any], path: Path) -> None:
    """Three panels of bars: time to first token, decode speed, KV memory, by prompt length."""
    lengths = sorted({row["n"] for row in result["rows"]})
    rows = {(row["contestant"], row["n"]): row for row in result["rows"]}
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    for panel, (key, scale, title) in zip(panels, PANELS, strict=True):
        for i, (name, (label, color)) in enumerate(SHOWN.items()):
            values = [rows[name, n][key] / scale for n in lengths]
            middles = [x + (i - (len(SHOWN) - 1) / 2) * WIDTH for x in range(len(lengths))]
            bars = panel.bar(middles, values, WIDTH - 0.02, label=label, color=color)
            panel.bar_label(bars, fmt="{:.0f}", fontsize=8, padding=1)
        panel.set_xticks(range(len(lengths)), [f"{n:,} tokens" for n in lengths])
        panel.set_title(title, fontsize=11)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
    machine = result["machine"]["processor"].replace("-", " ")
    figure.suptitle(f"{result['model']}, {machine}", fontsize=9, color="#5f6368")
    figure.savefig(path, dpi=140)


def main() -> None:
    """Draw beside the result."""
    found = sorted(RESULTS.glob("compare-*.json"), key=lambda path: path.stat().st_mtime)
    if len(sys.argv) < 2 and not found:
        raise SystemExit("no result yet: run benchmarks/compare.py first")
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else found[-1]
    draw(json.loads(source.read_text(encoding="utf-8")), RESULTS / "overview.png")
    print(RESULTS / "overview.png")


if __name__ == "__main__":
    main()

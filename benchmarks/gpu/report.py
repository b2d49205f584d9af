"""Puts what run.sh measured into one JSON, a table and a picture: python -m benchmarks.gpu.report FOLDER"""

from __future__ import annotations

import json
import platform
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import probe

BASE = "llama.cpp"
COLUMNS = (
    ("prefill_s", "first token after, s", ".2f"),
    ("decode_tok_s", "tokens a second", ".1f"),
    ("question_s", "next question, s", ".2f"),
)


def medians(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a shape, length and contestant; None where every process died."""
    merged: dict[tuple[str, int, str], list[dict[str, Any]]] = {}
    for row in rows:
        merged.setdefault((row["shape"], row["n"], row["contestant"]), []).append(row)
    found = []
    for (shape, n, contestant), own in merged.items():
        done = [row for row in own if not row["failed"]]
        values: dict[str, Any] = {"shape": shape, "n": n, "contestant": contestant, "runs": len(done)}
        for key, _, _ in COLUMNS:
            values[key] = statistics.median(row[key] for row in done) if done else None
        for key in ("kv_bytes", "vram_bytes"):
            values[key] = max((row[key] for row in done if row[key] is not None), default=None)
        found.append(values)
    return found


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, with the ratio to unpatched llama.cpp behind each number."""
    base = {(row["shape"], row["n"]): row for row in rows if row["contestant"] == BASE}
    head = " | ".join(f"{title} | / stock" for _, title, _ in COLUMNS)
    lines = [f"| shape | prompt | | {head} | VRAM at most, MiB |", "| --- " * (4 + 2 * len(COLUMNS)) + "|"]
    for row in rows:
        texts = []
        for key, _, form in COLUMNS:
            own, other = row[key], base[row["shape"], row["n"]][key]
            texts.append("-" if own is None else f"{own:{form}}")
            texts.append("-" if not own or not other else f"{own / other:.2f}")
        texts.append("-" if row["vram_bytes"] is None else f"{row['vram_bytes'] / 2**20:,.0f}")
        lines.append(f"| {row['shape']} | {row['n']} | {row['contestant']} | {' | '.join(texts)} |")
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path, title: str) -> None:
    """Seconds to the first token as a share of unpatched llama.cpp's, by length: a panel a shape."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shapes = list(dict.fromkeys(row["shape"] for row in rows))
    figure, panels = plt.subplots(1, len(shapes), figsize=(4 * len(shapes), 3.6), squeeze=False, layout="constrained")
    for panel, shape in zip(panels[0], shapes, strict=True):
        own = [row for row in rows if row["shape"] == shape]
        base = {row["n"]: row["prefill_s"] for row in own if row["contestant"] == BASE}
        for contestant in dict.fromkeys(row["contestant"] for row in own):
            points = [
                (row["n"], row["prefill_s"] / base[row["n"]])
                for row in own
                if row["contestant"] == contestant and row["prefill_s"] and base[row["n"]]
            ]
            panel.plot(*zip(*points, strict=True), "-o", markersize=3, label=contestant) if points else None
        panel.set_xscale("log", base=2)
        lengths = sorted({row["n"] for row in own})
        panel.set_xticks(lengths, [f"{n / 1024:.0f}k" for n in lengths])
        panel.set_ylim(bottom=0)
        panel.set_title(f"{shape}: first token, share of llama.cpp", fontsize=9)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0][0].legend(frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=8, color="#5f6368")
    figure.savefig(path, dpi=140)


def main() -> None:
    folder = Path(sys.argv[1])
    speed = json.loads((folder / "speed.json").read_text(encoding="utf-8"))
    rows = medians(speed["rows"])
    accuracy = {path.parent.name: path.read_text(encoding="utf-8") for path in folder.glob("accuracy-*/tables.md")}
    name = "".join(c if c.isalnum() else "-" for c in speed["card"]).strip("-")
    machine = {"card": speed["card"], "processor": probe.processor_name(), "system": platform.platform()}
    result = {"machine": machine, "version": probe.version(), "rows": rows, "runs": speed["rows"], "accuracy": accuracy}
    (folder / f"result-{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    text = f"{speed['card']}, random weights in Q4_0, medians\n\n{table(rows)}\n"
    (folder / f"result-{name}.md").write_text(text, encoding="utf-8")
    draw(rows, folder / f"result-{name}.png", speed["card"])
    print(text)


if __name__ == "__main__":
    main()

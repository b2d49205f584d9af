"""Draw the picture of the README from the newest results of compare and of the evaluation of the default model.

python -m benchmarks.overview [RESULT.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from asl_llamacpp.evals.lines import answered, read_lines
from asl_llamacpp.evals.statistics import interval
from benchmarks.common import probe

RESULTS = Path(__file__).resolve().parent.parent / "results"
ANSWERS = RESULTS / "accuracy-smollm" / "run.jsonl"
KEPT = "1/4"
SHOWN = {
    "stock": ("llama.cpp", "#9aa0a6"),
    "asl": ("ASL", "#1a73e8"),
    "asl-calibrated": ("ASL, calibrated", "#34a853"),
    "asl-2pass": ("ASL, two passes", "#f9ab00"),
}
WIDTH = 0.8 / len(SHOWN)
PANELS = [
    ("prefill_s", 1.0, "seconds to the first token"),
    ("decode_tok_s", 1.0, "tokens per second after it"),
    ("kv_bytes", 2.0**20, "MiB of KV cache"),
]


def policies() -> dict[str, tuple[str, str | None]]:
    """What the evaluation calls those that are shown: policy and budget."""
    calibrated = probe.calibrated(probe.default_model(), 2048)
    return {
        "stock": ("full", None),
        "asl": ("asl", KEPT),
        "asl-calibrated": (calibrated, KEPT),
        "asl-2pass": ("asl-2pass", KEPT),
    }


def scores(n: int) -> dict[str, list[float]]:
    """By contestant, on the prompts of about `n` tokens that all of them answered."""
    lines = [line for line in answered(read_lines(ANSWERS)) if abs(line["length"] - n) < 0.02 * n]
    found = {}
    for name, key in policies().items():
        own = [line for line in lines if (line["policy"], line["budget"]) == key]
        found[name] = {(line["task"], line["seed"], line["sample"]): line["score"] for line in own}
    common = set.intersection(*map(set, found.values()))
    return {name: [own[key] for key in sorted(common)] for name, own in found.items()}


def bars(panel: Axes, lengths: list[int], values: dict[str, list[float]], form: str) -> None:
    """A group of bars for each length, one for each contestant."""
    for i, (name, (label, color)) in enumerate(SHOWN.items()):
        middles = [x + (i - (len(SHOWN) - 1) / 2) * WIDTH for x in range(len(lengths))]
        drawn = panel.bar(middles, values[name], WIDTH - 0.02, label=label, color=color)
        panel.bar_label(drawn, fmt=form, fontsize=7, padding=1)
    panel.spines[["top", "right"]].set_visible(False)


def draw(result: dict[str, Any], path: Path) -> None:
    """Time to first token, decode speed, KV memory, right answers, each by prompt length."""
    lengths = sorted({row["n"] for row in result["rows"]})
    rows = {(row["contestant"], row["n"]): row for row in result["rows"]}
    figure, panels = plt.subplots(1, 4, figsize=(14, 3.2), layout="constrained")
    for panel, (key, scale, title) in zip(panels, PANELS, strict=False):
        bars(panel, lengths, {name: [rows[name, n][key] / scale for n in lengths] for name in SHOWN}, "{:.0f}")
        panel.set_xticks(range(len(lengths)), [f"{n:,} tokens" for n in lengths], fontsize=9)
        panel.set_title(title, fontsize=11)
    panels[0].legend(frameon=False, fontsize=9)

    by_length = {n: found for n in lengths if (found := scores(n))["stock"]}
    shown = list(by_length)
    panel = panels[3]
    bars(panel, shown, {name: [_percent(by_length[n][name]) for n in shown] for name in SHOWN}, "{:.0f}")
    for i, name in enumerate(SHOWN):
        for x, n in enumerate(shown):
            low, high = interval(by_length[n][name])
            panel.vlines(x + (i - (len(SHOWN) - 1) / 2) * WIDTH, 100 * low, 100 * high, color="#5f6368", linewidth=0.8)
    panel.set_xticks(
        range(len(shown)), [f"{n:,} tokens\n{len(by_length[n]['stock'])} prompts" for n in shown], fontsize=9
    )
    panel.set_ylim(0, 112)
    panel.set_title("% right answers, and 95 % intervals", fontsize=11)
    machine = result["machine"]["processor"].replace("-", " ")
    figure.suptitle(f"{result['model']}, {machine}, a quarter of the prompt kept", fontsize=9, color="#5f6368")
    figure.savefig(path, dpi=130)


def _percent(scores: list[float]) -> float:
    return 100 * sum(scores) / len(scores)


def main() -> None:
    """Draw beside the result."""
    found = sorted(RESULTS.glob("compare-*.json"), key=lambda path: path.stat().st_mtime)
    if len(sys.argv) < 2 and not found:
        raise SystemExit("no result yet: run python -m benchmarks.compare first")
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else found[-1]
    draw(json.loads(source.read_text(encoding="utf-8")), RESULTS / "overview.png")
    print(RESULTS / "overview.png")


if __name__ == "__main__":
    main()

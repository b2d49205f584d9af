"""Makes the files beside it: the part of the recorded figures that the tests need, in the same layout.

    python tests/data/extract.py ../shared/oracle

The figures come from the reference code of arXiv 2601.07667 (repository TANIGUCHIREI/ASL, commit 9e1ec0c),
run in float32 on the weights of SmolLM2-135M-Instruct.Q4_1.gguf. Texts, the logits of pruned runs and half of
the prompts are left out; the unpruned model's logits stay for three prompts.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
PROMPTS = ("00_passkey", "02_passkey", "05_needle", "13_multikey", "16_qa", "18_code")
WITH_LOGITS = ("00_passkey", "02_passkey", "05_needle")
TEXTS = ("text", "greedy_text", "tokens", "seed")  # the tokens are in the archive


def slim(entry: dict[str, Any]) -> dict[str, Any]:
    entry = {key: value for key, value in entry.items() if key not in TEXTS}
    entry["runs"] = {
        name: {key: value for key, value in run.items() if key not in TEXTS} for name, run in entry["runs"].items()
    }
    return entry


def main(source: Path) -> None:
    index = json.loads((source / "index.json").read_text())
    index["prompts"] = [slim(entry) for entry in index["prompts"] if entry["id"] in PROMPTS]
    (HERE / "index.json").write_text(json.dumps(index, separators=(",", ":")) + "\n")
    for prompt in PROMPTS:
        with np.load(source / f"{prompt}.npz") as archive:
            kept = {
                name: archive[name]
                for name in archive.files
                if name in ("tokens", "scores", "ranks")
                or name.endswith("_idx")
                or (name == "full_logits" and prompt in WITH_LOGITS)
            }
        np.savez_compressed(HERE / f"{prompt}.npz", **kept)
    with np.load(source / "unit_qk.npz") as archive:
        np.savez_compressed(HERE / "unit_qk.npz", **archive)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

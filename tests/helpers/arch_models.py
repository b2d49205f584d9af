"""A tiny random model of every architecture, from llama.cpp's own generator. Imports nothing of asl_llamacpp."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

STOCK_LIB = Path(
    os.environ.get("ASL_STOCK_LIB", Path(__file__).resolve().parents[2] / "build" / "native" / "stock" / "lib")
)

N_PROMPT, N_DECODE, N_UBATCH, N_CTX = 150, 3, 64, 256
"""Three ubatches, the last one not full, and longer than the models' sliding window of 32."""

WINDOW = 16
FIRST_KEPT = 67
"""What is pruned before the first layer: llama_decode takes positions that begin anywhere, but none with gaps."""


def generate(folder: Path) -> list[Path]:
    """Write the models into `folder`, ARCHITECTURE-dense.gguf or ARCHITECTURE-moe.gguf: about 130 files, 2 GB."""
    generator = STOCK_LIB / "generate-archs"
    assert generator.is_file(), f"no {generator}: `make test` builds it"
    command = [str(generator), "--out", str(folder), "--seed", "7"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return sorted(folder.glob("*.gguf"))

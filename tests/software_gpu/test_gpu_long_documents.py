"""Questions about documents of any length: no graph grows with the prompt."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import HELPERS
from tiny_models import TinyModel, write

THIN = TinyModel("llama", n_layer=32, n_embd=64, n_head=32, n_head_kv=1, n_ff=64)
"""The layers and heads of an 8B model."""


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(THIN, tmp_path_factory.mktemp("thin") / "thin.gguf")


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["asl:layer=24", "asl"])
def test_three_questions_about_200k_tokens(thin: Path, policy: str) -> None:
    """Two rows of the window's scores a step there, and 25 layers that the document has run through."""
    n = 200_000
    command = [sys.executable, str(HELPERS / "ask_long.py"), str(thin), str(n), policy]
    env = {**os.environ, "GGML_NO_BACKTRACE": "1"}
    out = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr[-2000:]
    assert [json.loads(line) for line in out.stdout.splitlines()] == [
        {"reused": reused, "layer": 24} for reused in (0, n, n)
    ]

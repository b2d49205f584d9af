"""What the tests of `Llama` share: loading, prompts, logits. One thread, so that load slows the tests less."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import asl_llamacpp  # before llama_cpp, which it points at the patched library

# isort: split
import llama_cpp
import numpy as np
import oracle
from narrow_model import narrow_model
from numpy.typing import NDArray
from places import BUILD, HELPERS, ROOT

from asl_llamacpp.llama.models import default_model

PRUNE = "asl:layer=14,select_k=64,window=16"
"""Cheap pruning, for tests of everything but the choice of the layer."""

WHOLE = "asl:tau=1e-9,l_max=none,select_k=64,window=16"
"""Runs prompts of more than 64 tokens through the engine, and prunes nothing."""


def load(model: Path | None = None, /, **settings: Any) -> asl_llamacpp.Llama:
    """A `Llama` with small, quiet defaults."""
    if "reader" in settings:  # tiny models save nothing
        settings["reader_options"] = {"allow_slower": True, **(settings.get("reader_options") or {})}
    defaults = {"n_ctx": 512, "n_threads": 1, "n_threads_batch": 1, "seed": 7, "verbose": False, "calibration": None}
    return asl_llamacpp.Llama(str(model or default_model()), **{**defaults, **settings})


@cache
def narrow_path() -> Path:
    """SmolLM2 with a sixteenth of its weights, random: see narrow_model.py."""
    return narrow_model(default_model(), BUILD / "models")


def load_narrow(model: Path | None = None, /, **settings: Any) -> asl_llamacpp.Llama:
    """The same of the narrow model, for tests of everything but what a model answers.

    Greedy tokens are compared only where both ways round alike: random logits lie closer together than real ones.
    """
    return load(model or narrow_path(), **settings)


def prompt(n: int, start: int = 0) -> list[int]:
    """`n` tokens of a recorded passkey prompt, from token `start` on."""
    tokens = oracle.prompts()[0].tokens.tolist()[start : start + n]
    assert len(tokens) == n, "the recorded prompt is shorter"
    return tokens


def logits(llm: llama_cpp.Llama) -> NDArray[np.float32]:
    """Logits of the last evaluated token, float32 [n_vocab]."""
    row = llama_cpp.llama_get_logits_ith(llm._ctx.ctx, -1)
    return np.ctypeslib.as_array(row, shape=(llm.n_vocab(),)).copy()


def greedy(llm: llama_cpp.Llama, tokens: list[int], n: int) -> list[int]:
    """The `n` most probable tokens after `tokens`, one by one."""
    stream = llm.generate(tokens, temp=0.0)
    try:
        return [next(stream) for _ in range(n)]
    finally:
        stream.close()


def prompt_logits(llm: llama_cpp.Llama, tokens: list[int]) -> NDArray[np.float32]:
    """Logits after `tokens`, evaluated as `generate` does: with what the cache may serve."""
    greedy(llm, tokens, 1)
    return logits(llm)


def cells(llm: asl_llamacpp.Llama) -> list[int]:
    """KV cells in use, by layer."""
    assert llm._engine is not None
    return [llm._engine.layer(il).n_cells for il in range(30)]


def text(llm: llama_cpp.Llama, question: str | list[int], **settings: Any) -> str:
    return llm(question, **{"temperature": 0.0, "max_tokens": 8, **settings})["choices"][0]["text"]


def python(code: str) -> dict[str, Any]:
    """`args` and `env` of a process that runs code with everything of this file imported."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HELPERS), str(ROOT)])}
    return {"args": [sys.executable, "-c", f"from llama_fixtures import *\n{code}"], "env": environment}


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """Run code that may crash in a process of its own."""
    return subprocess.run(**python(code), capture_output=True, text=True, check=False, timeout=300)

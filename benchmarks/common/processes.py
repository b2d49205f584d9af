"""Starts the measured processes: worker.py and those that speak as it does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.common import probe

ROOT = Path(__file__).resolve().parents[2]


class WorkerDied(SystemExit):
    """Ends the benchmark unless it is caught."""


class Process:
    """A worker with the model loaded, that is asked for one run at a time."""

    def __init__(self, command: list[str], task: dict[str, Any], tokens: list[int], env: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [*command, json.dumps(task)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=ROOT, env={**os.environ, **env},
        )  # fmt: skip
        self._ask(json.dumps(tokens))

    def _ask(self, line: str) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise WorkerDied("a worker died; its message is above")
        result: dict[str, Any] = json.loads(answer)
        return result

    def run(self) -> dict[str, Any]:
        return self._ask("run")

    def close(self) -> None:
        self.process.communicate()


def llama_process(task: dict[str, Any], tokens: list[int], stock: Path | None) -> Process:
    """A worker on our library, or with the policy "stock" on the unpatched one in the folder `stock`."""
    is_stock = task["policy"] == "stock"
    env = {"LLAMA_CPP_LIB_PATH": str(stock)} if is_stock else {}
    task = {**task, "library": "stock" if is_stock else "ours"}
    return Process([sys.executable, "-m", "benchmarks.common.worker"], task, tokens, env)


def stock_beside_our_ggml(stock: Path, folder: Path) -> Path:
    """The unpatched libllama and libggml-cpu with the other ggml files that ours uses.

    The same code in another copy of a file can be some per cent faster or slower, by where its pages lie.
    """
    for library in probe.LIB_DIR.glob("*ggml*"):
        if "ggml-cpu" not in library.name:
            (folder / library.name).symlink_to(library)
    for pattern in ("*llama*", "*ggml-cpu*"):
        for library in stock.glob(pattern):
            shutil.copy(library, folder)
    return folder

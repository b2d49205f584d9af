"""scaling --device cuda: whole models of random weights end to end on a GPU. Not run on a GPU yet."""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import threading
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common.journal import Journal
from benchmarks.common.processes import WorkerDied, llama_process
from benchmarks.scaling.composed import specs
from benchmarks.scaling.shapes import Shape, write

MIB = 2**20


def _query(what: str) -> str | None:
    """What nvidia-smi says of the first GPU; None without one."""
    command = ["nvidia-smi", "--id=0", f"--query-gpu={what}", "--format=csv,noheader,nounits"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return out.strip()


def name() -> str:
    """The GPU's name, fit for a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", _query("name") or "no GPU").strip("-")


class PeakMemory:
    """The most memory in use on the GPU while this is open, less what was in use before. None without nvidia-smi."""

    def __init__(self) -> None:
        self.before = self._used()
        self.peak = self.before
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    @staticmethod
    def _used() -> int | None:
        used = _query("memory.used")
        return None if used is None else int(used) * MIB

    def _watch(self) -> None:
        while self.before is not None and not self.stop.wait(0.1):
            self.peak = max(self.peak or 0, self._used() or 0)

    def __enter__(self) -> PeakMemory:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    @property
    def bytes(self) -> int | None:
        return None if self.before is None or self.peak is None else self.peak - self.before


def made_up_tokens(n: int) -> list[int]:
    """`n` tokens of the bytes that models of random weights know, without a short period."""
    return [3 + (7 * i + i // 256) % 256 for i in range(n)]


def run_watched(task: dict[str, Any], tokens: list[int], stock: Path | None) -> dict[str, Any]:
    """One process: its seconds and sizes; {"failed": True} if it died, as one does whose memory does not suffice."""
    with PeakMemory() as memory:
        try:
            process = llama_process(task, tokens, stock)
            result = process.run()
            process.close()
        except WorkerDied:
            return {"failed": True}
    report = result.get("report", {})
    kept = {key: result[key] for key in ("prefill_s", "decode_tok_s", "question_s", "peak_rss") if key in result}
    sizes = {key: report.get(key) for key in ("selection_layer", "kv_bytes", "peak_kv_bytes")}
    return {"failed": False, **kept, **sizes, "vram_bytes": memory.bytes}


def _run(args: argparse.Namespace, model: Path, spec: str, budget: int | None, n: int) -> dict[str, Any]:
    task = {"model": str(model), "threads": args.threads, "n_decode": args.decode, "n_gpu_layers": -1}
    return run_watched({**task, "policy": spec, "kv_budget": budget, "document_min": None}, made_up_tokens(n), None)


def measure(
    args: argparse.Namespace, shape: Shape, lengths: list[int], folder: Path, journal: Journal
) -> list[dict[str, Any]]:
    """Every policy at every length, in turn."""
    model, rows = write(shape, folder), []
    for n in lengths:
        runs: dict[str, list[dict[str, Any]]] = {}
        for i in range(args.rounds):
            for policy, (spec, budget) in specs(shape, args.k).items():
                key = f"whole {shape.name} {spec} {budget} {n} {i}"
                run = journal.get(key, partial(_run, args, model, spec, budget, n))
                runs.setdefault(policy, []).append(run)
                print(f"{shape.name} n={n} {policy}: {run}", flush=True)
        for policy, own in runs.items():
            row: dict[str, Any] = {"shape": shape.name, "policy": policy, "n": n}
            done = [run for run in own if not run["failed"]]
            for key in ("prefill_s", "decode_tok_s"):
                row[key] = statistics.median(run[key] for run in done) if done else None
            for key in ("kv_bytes", "peak_kv_bytes", "vram_bytes", "peak_rss"):
                row[key] = max((run[key] for run in done if run[key] is not None), default=None)
            rows.append({**row, "selection_layer": done[-1]["selection_layer"] if done else None})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown; a policy whose process died has no numbers."""
    head = "| shape | prompt | policy | first token after, s | / full | decode tok/s | / full "
    lines = [f"{head}| KV MiB | peak KV MiB | VRAM at most, MiB |", "| --- " * 10 + "|"]
    full = {(row["shape"], row["n"]): row for row in rows if row["policy"] == "full"}
    for row in rows:
        texts = []
        for key, form in (("prefill_s", ".2f"), ("decode_tok_s", ".1f")):
            value, other = row[key], full[row["shape"], row["n"]][key]
            texts.append("-" if value is None else f"{value:{form}}")
            texts.append("-" if value is None or other is None else f"{value / other:.2f}")
        for key in ("kv_bytes", "peak_kv_bytes", "vram_bytes"):
            texts.append("-" if row[key] is None else f"{row[key] / MIB:,.0f}")
        lines.append(f"| {row['shape']} | {row['n']} | {row['policy']} | {' | '.join(texts)} |")
    return "\n".join(lines)

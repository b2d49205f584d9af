"""Time and KV memory of models of 1B, 3B and 8B against the length of the prompt, with random weights.

    python -m benchmarks.scaling [--shapes 1B,3B,8B] [--k 1024] [--rounds 3]
    python -m benchmarks.scaling --device cuda [--lengths 8192,32768,130816]       # not run on a GPU yet

On a CPU single layers are timed and whole models composed of them; with --device cuda whole models run, end to end.
Each measurement is written down at once, and a run that was stopped goes on where it was. Writes
benchmarks/results/scaling-NAME.json, .md and .png. See README.md here.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import probe
from benchmarks.common.journal import FOLDER, Journal
from benchmarks.common.processes import ROOT, llama_process
from benchmarks.scaling import device, picture
from benchmarks.scaling import rows as composed
from benchmarks.scaling.composed import planned, specs
from benchmarks.scaling.shapes import SHAPES, Shape, write

MODELS = FOLDER / "shapes"
LAYERS = 5
TIMED = {"1B": [1024, 2048, 4096, 8192], "3B": [1024, 2048, 4096], "8B": [1024, 2048, 4096]}
WHOLE_MODEL = [8192, 32768, 131072 - 256]


def time_layers(args: argparse.Namespace, model: Path, n: int, k: int | None) -> dict[str, float]:
    """One process that times layers of one length."""
    task = {"model": str(model), "threads": args.threads, "n": n, "k": k}
    command = [sys.executable, "-m", "benchmarks.scaling.layer_worker", json.dumps(task)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    result: dict[str, float] = json.loads(out.stdout.splitlines()[-1])
    return result


def measure_layers(args: argparse.Namespace, shape: Shape, lengths: list[int], journal: Journal) -> dict[str, Any]:
    """By length, the results of every round."""
    model = write(shape.with_layers(LAYERS), MODELS)
    found: dict[str, list[dict[str, float]]] = {str(n): [] for n in lengths}
    for i in range(args.rounds):
        for n in lengths[:: -1 if i % 2 else 1]:
            result = journal.get(f"layers {shape.name} {n} {i}", partial(time_layers, args, model, n, args.k))
            found[str(n)].append(result)
            text = ", ".join(f"{name[:-2]} {value:.3f}" for name, value in result.items())
            print(f"{shape.name}, one layer, n={n}, seconds: {text}", flush=True)
    return found


def measure_attention(args: argparse.Namespace, shape: Shape, journal: Journal) -> dict[str, list[dict[str, float]]]:
    """The same at one length, of layers that are little but attention."""
    model, n = write(shape.heads_only(LAYERS), MODELS), args.attention_length
    runs = []
    for i in range(min(args.rounds, 2)):
        key = f"attention {shape.name} {n} {i}"
        runs.append(journal.get(key, partial(time_layers, args, model, n, None)))
        print(f"{shape.name}, attention of one layer, n={n}, seconds: {runs[-1]['plain_s']:.3f}", flush=True)
    return {str(n): runs}


def measure_kv(args: argparse.Namespace, model: Path, spec: str, budget: int | None, n: int) -> dict[str, int]:
    """KV bytes of a whole prefill, as the engine counts its buffers; "full" allocates them when it is loaded."""
    tokens = [3 + i % 256 for i in range(16 if spec == "full" else n)]
    task = {"model": str(model), "threads": args.threads, "n_decode": 0, "n_ctx": n + 256, "document_min": None}
    process = llama_process({**task, "policy": spec, "kv_budget": budget}, tokens, None)
    report = process.run()["report"]
    process.close()
    return {"kv_bytes": report["kv_bytes"], "peak_kv_bytes": report["peak_kv_bytes"]}


def check_memory(args: argparse.Namespace, shape: Shape, journal: Journal) -> list[dict[str, Any]]:
    """Planned against measured bytes, with all layers and all KV heads of the shape, and thin matrices."""
    rows, n = [], args.memory_length
    model = write(shape.narrow(), MODELS)
    for name, (spec, budget) in specs(shape, args.k).items():
        key = f"memory {shape.name} {spec} {budget} {n}"
        measured = journal.get(key, partial(measure_kv, args, model, spec, budget, n))
        expected = planned(shape, spec, budget, n)
        rows.append({"shape": shape.name, "policy": name, "n": n, **measured})
        rows[-1] |= {"planned_kv_bytes": expected.kv_bytes, "planned_peak_kv_bytes": expected.peak_kv_bytes}
        same = (expected.kv_bytes, expected.peak_kv_bytes) == (measured["kv_bytes"], measured["peak_kv_bytes"])
        verdict = "as planned" if same else f"planned {expected.kv_bytes}, {expected.peak_kv_bytes}"
        print(f"{shape.name}, KV of {name}, n={n}: {measured} {verdict}", flush=True)
    return rows


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="1B,3B,8B")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--lengths", default=None, help=f"tokens; default: {TIMED} on a CPU, else {WHOLE_MODEL}")
    parser.add_argument("--k", type=int, default=1024, help="tokens that are selected, cells that are kept")
    parser.add_argument("--memory-length", type=int, default=4096, help="at which KV is measured, not only planned")
    parser.add_argument("--attention-length", type=int, default=8192, help="at which attention is timed by itself")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decode", type=int, default=64, help="tokens to decode after each prefill, on a GPU")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    parser.add_argument("--fresh", action="store_true", help="forget the measurements of a run that was stopped")
    args = parser.parse_args()
    args.name = args.name or (probe.processor_name() if args.device == "cpu" else device.name())
    args.model = f"random weights in Q4_0, shapes of {args.shapes}"  # for the heading of the results
    args.lengths = [int(n) for n in args.lengths.split(",")] if args.lengths else None
    return args


def main() -> None:
    """Measure, print, and write the results after every shape."""
    args = parse_arguments()
    conditions = {**probe.build_conditions(), "k": args.k, "threads": args.threads, "device": args.device}
    journal = Journal("scaling", args.name, {**conditions, "decode": args.decode}, args.fresh)
    results: dict[str, Any] = {}
    attention: dict[str, Any] = {}
    checks: list[dict[str, Any]] = []
    for name in args.shapes.split(","):
        shape = SHAPES[name]
        if args.device == "cuda":
            results[name] = device.measure(args, shape, args.lengths or WHOLE_MODEL, MODELS, journal)
            rows = [row for found in results.values() for row in found]
            probe.write_results("scaling", args, rows, device.table(rows), f", {args.name}")
            continue
        results[name] = measure_layers(args, shape, args.lengths or TIMED[name], journal)
        attention[name] = measure_attention(args, shape, journal)
        checks += check_memory(args, shape, journal)
        rows = composed.rows(results, attention, args.k)
        note = f", {args.k} tokens selected, medians of {args.rounds} rounds"
        text = composed.tables(results, attention, rows, checks)
        raw = {"layers": results, "attention": attention, "memory": checks, "k": args.k}
        probe.write_results("scaling", args, rows, text, note, **raw)
        picture.draw(rows, probe.RESULTS / f"scaling-{args.name}.png", f"{args.name}{note}")


if __name__ == "__main__":
    main()

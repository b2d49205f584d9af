"""Whole models of random weights on a GPU, stock llama.cpp against ours: the step `speed` of run.sh.

    python -m benchmarks.gpu --stock build/gpu/native/stock/lib [--shapes 1B,8B,30B-A3B] [--lengths 8192,32768,130816]

Every measurement is a process of its own and is written down at once; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import probe
from benchmarks.common.journal import Journal
from benchmarks.common.processes import ROOT, stock_beside_our_ggml
from benchmarks.gpu.contestants import CONTESTANTS, Contestant
from benchmarks.scaling import device
from benchmarks.scaling.shapes import SHAPES, Shape, write

OUT = ROOT / "build" / "gpu"
N_QUESTION = 64


def thin(shape: Shape) -> Shape:
    """As many layers, with next to no arithmetic: for a rehearsal."""
    few = {"n_expert": 8, "n_expert_used": 2} if shape.n_expert else {}
    sizes = {"n_embd": 64, "n_head": 4, "n_head_kv": 2, "head_dim": 64, "n_ff": 64, "n_vocab": 259}
    return replace(shape, name=f"{shape.name}-thin", **sizes, **few)


def shape_of(args: argparse.Namespace, name: str) -> Shape:
    return thin(SHAPES[name]) if args.rehearse else SHAPES[name]


def run(
    args: argparse.Namespace, model: Path, contestant: Contestant, n_layer: int, n: int, stock: Path
) -> dict[str, Any]:
    """What one process measured; see `device.run_watched`."""
    if contestant.reader is not None:
        reader = shape_of(args, contestant.reader)
        n_layer = reader.n_layer
    task = {"model": str(model), "threads": args.threads, "n_decode": args.decode, "n_gpu_layers": -1}
    task |= {"policy": contestant.policy(n_layer), "kv_budget": contestant.kv_budget}
    task |= {"n_ubatch": contestant.n_ubatch, "n_question": N_QUESTION, "n_ctx": n + args.decode + 256}
    task |= {"software_gpu": args.rehearse}
    if contestant.hidden != "device":
        task |= {"hidden": contestant.hidden}
    if contestant.reader is not None:
        options = {"n_gpu_layers": -1, "n_ubatch": contestant.n_ubatch, "allow_slower": bool(args.rehearse)}
        task |= {"reader": str(write(reader, OUT / "shapes")), "reader_options": options}
    return device.run_watched(task, device.made_up_tokens(n), stock)


def measure(args: argparse.Namespace, journal: Journal, stock: Path) -> list[dict[str, Any]]:
    """Contestants take turns at every length, the shortest first."""
    rows = []
    for n in args.lengths:
        for name in args.shapes:
            shape = shape_of(args, name)
            model = write(shape, OUT / "shapes")
            for i in range(args.rounds):
                for contestant in CONTESTANTS:
                    if contestant.reader == name:
                        continue
                    key = f"{shape.name} {contestant.name} {n} {i}"
                    found = journal.get(key, partial(run, args, model, contestant, shape.n_layer, n, stock))
                    print(f"{key}: {found}", flush=True)
                    rows.append({"shape": shape.name, "contestant": contestant.name, "n": n, "round": i, **found})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stock", type=Path, required=True, help="folder of the unpatched libllama")
    parser.add_argument("--shapes", default="1B,8B,30B-A3B")
    parser.add_argument("--lengths", default=None)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rehearse", default="", help="options of the software GPU, in place of a card")
    args = parser.parse_args()
    args.shapes = args.shapes.split(",")
    lengths = args.lengths or ("1024,2048" if args.rehearse else "8192,32768,130816")
    args.lengths = [int(n) for n in lengths.split(",")]
    card = f"rehearsal-{args.rehearse}" if args.rehearse else device.name()
    conditions = {"rounds": args.rounds, "decode": args.decode, "version": probe.version(), "card": card}
    journal = Journal("gpu", card.replace("=", "-"), conditions, fresh=False)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(args, journal, stock_beside_our_ggml(args.stock, Path(folder)))
    (OUT / "speed.json").write_text(json.dumps({"card": card, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What a GPU makes the host do: graphs, reservations, synchronizations, bytes up and down, and seconds of its own.

    python -m benchmarks.host_cost [--lengths 8192,32768,131072] [--policies "full;asl"] [--ubatches 512]

On the software GPU of the tests, which here computes and copies nothing, with the shape of Llama 3.1 8B: unpatched
llama.cpp and the policies take turns. Writes benchmarks/results/host-cost-NAME.json and .md. See README.md here.
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
from benchmarks.common.processes import ROOT
from benchmarks.host_cost import rows
from benchmarks.scaling.shapes import SHAPES, write_zeros

STOCK = "llama.cpp"
CARDS = {
    "4090": {"linear": 140, "attention": 100, "memory_gb": 1000, "bus_gb": 25},
    "H100": {"linear": 200, "attention": 250, "memory_gb": 3350, "bus_gb": 50},
}
"""Assumed rates: TFLOP/s of matrix products and of flash attention, GB/s of the card's memory and of the bus."""
N_CTX = 1 << 18  # that the model says it was trained for


def measure(task: dict[str, Any], stock: Path) -> dict[str, Any]:
    """One process that prefills, decodes, and asks once more; as far as it came, if it died."""
    is_stock = task["policy"] == STOCK
    env = {**os.environ, "GGML_NO_BACKTRACE": "1", **({"LLAMA_CPP_LIB_PATH": str(stock)} if is_stock else {})}
    command = [sys.executable, "-m", "benchmarks.host_cost.worker"]
    task = {**task, "library": "stock" if is_stock else "ours"}
    out = subprocess.run([*command, json.dumps(task)], env=env, capture_output=True, text=True, check=False, cwd=ROOT)
    result: dict[str, Any] = {}
    for line in out.stdout.splitlines():
        result |= json.loads(line)
    if out.returncode:
        asserted = [line for line in out.stderr.splitlines() if "ASSERT" in line or line.startswith("software GPU")]
        result["died"] = (asserted or out.stderr.splitlines() or [f"status {out.returncode}"])[-1]
    return result


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stock", type=Path, default=ROOT / "build" / "native" / "stock" / "lib", metavar="DIR")
    parser.add_argument("--shape", default="8B", choices=SHAPES)
    parser.add_argument("--lengths", default="8192,32768,131072", help="prompt lengths in tokens")
    parser.add_argument("--policies", default="full;asl", help="of this package, beside llama.cpp, with semicolons")
    parser.add_argument("--ubatches", default="512", help="values of n_ubatch")
    parser.add_argument("--decode", type=int, default=256, help="tokens to decode after the prefill")
    parser.add_argument("--rounds", type=int, default=3, help="one is enough but for the seconds")
    parser.add_argument("--memory", default="device", choices=["device", "shared"], help="as CUDA's, or as Metal's")
    parser.add_argument("--accept", default="cuda", choices=["cuda", "metal", "cpu"])
    parser.add_argument("--card", default=None, choices=CARDS, help="let operations take as long as they might there")
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor, or the card")
    parser.add_argument("--fresh", action="store_true", help="forget the measurements of a run that was stopped")
    args = parser.parse_args()
    args.name = args.name or (f"modelled-{args.card}" if args.card else probe.processor_name())
    args.model, args.threads = f"shape of {args.shape}", 1
    return args


def main() -> None:
    """Measure, print, and write the results after every length."""
    args = parse_arguments()
    conditions = {**probe.build_conditions(), "decode": args.decode, "memory": args.memory, "accept": args.accept}
    rates = CARDS.get(args.card, {})
    journal = Journal("host-cost", args.name, {**conditions, "shape": args.shape, "rates": rates}, args.fresh)
    model = write_zeros(SHAPES[args.shape], FOLDER / "shapes", N_CTX)
    policies = [STOCK, *args.policies.split(";")]
    common = {
        "model": str(model),
        "n_decode": args.decode,
        "memory": args.memory,
        "accept": args.accept,
        "rates": rates,
    }
    found: list[dict[str, Any]] = []
    for n in map(int, args.lengths.split(",")):
        for n_ubatch in map(int, args.ubatches.split(",")):
            cases = [
                (policy, round_) for round_ in range(args.rounds) for policy in policies[:: -1 if round_ % 2 else 1]
            ]
            for policy, round_ in cases:
                task = {**common, "policy": policy, "n": n, "n_ubatch": n_ubatch}
                key = f"{policy} {n} {n_ubatch} {round_}"
                result = journal.get(key, partial(measure, task, args.stock))
                found.append({"policy": policy, "n": n, "n_ubatch": n_ubatch, "round": round_, **result})
                print(rows.line(found[-1]), flush=True)
        table = rows.tables(rows.medians(found), args.card is not None)
        note = f", software GPU, n_ubatch {args.ubatches}"
        note += f", a card of {rates}: modelled, not measured" if args.card else ""
        probe.write_results("host-cost", args, found, table, note, rates=rates)


if __name__ == "__main__":
    main()

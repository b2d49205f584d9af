"""Which signal picks the layer closest to the best, and how scores are best combined.

    python -m benchmarks.ablation --out results/ [--length 1024] [--task niah_single_2 ...] [--samples 10] [--seeds 2]
    python -m benchmarks.ablation --report results/ablation.jsonl

Goes on where it was stopped. See README.md here.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from asl_llamacpp.evals import calibration_report
from asl_llamacpp.evals.ablation import run_ablation
from asl_llamacpp.evals.ablation_report import write_report
from asl_llamacpp.evals.lines import Line, read_lines
from asl_llamacpp.llama.models import find_model

TASKS = (
    *("niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multivalue", "niah_multiquery"),
    *("passkey", "number_string", "kv_retrieval", "niah_multikey_2", "vt"),
)


def main() -> None:
    """Run what is missing, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="GGUF file; default: the installed SmolLM2-135M-Instruct")
    parser.add_argument("--out", type=Path, help="folder for ablation.jsonl, and then for tables and figures")
    parser.add_argument("--report", type=Path, help="make tables and figures of this file; run nothing")
    parser.add_argument("--length", type=int, default=1024, help="tokens of a prompt")
    parser.add_argument("--task", action="append", help=f"may be repeated; default: {' '.join(TASKS)}")
    parser.add_argument("--budget", action="append", help="share of the prompt to keep; default: 1/4 and 1/8")
    parser.add_argument("--samples", type=int, default=10, help="for each task and seed")
    parser.add_argument("--seeds", type=int, default=2, help="0, 1, ...; thresholds are fitted on the others' half")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.report is None:
        if args.out is None:
            parser.error("give --out FOLDER, or --report FILE")
        args.report = args.out / "ablation.jsonl"
        start = time.perf_counter()

        def on_line(line: Line) -> None:
            what = line.get("error") or line.get("skipped") or "done"
            print(
                f"{time.perf_counter() - start:7.0f} s  {line['task']} {line['seed']}.{line['sample']}: {what}",
                flush=True,
            )

        run_ablation(
            *(find_model(args.model), args.task or TASKS, args.length, args.report),
            budgets=args.budget or ("1/4", "1/8"),
            n_samples=args.samples,
            seeds=range(args.seeds),
            on_line=on_line,
            n_threads=args.threads,
            n_threads_batch=args.threads,
        )
    lines, folder = read_lines(args.report), args.out or args.report.parent
    print(write_report(lines, folder))
    held_out = calibration_report.report(lines)
    if held_out:
        (folder / "calibration.md").write_text(held_out, encoding="utf-8")
        print(held_out)


if __name__ == "__main__":
    main()

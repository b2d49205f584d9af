"""Speed and memory of llama.cpp, of every policy, and of transformers with NVIDIA kvpress, side by side in one run.

    make build/compare-venv/.ready                    # transformers and kvpress, in an environment of their own
    python -m benchmarks.compare --stock build/native/stock/lib [--lengths 2048,4096,7936] [--rounds 3,3,2]

All contestants take turns, each in a process of its own; everything that prunes keeps the same share of the prompt
(--keep). Each measurement is written down at once, and a run that was stopped goes on where it was. Writes
benchmarks/results/compare-NAME.json, .md and .png. See README.md here.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.common import probe
from benchmarks.common.journal import Journal
from benchmarks.common.processes import ROOT, stock_beside_our_ggml
from benchmarks.compare import picture
from benchmarks.compare import rows as results
from benchmarks.compare.contestants import CONTESTANTS, DEFAULT, TORCH_MODEL, TORCH_PYTHON, Contest, needs_torch


def prepare_torch(model: Path, fresh: bool) -> bool:
    """Dequantize the model for transformers, unless it is there; False if the environment is not installed."""
    if not TORCH_PYTHON.exists():
        print("transformers and kvpress are left out: install them with `make build/compare-venv/.ready`", flush=True)
        return False
    stamp = TORCH_MODEL / "source.txt"
    source = f"{model.name} {model.stat().st_size}"
    if fresh or not stamp.exists() or stamp.read_text() != source:
        command = [str(TORCH_PYTHON), "-m", "benchmarks.compare.torch_worker", "--convert"]
        subprocess.run([*command, str(model), str(TORCH_MODEL)], cwd=ROOT, check=True)
        stamp.write_text(source)
    return True


def torch_versions() -> dict[str, str]:
    """Of the packages that requirements.txt pins, as they are installed."""
    names = ("torch", "transformers", "kvpress")
    code = f"import importlib.metadata as m; print(*(m.version(name) for name in {names}))"
    out = subprocess.run([str(TORCH_PYTHON), "-c", code], capture_output=True, text=True, check=True)
    return dict(zip(names, out.stdout.split(), strict=True))


def measure(name: str, contest: Contest, tokens: list[int]) -> dict[str, Any]:
    """One run in a new process: where its memory happens to lie is worth some per cent."""
    process = CONTESTANTS[name].start(contest, tokens)
    result = process.run()
    process.close()
    return result


def one_round(i: int, contests: list[Contest], prompts: list[list[int]], names: list[str], journal: Journal) -> None:
    """Everyone once at every length that has so many rounds, the order turned round every other time."""
    for contest, tokens in zip(contests, prompts, strict=True):
        if i >= contest.rounds:
            continue
        for name in names[:: -1 if i % 2 else 1]:
            key = f"{name} {contest.n} {i}"
            result = journal.get(key, partial(measure, name, contest, tokens))
            speed = f"{result['prefill_s']:8.2f} s  {result['decode_tok_s']:6.1f} tok/s"
            print(f"round {i + 1}  n={contest.n}  {name:>16} {speed}", flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--stock", type=Path, required=True, help="folder of the unpatched libllama (make test builds it)"
    )
    parser.add_argument("--model", default=None, help="GGUF file; default: the installed SmolLM2-135M-Instruct")
    parser.add_argument("--lengths", default="2048,4096,7936", help="prompt lengths in tokens")
    parser.add_argument("--contestants", default=",".join(DEFAULT), help=f"of {', '.join(CONTESTANTS)}")
    parser.add_argument("--rounds", default="3,3,2", help="one number for all lengths, or one for each")
    parser.add_argument("--minutes", type=float, default=45, help="no round is begun that would end after that")
    parser.add_argument("--keep", type=float, default=0.25, help="share of the prompt that is kept")
    parser.add_argument("--decode", type=int, default=32, help="tokens to decode after each prefill")
    parser.add_argument("--dtype", default="float32", help="of transformers: float32 or bfloat16")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    parser.add_argument("--fresh", action="store_true", help="forget the measurements of a run that was stopped")
    args = parser.parse_args()
    args.model = args.model or probe.default_model()
    args.name = args.name or probe.processor_name()
    return args


def main() -> None:
    """Measure, print, and write the results after every round."""
    args = parse_arguments()
    names = args.contestants.split(",")
    if "stock" not in names:
        raise SystemExit("stock must be among the contestants: the ratios are against it")
    if needs_torch(names) and not prepare_torch(Path(args.model), args.fresh):
        names = [name for name in names if not needs_torch([name])]
    versions = torch_versions() if needs_torch(names) else {}
    n_layer = probe.Model(args.model).n_layer
    document = probe.document_tokens(args.model)
    begin, slowest = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        stock = stock_beside_our_ggml(args.stock.resolve(), Path(folder))
        lengths, rounds = ([int(number) for number in text.split(",")] for text in (args.lengths, args.rounds))
        common = (args.threads, args.decode, stock, args.dtype)
        contests = [
            Contest(args.model, n_layer, n, round(n * args.keep), *common, of_length)
            for n, of_length in zip(lengths, rounds * len(lengths) if len(rounds) == 1 else rounds, strict=True)
        ]
        prompts = [probe.prompt(document, contest.n) for contest in contests]
        conditions = {**probe.build_conditions(), "versions": versions, "model": Path(args.model).name}
        conditions["calibrated"] = probe.calibrated(args.model, contests[0].k)
        conditions |= {key: getattr(args, key) for key in ("threads", "keep", "decode", "dtype")}
        journal = Journal("compare", args.name, conditions, args.fresh)
        for i in range(max(rounds)):
            start = time.monotonic()
            if i > 0 and start + slowest - begin > args.minutes * 60:
                print(f"no time for round {i + 1} within --minutes {args.minutes:g}", flush=True)
                break
            one_round(i, contests, prompts, names, journal)
            slowest = max(slowest, time.monotonic() - start)
            rows = results.rows(contests, names, i + 1, journal.known)
            done = "/".join(str(min(i + 1, contest.rounds)) for contest in contests)
            note = f", {args.keep:g} of the prompt kept, medians of {done} rounds"
            note += "".join(f", {package} {version}" for package, version in versions.items())
            note += f" in {args.dtype}" if versions else ""
            probe.write_results("compare", args, rows, results.table(rows), note, versions=versions)
            picture.draw(rows, probe.RESULTS / f"compare-{args.name}.png", f"{Path(args.model).name}{note}")


if __name__ == "__main__":
    main()

"""What of the answers is kept, token by token or in sentences, and where the answer's sentence stands in the evidence.

    python -m benchmarks.evidence --squad xquad.en.json [--prompts 30] [--length 1536] [--model M.gguf]

Writes benchmarks/results/evidence-NAME.json and .md; the journal keeps what was measured, as a run takes long. See
benchmarks/README.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from asl_llamacpp.evals.prompts import Prompts
from asl_llamacpp.evals.registry import open_task
from asl_llamacpp.evals.sample import Task
from asl_llamacpp.evals.shared import SharedLlama, open_shared
from asl_llamacpp.files.fingerprint import model_fingerprint
from asl_llamacpp.llama.models import find_model
from benchmarks.common import probe
from benchmarks.common.journal import Journal

from .prompt import LAYERS, SHARES, TAIL, WAYS, Measured, measure
from .ranking import RANKINGS
from .rows import tables

NEEDLES = (
    *("niah_single_2", "niah_multikey_1", "niah_multivalue", "niah_single_3", "niah_multiquery", "passkey"),
    *("kv_retrieval", "niah_multikey_2", "vt"),
)
SEED = 7


def run(shared: SharedLlama, tasks: Sequence[Task], length: int, number: int) -> Measured | None:
    """One prompt, the tasks taking turns; None if no single place of it holds the answer."""
    task = tasks[number % len(tasks)]
    return measure(shared, task.make(length, (SEED, number // len(tasks))), ranks=task.name == "qa_1")


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, required=True, help="a file in SQuAD's format")
    parser.add_argument("--prompts", type=int, default=30, help="of either kind")
    parser.add_argument("--only", choices=["needles", "questions"], default=None, help="one kind of prompts")
    parser.add_argument("--length", type=int, default=1536, help="of a prompt, tokens")
    parser.add_argument("--model", default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default=None, help="name of the result files; default: the processor")
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    args = parser.parse_args()
    path = find_model(args.model)
    args.model = path.name
    conditions = {
        **{"model": model_fingerprint(path), "squad": args.squad.name, "length": args.length, "seed": SEED},
        **{"layers": LAYERS, "shares": SHARES, "ways": list(WAYS), "tail": TAIL},
        "rankings": {name: list(how) for name, how in RANKINGS.items()},
    }
    journal = Journal("evidence", args.name or "all", conditions, args.fresh)
    found: dict[str, list[Any]] = {kind: [] for kind in ("needles", "questions") if args.only in (None, kind)}
    options = {"n_ctx": args.length + 256, "n_threads": args.threads, "flash_attn": True}
    with Prompts(path) as prompts, open_shared(path, **options) as shared:
        tasks = {
            "needles": [open_task(name, prompts) for name in NEEDLES],
            "questions": [open_task("qa_1", prompts, {"qa_1": args.squad})],
        }
        for kind, number in ((kind, number) for number in range(2 * args.prompts) for kind in found):
            if len(found[kind]) == args.prompts:
                continue
            measured = journal.get(f"{kind} {number}", partial(run, shared, tasks[kind], args.length, number))
            if measured is not None:
                found[kind].append(measured)
                print(kind, number, measured["ranks"], flush=True)
    rows = [{"kind": kind, "prompts": measured} for kind, measured in found.items()]
    probe.write_results("evidence", args, rows, tables(found))


if __name__ == "__main__":
    main()

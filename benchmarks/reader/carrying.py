"""How scores are best carried from one vocabulary to another: what ranks nearest to the other model's own scores.

    python -m benchmarks.reader.carrying --squad xquad.en.json --other gemma-3-270m.gguf [--prompts 16] [--length 1024]

Both models read the same prompts; each one's scores are carried to the other's tokens in three ways, and compared with
the scores that it has itself. Writes benchmarks/results/reader-carrying-NAME.json and .md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap, spearmanr

from asl_llamacpp.documents.byte_spans import byte_spans
from asl_llamacpp.evals.prompts import Prompts
from asl_llamacpp.evals.registry import open_task
from asl_llamacpp.evals.sample import Sample
from asl_llamacpp.evals.shared import SharedLlama, open_shared
from asl_llamacpp.files.fingerprint import model_fingerprint
from asl_llamacpp.llama.models import find_model
from asl_llamacpp.policies import ASL
from asl_llamacpp.selection.arrays import Floats
from asl_llamacpp.selection.ranks import best
from asl_llamacpp.selection.scores import token_scores
from asl_llamacpp.selection.transfer import Spans, transfer
from asl_llamacpp.selection.unit_scores import best_units
from asl_llamacpp.selection.units import unit_starts
from benchmarks.common import probe
from benchmarks.common.journal import Journal

TASKS = ("qa_1", "niah_single_2", "niah_multikey_1")
SHARE = 8
"""One of so many tokens is chosen."""
DEPTH = 0.6
"""Of a model's layers: its last scored layer before that gives the scores."""

Carry = Callable[[Floats, Spans, Spans], Floats]


def integral(values: Floats, theirs: Spans, ours: Spans) -> Floats:
    """Of a value for each byte, given for each of `theirs`, the sum over each of `ours`."""
    edges = np.append(theirs[0, 0], theirs[:, 1])
    sums = np.append(0.0, np.cumsum(values.astype(np.float64) * (theirs[:, 1] - theirs[:, 0])))
    found: Floats = (np.interp(ours[:, 1], edges, sums) - np.interp(ours[:, 0], edges, sums)).astype(np.float32)
    return found


def mean(scores: Floats, theirs: Spans, ours: Spans) -> Floats:
    """The mean over a token's bytes."""
    return integral(scores, theirs, ours) / np.maximum(ours[:, 1] - ours[:, 0], 1)


def mass(scores: Floats, theirs: Spans, ours: Spans) -> Floats:
    """Each token's score divided among its bytes, and added up."""
    return integral(scores / np.maximum(theirs[:, 1] - theirs[:, 0], 1), theirs, ours)


WAYS: dict[str, Carry] = {"largest": transfer, "mean": mean, "mass": mass}


class Read:
    """A text as a model reads it: the scores of its tokens, and their spans, but for the window and the first token."""

    def __init__(self, shared: SharedLlama, text: bytes, name: str) -> None:
        policy, vocabulary = ASL(), shared.engine.vocabulary
        tokens = shared.llm.tokenize(text, add_bos=True)
        prompt = shared.record(tokens, 64)
        last = [il for il in prompt.scored if il < DEPTH * prompt.n_layer][-1]
        sums = prompt.window_sums(policy.window)[last]
        assert sums is not None
        texts = vocabulary.texts(tokens)
        spans = byte_spans(text, texts, name)
        there = (spans[:, 1] > spans[:, 0])[: len(tokens) - policy.window]
        self.spans: Spans = spans[: len(there)][there]
        self.scores: Floats = token_scores(sums, policy.window, policy.kernel)[there]
        self.texts = [piece for piece, is_there in zip(texts, there, strict=False) if is_there]


def compare(theirs: Read, ours: Read, answer: tuple[int, int] | None) -> dict[str, dict[str, float]]:
    """By way: how near the carried scores come to `ours`, and whether the answer's bytes are chosen."""
    end = theirs.spans[-1, 1]
    common = ours.spans[:, 1] <= end
    spans, own = ours.spans[common], ours.scores[common]
    starts = unit_starts([text for text, is_common in zip(ours.texts, common, strict=True) if is_common])
    count = len(own) // SHARE
    found = {}
    for name, carry in {**WAYS, "its own": None}.items():
        scores = own if carry is None else carry(theirs.scores, theirs.spans, spans)
        tokens, sentences = best(scores, count), best_units(scores, starts, count)
        row = {
            "rank correlation": float(spearmanr(scores, own).statistic),
            "same tokens": float(np.isin(tokens, best(own, count)).mean()),
            "same sentences": float(np.isin(sentences, best_units(own, starts, count)).mean()),
        }
        if answer is not None:
            has = np.flatnonzero((spans[:, 0] < answer[1]) & (spans[:, 1] > answer[0]))
            if has.size:
                row["answer, tokens"] = float(np.isin(has, tokens).mean())
                row["answer, sentences"] = float(np.isin(has, sentences).mean())
        found[name] = row
    return found


def text_of(shared: SharedLlama, sample: Sample) -> tuple[bytes, tuple[int, int] | None]:
    """The prompt's text, and where the answer stands in it."""
    pieces = shared.engine.vocabulary.texts(sample.tokens)
    begins = np.append(0, np.cumsum([len(piece) for piece in pieces]))
    answer = None
    if sample.evidence is not None:
        answer = int(begins[sample.evidence[0]]), int(begins[sample.evidence[-1] + 1])
    return b"".join(pieces), answer


def measure(both: dict[str, SharedLlama], sample: Sample) -> dict[str, dict[str, dict[str, float]]]:
    """One prompt, carried both ways."""
    (first, small), (second, other) = both.items()
    text, answer = text_of(small, sample)
    a, b = Read(small, text, first), Read(other, text, second)
    return {f"{first} to {second}": compare(a, b, answer), f"{second} to {first}": compare(b, a, answer)}


def table(found: list[dict[str, dict[str, dict[str, float]]]]) -> str:
    """Means, and the 95 % interval of each way's difference to "largest"."""
    lines = []
    for direction in found[0]:
        columns = list(max((one[direction]["largest"] for one in found), key=len))
        lines += ["", f"{direction}:", "", f"| way | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
        for way in found[0][direction]:
            cells = []
            for column in columns:
                pairs = np.array(
                    [
                        (one[direction][way][column], one[direction]["largest"][column])
                        for one in found
                        if column in one[direction][way]
                    ]
                )
                cell = f"{pairs[:, 0].mean():.3f}"
                if way in ("mean", "mass") and np.ptp(pairs[:, 0] - pairs[:, 1]) > 0:
                    differences = (pairs[:, 0] - pairs[:, 1],)
                    interval = bootstrap(differences, np.mean, rng=0).confidence_interval
                    cell += f" ({interval.low:+.3f} to {interval.high:+.3f})"
                cells.append(cell)
            lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--squad", type=Path, required=True, help="a file in SQuAD's format")
    parser.add_argument("--other", type=Path, required=True, help="a model with another vocabulary")
    parser.add_argument("--model", default=None)
    parser.add_argument("--prompts", type=int, default=16, help="of each task")
    parser.add_argument("--length", type=int, default=1024, help="of a prompt, tokens of the first model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="smollm-gemma", help="name of the result files")
    parser.add_argument("--fresh", action="store_true", help="measure again what is known")
    args = parser.parse_args()
    path = find_model(args.model)
    args.model = f"{path.stem} and {args.other.stem}"
    conditions = {
        **{"models": [model_fingerprint(path), model_fingerprint(args.other)], "squad": args.squad.name},
        **{"length": args.length, "depth": DEPTH, "share": SHARE},
    }
    journal = Journal("reader-carrying", args.name, conditions, args.fresh)
    options = {"n_ctx": 2 * args.length, "n_threads": args.threads, "flash_attn": True}
    found = []
    with Prompts(path) as prompts, open_shared(path, **options) as one, open_shared(args.other, **options) as other:
        both = {path.stem: one, args.other.stem: other}
        tasks = [open_task(name, prompts, {"qa_1": args.squad}) for name in TASKS]
        for i in range(args.prompts):
            for task in tasks:
                sample = task.make(args.length, (3, i))
                found.append(journal.get(f"{task.name} {i}", partial(measure, both, sample)))
                print(task.name, i, flush=True)
    text = table(found)
    print(text)
    probe.write_results("reader-carrying", args, found, text)


if __name__ == "__main__":
    main()

"""The tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .prompt import LAYERS, LISTED_SHARE, SHARES, UNITS, Measured

NAMES = {
    "sum": "sum over heads (the paper)",
    "max4": "max over heads and 4 layers",
    "sum contrast": "sum over heads, contrast",
    "max4 contrast": "max over heads and 4 layers, contrast",
}
KINDS = {"needles": "generated prompts", "questions": "real questions"}


def tables(found: Mapping[str, Sequence[Measured]]) -> str:
    return "\n".join([*_kept(found), "", *_ranks(found["questions"])])


def _kept(found: Mapping[str, Sequence[Measured]]) -> Iterator[str]:
    shares = ", ".join(f"1/{share}" for share in SHARES)
    yield f"Share of the answers' tokens kept at {shares} of the prompt:"
    yield ""
    yield "| prompts | scores | layer | tokens | sentences |"
    yield "| --- " * 5 + "|"
    for kind, rows in found.items():
        for way, name in NAMES.items():
            for layer in LAYERS:
                cells = (
                    " ".join(_mean([row["kept"][f"{way} {layer} {share} {units}"] for row in rows]) for share in SHARES)
                    for units in UNITS
                )
                yield f"| {len(rows)} {KINDS[kind]} | {name} | {layer} | {' | '.join(cells)} |"


def _ranks(rows: Sequence[Measured]) -> Iterator[str]:
    yield f"Where the answer's sentence stands among the passages, 1/{LISTED_SHARE} kept, {len(rows)} real questions:"
    yield ""
    yield "| kept | scores | layer | passages | with the answer | first | in the first 3 | mean reciprocal rank |"
    yield "| --- " * 8 + "|"
    for units in UNITS:
        for way, name in NAMES.items():
            for layer in LAYERS:
                key = f"{way} {layer} {LISTED_SHARE} {units}"
                ranks = np.array([row["ranks"][key] for row in rows])
                reciprocal = np.divide(1.0, ranks, out=np.zeros(len(ranks)), where=ranks > 0)
                columns = (ranks > 0, ranks == 1, (ranks > 0) & (ranks <= 3), reciprocal)
                passages = float(np.mean([row["passages"][key] for row in rows]))
                yield f"| {units} | {name} | {layer} | {passages:.0f} | {' | '.join(map(_mean, columns))} |"


def _mean(values: object) -> str:
    return f"{float(np.mean(np.asarray(values, dtype=np.float64))):.2f}"

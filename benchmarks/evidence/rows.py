"""The tables of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .prompt import LAYERS, SHARES, UNITS, Measured
from .ranking import RANKINGS

NAMES = {
    "sum": "sum over heads (the paper)",
    "max4": "max over heads and 4 layers",
    "sum contrast": "sum over heads, contrast",
    "max4 contrast": "max over heads and 4 layers, contrast",
}
KINDS = {"needles": "generated prompts", "questions": "real questions"}


def tables(found: Mapping[str, Sequence[Measured]]) -> str:
    return "\n".join([*_kept(found), *(line for rows in found.values() for line in _ranks(rows) if rows[0]["ranks"])])


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
    passages = float(np.mean([row["passages"] for row in rows]))
    yield ""
    yield f"Where the answer stands among {passages:.0f} passages, {len(rows)} real questions:"
    yield ""
    yield "| ranked by | first | in the first 3 | mean reciprocal rank |"
    yield "| --- " * 4 + "|"
    for name in RANKINGS:
        ranks = np.array([row["ranks"][name] for row in rows])
        yield f"| {name} | {' | '.join(map(_mean, (ranks == 1, ranks <= 3, 1 / ranks)))} |"


def _mean(values: object) -> str:
    return f"{float(np.mean(np.asarray(values, dtype=np.float64))):.2f}"

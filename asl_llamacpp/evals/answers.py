"""One sample answered: the line that it gives."""

from __future__ import annotations

import hashlib
import time
from typing import Any

import numpy as np
from llama_cpp import StoppingCriteriaList

from ..prefill.report import PrefillReport
from .lines import Line
from .sample import Sample, Task

_BASE_MODEL_STOPS = ["\nQuestion:"]
"""Not the empty line that ends an answer elsewhere: an answer may be a list after one."""


def answer_sample(llm: Any, task: Task, sample: Sample, chat: bool) -> Line:
    """What `llm` makes of a sample: the output, its score, and what the prefill pruned."""
    llm.reset()
    start = time.perf_counter()
    stop = [] if chat else _BASE_MODEL_STOPS
    n_prompt = len(sample.tokens)

    def settled(tokens: Any, _: Any) -> bool:
        said = llm.detokenize([int(token) for token in tokens[n_prompt:]])
        return task.settled(said.decode("utf-8", errors="ignore"), sample.answers)

    completion = llm.create_completion(
        sample.tokens,
        max_tokens=task.max_tokens,
        temperature=0.0,
        stop=stop,
        stopping_criteria=StoppingCriteriaList([settled]),
    )
    seconds = time.perf_counter() - start
    report: PrefillReport = llm.last_prefill
    output = completion["choices"][0]["text"].strip()
    return {
        "prompt": hashlib.sha256(np.array(sample.tokens, dtype="<i4").tobytes()).hexdigest()[:16],
        "n_prompt": n_prompt,
        "output": output,
        "answers": list(sample.answers),
        "score": task.score(output, sample.answers),
        "prefill_seconds": round(report.seconds["total"], 4),
        "seconds": round(seconds, 4),
        "selection_layer": (report.read or report).selection_layer,
        "forced": report.forced,
        "n_selected": report.n_selected,
        "kv_bytes": report.kv_bytes,
        "kv_bytes_full": report.kv_bytes_full,
        "kept": share_kept(sample, report),
        "meta": sample.meta,
    }


def share_kept(sample: Sample, report: PrefillReport) -> float | None:
    """The share of the answers' tokens that the selection kept; None if it is not known.

    It is not where no passage holds the answer, and without a selection where each head kept cells of its own (SnapKV).
    """
    if sample.evidence is None:
        return None
    if report.selected is None:
        return 1.0 if report.keep is None or report.keep >= report.n_prompt else None
    return float(np.isin(sample.evidence, report.selected).mean())

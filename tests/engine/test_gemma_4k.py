"""ASL from end to end on a model with interleaved sliding windows, on a prompt of 4096 tokens: Gemma-3-270M."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from llama_fixtures import load, logits, text

N_PROMPT, SELECT_K, N_UBATCH = 4096, 768, 512


def passkey_prompt(llm: object) -> list[int]:
    """A pass key in the first half of N_PROMPT tokens, and the question for it at the end."""

    def tokens(string: str, bos: bool = False) -> list[int]:
        return llm.tokenize(string.encode(), add_bos=bos)  # type: ignore[attr-defined]

    filler = tokens("The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n")
    key = tokens("The pass key is 48213. Remember it. 48213 is the pass key.\n")
    question = tokens("\nWhat is the pass key? The pass key is")
    before = tokens("", bos=True) + 60 * filler + key
    after = (N_PROMPT // len(filler) * filler)[: N_PROMPT - len(before) - len(question)]
    assert len(before) < N_PROMPT // 2
    return before + after + question


@pytest.mark.slow
def test_passkey_is_found_and_the_cache_is_pruned(gemma_path: Path) -> None:
    """The rule has three layers to look at and never fires: l_max prunes, and windows keep only a ring of cells."""
    llm = load(gemma_path, n_ctx=4352, n_ubatch=N_UBATCH, swa_full=False, kv_policy=f"asl:select_k={SELECT_K}")
    prompt = passkey_prompt(llm)
    answer = text(llm, prompt)
    assert "48213" in answer
    assert np.isfinite(logits(llm)).all()

    report = llm.last_prefill
    assert report is not None and (report.n_prompt, report.n_layer) == (N_PROMPT, 18)
    assert (report.selection_layer, report.forced) == (14, True) and "by the scores of layer 11" in report.reason
    selected = report.selected
    assert selected is not None and len(selected) == SELECT_K and (np.diff(selected) > 0).all()
    assert selected[-32:].tolist() == list(range(N_PROMPT - 32, N_PROMPT))
    assert [report.cells[il] for il in (5, 11, 17)] == [N_PROMPT, N_PROMPT, SELECT_K]
    windows = [count for il, count in enumerate(report.cells) if il not in (5, 11, 17)]
    assert len(windows) == 15 and all(512 <= count <= 512 + N_UBATCH for count in windows)
    assert report.kv_bytes < 0.9 * report.kv_bytes_full

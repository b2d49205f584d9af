"""A model that reads for another one: what each of them runs, keeps and tells."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from llama_fixtures import load_narrow, narrow_path

from asl_llamacpp import Llama, Progress

TEXT = " ".join(f"The box number {i} holds {i * 7} green marbles and a letter from Zürich." for i in range(40))
POLICY = "fastkv:select_k=256,units=sentences"


@pytest.fixture(scope="module")
def llm() -> Iterator[Llama]:
    with closing(load_narrow(n_ctx=2048, kv_policy=POLICY, reader=narrow_path())) as llm:
        yield llm


def test_it_stops_where_it_selects_and_the_other_runs_what_it_chose(llm: Llama) -> None:
    document = llm.read(text=TEXT)
    report = document.ask("How many marbles are in box 7?", max_tokens=2).report
    assert report is not None and report.read is not None and report.selected is not None
    read = report.read
    assert read.cells == [0] * read.n_layer and read.selection_layer == read.n_layer // 2 - 1
    assert report.n_selected == 256 and set(report.cells) == {256}
    head, tail = np.arange(document.n_head), np.arange(len(document.tokens), report.n_prompt)
    assert np.isin(np.concatenate([head, tail]), report.selected).all()
    assert report.shown is not None and len(report.shown) == report.n_prompt - 32


def test_a_second_question_runs_its_own_tokens_in_the_reader(llm: Llama) -> None:
    document = llm.read(text=TEXT + " Another one.")
    document.ask("How many marbles are in box 7?", max_tokens=2)
    llm.create_completion("Something else in between", max_tokens=1)
    report = document.ask("And in box 11?", max_tokens=2).report
    assert report is not None and report.read is not None
    assert report.read.reused == len(document.tokens)
    assert report.read.reused_layers == report.read.n_layer // 2


def test_a_prompt_that_is_no_question_about_a_document_is_read_too(llm: Llama) -> None:
    llm.create_chat_completion([{"role": "user", "content": TEXT + " How many boxes?"}], max_tokens=2)
    report = llm.last_prefill
    assert report is not None and report.read is not None and report.n_selected == 256


def test_a_short_prompt_does_without_it(llm: Llama) -> None:
    with closing(load_narrow(n_ctx=2048, kv_policy="full", flash_attn=True)) as stock:
        rows = []
        for one in (llm, stock):
            one.reset()
            one.eval(one.tokenize(b"A few words that are not pruned."))
            assert one.last_prefill is not None and one.last_prefill.read is None
            rows.append(np.ctypeslib.as_array(one._ctx.get_logits_ith(-1), shape=(one.n_vocab(),)).copy())
    np.testing.assert_array_equal(rows[0], rows[1])


def test_both_tell_their_progress_and_can_be_stopped(llm: Llama) -> None:
    phases: list[str] = []

    def stop(wanted: str, progress: Progress) -> None:
        phases.append(progress.phase)
        if progress.phase == wanted:
            raise KeyboardInterrupt

    document = llm.read(text=TEXT + " A third one.")
    for phase in ("reading", "answering"):
        llm.on_progress = partial(stop, phase)
        with pytest.raises(KeyboardInterrupt):
            document.ask("How many marbles are in box 7?", max_tokens=2)
        llm.on_progress = None
    assert phases[:2] == ["reading", "reading"] and phases[-1] == "answering"
    assert document.ask("How many marbles are in box 7?", max_tokens=2).report is not None


def test_a_saved_document_is_the_readers(llm: Llama, tmp_path: Path) -> None:
    document = llm.read(text=TEXT + " A fourth one.")
    fresh = document.ask("How many marbles are in box 7?", max_tokens=4)
    document.save(tmp_path / "a.asldoc")
    document.close()
    llm.create_completion("Something else in between", max_tokens=1)
    opened = llm.open_document(tmp_path / "a.asldoc")
    again = opened.ask("How many marbles are in box 7?", max_tokens=4)
    assert again.text == fresh.text
    assert again.report is not None and again.report.read is not None
    assert again.report.read.reused == len(opened.tokens)


@pytest.mark.parametrize("policy", ["full", "snapkv", "pyramidinfer"])
def test_a_policy_that_chooses_no_tokens_is_refused(policy: str) -> None:
    with pytest.raises(ValueError, match="selects no tokens"):
        load_narrow(n_ctx=512, kv_policy=policy, reader=narrow_path())


def test_options_for_a_reader_want_one() -> None:
    with pytest.raises(ValueError, match="give reader="):
        load_narrow(n_ctx=512, positions="compact")
    with pytest.raises(TypeError, match="n_thread"):
        load_narrow(n_ctx=512, reader=narrow_path(), reader_options={"n_thread": 1})

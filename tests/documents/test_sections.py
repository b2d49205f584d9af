"""Documents longer than the context: divided at sections, each asked, answered from the evidence of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_fixtures import load, load_narrow

from asl_llamacpp import ContextOverflow, Llama
from asl_llamacpp.documents.dividing import borders, cut_out, divide
from asl_llamacpp.documents.sections import GAP
from asl_llamacpp.documents.text import DocumentText
from asl_llamacpp.sources import Mark, Source

POLICY = "asl:layer=14,select_k=192,window=16"
FILLER = "The river runs past the old mill. A lantern hangs over the door of the inn. Nobody expects rain in June. "


def chapter(i: int) -> str:
    needle = "The pass key of the vault is 48213. Remember it: 48213 is the pass key.\n\n" if i == 3 else ""
    return f"# Chapter {i}\n\n{FILLER * 6}\n\n{needle}{FILLER * 6}\n\n"


BOOK = "".join(map(chapter, range(6)))
QUESTION = "What is the pass key of the vault?"


@pytest.fixture(scope="module")
def llm() -> Llama:
    return load(kv_policy=POLICY, n_ctx=1024)


@pytest.mark.slow
def test_the_answer_comes_from_the_section_that_has_it(llm: Llama) -> None:
    document = llm.read(text=BOOK, name="book.md", overflow="sections")
    assert not document.fits
    answer = document.ask(QUESTION, max_tokens=20)
    assert "48213" in answer.text
    assert len(answer.sections) > 2
    assert (answer.sections[0].start, answer.sections[-1].end) == (0, len(BOOK.strip()))
    for before, after in zip(answer.sections, answer.sections[1:], strict=False):
        assert before.end == after.start and BOOK[after.start :].startswith("# Chapter")
    assert sum(section.n_passages for section in answer.sections) > 0
    for words in ("do not fit the context", f"read in {len(answer.sections)} parts", "passages"):
        assert words in answer.report.reason
    assert any("48213" in span.text for span in answer.evidence)
    for span in answer.evidence:
        assert BOOK[span.start : span.end] == span.text
        assert span.section == f"Chapter {max(i for i in range(6) if BOOK.index(f'# Chapter {i}') <= span.start)}"
    assert answer.report.n_prompt + 20 <= 1024

    again = document.ask("What hangs over the door of the inn?", max_tokens=8)
    assert [section.start for section in again.sections] == [section.start for section in answer.sections]
    places = [known for known in llm.documents if known.name is not None and "part" in known.name]
    assert len(places) == len(again.sections) and all(known.layers == 15 for known in places)
    document.close()
    assert llm.documents == []
    with pytest.raises(ValueError, match=r"book\.md was closed"):
        document.ask(QUESTION)


def test_the_second_question_starts_from_the_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    llm = load_narrow(kv_policy=POLICY, n_ctx=1024)
    document = llm.read(text=BOOK, overflow="sections")
    document.ask(QUESTION, max_tokens=1)
    reused = []
    evaluate = llm._eval_pruned

    def watch(tokens: list[int], *more: Any) -> None:
        evaluate(tokens, *more)
        assert llm.last_prefill is not None
        reused.append(llm.last_prefill.reused)

    monkeypatch.setattr(llm, "_eval_pruned", watch)
    sections = document.ask("Does it rain in June?", max_tokens=1).sections
    assert len(reused) == len(sections) + 1 and all(n > 0 for n in reused[:-1]) and reused[-1] == 0
    document.close()


def test_what_fits_is_asked_as_a_whole(llm: Llama) -> None:
    document = llm.read(text=chapter(3), overflow="sections")
    answer = document.ask(QUESTION, max_tokens=20)
    assert answer.sections == () and "48213" in answer.text and "parts" not in answer.report.reason
    document.close()


@pytest.mark.slow
def test_several_files(llm: Llama, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("chapters")
    files = [folder / f"{i}.md" for i in range(1, 5)]
    for i, file in enumerate(files, start=1):
        file.write_text(chapter(i))
    document = llm.read(*files, overflow="sections")
    answer = document.ask(QUESTION, max_tokens=20)
    assert "48213" in answer.text
    assert {span.source for span in answer.evidence if "48213" in span.text} == {"3.md"}
    for span in answer.evidence:
        assert chapter(int(span.source[0]))[span.start : span.end] == span.text
    document.close()


@pytest.mark.parametrize("policy", ["full", "snapkv:budget=96,window=16"])
def test_other_policies(policy: str) -> None:
    llm = load_narrow(kv_policy=policy, n_ctx=1024)
    document = llm.read(text=BOOK, overflow="sections")
    if policy == "full":
        with pytest.raises(ValueError, match="gives no scores"):
            document.ask(QUESTION)
    else:
        assert len(document.ask(QUESTION, max_tokens=4).sections) > 2


def test_no_room_at_all(llm: Llama) -> None:
    document = llm.read(text=BOOK, overflow="sections")
    with pytest.raises(ContextOverflow, match="Nothing was cut"):
        document.ask(QUESTION, max_tokens=900)
    document.close()


# ---- dividing -------------------------------------------------------------------------------------------------------


def words(text: str) -> list[int]:
    """Offsets of made-up tokens of three characters."""
    return [*range(0, len(text), 3), len(text)]


@given(pieces=st.lists(st.text("ab \n", min_size=1, max_size=60), min_size=1, max_size=30), most=st.integers(2, 40))
def test_ranges_cover_the_text_and_fit(pieces: list[str], most: int) -> None:
    starts = np.cumsum([0, *map(len, pieces[:-1])]).tolist()
    source = Source("s", "".join(pieces), tuple(Mark(start, None, "x") for start in starts))
    content = DocumentText.of([source])
    ranges = divide(content, words(content.text), most)
    assert "".join(content.text[start:end] for start, end in ranges) == content.text
    for start, end in ranges:
        assert 0 < end - start <= 3 * most + 2
        part = cut_out(content, [(start, end)])
        assert part.text == content.text[start:end]
        for piece in part.parts:
            assert (
                source.text[piece.start_in_source :][: piece.length]
                == part.text[piece.start_in_document :][: piece.length]
            )


def test_sections_end_at_headings() -> None:
    text = "".join(f"# {i}\n{'x ' * 40}\n" for i in range(9))
    marks = tuple(Mark(i, None, text[i + 2]) for i in range(len(text)) if text.startswith("# ", i))
    content = DocumentText.of([Source("s", text, marks)])
    for start, _ in divide(content, words(content.text), 100):
        assert content.text[start:].startswith("# ")
        assert start in borders(content)


def test_cut_out_keeps_track_of_several_sources() -> None:
    sources = [Source("a", "first source\n"), Source("b", "\nsecond source")]
    content = DocumentText.of(sources)
    i, j = content.text.index("first"), content.text.index("second")
    cut = cut_out(content, [(i, i + 5), (j, j + 6)], GAP)
    assert cut.text == f"first{GAP}second"
    assert [(p.source.name, p.text, p.start_in_source, p.start_in_document) for p in cut.parts] == [
        ("a", "first", 0, 0),
        ("b", "second", 1, 5 + len(GAP)),
    ]

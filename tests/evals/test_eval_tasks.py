"""Long-context tasks: lengths, seeds, needles and answers, with SmolLM2's tokenizer."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asl_llamacpp.evals import Prompts, Sample, open_task, task_names
from asl_llamacpp.evals.filler import Stream, insert_at, noise, prose
from asl_llamacpp.evals.registry import FROM_FILES, GENERATED, expand

EVERY = [*GENERATED, "needle_grid@50"]
LENGTHS = (640, 1031)


@pytest.fixture(scope="module")
def prompts(smollm2_path: Path) -> Iterator[Prompts]:
    with Prompts(smollm2_path) as opened:
        yield opened


def made(prompts: Prompts, name: str, n_tokens: int, seed: int = 0, data: dict[str, Path] | None = None) -> Sample:
    return open_task(name, prompts, data).make(n_tokens, seed)


def text_of(prompts: Prompts, tokens: Any) -> str:
    return b"".join(prompts._llm.detokenize([int(t)], special=True) for t in tokens).decode(errors="replace")


# ---- all generated tasks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_length_is_exact_with_template_and_question(prompts: Prompts, name: str) -> None:
    for n_tokens in LENGTHS:
        for seed in range(3):
            assert len(made(prompts, name, n_tokens, seed).tokens) == n_tokens


@pytest.mark.parametrize("name", EVERY)
def test_same_seed_same_prompt_another_seed_another(prompts: Prompts, name: str) -> None:
    first, again, other = (made(prompts, name, 700, seed) for seed in (1, 1, 2))
    assert first.tokens == again.tokens and first.answers == again.answers
    assert first.tokens != other.tokens and first.answers != other.answers


@pytest.mark.parametrize("name", EVERY)
def test_answers_stand_in_the_document_and_the_question_at_the_end(prompts: Prompts, name: str) -> None:
    sample = made(prompts, name, 700, 3)
    assert all(answer in sample.query.document for answer in sample.answers)
    assert not any(answer in sample.prefix + sample.query.question for answer in sample.answers)
    end = text_of(prompts, sample.tokens).split(sample.query.document)[1]
    assert end.lstrip().startswith(sample.query.question) and end.endswith(sample.prefix)


@pytest.mark.parametrize("name", EVERY)
def test_scores_right_and_wrong_outputs(prompts: Prompts, name: str) -> None:
    task = open_task(name, prompts)
    answers = task.make(700, 0).answers
    assert task.score(f" {', '.join(answers)}.", answers) == 1.0
    assert task.score("I do not know, perhaps 42.", answers) == 0.0
    assert task.score("", answers) == 0.0
    rising = task.settled(f" {', '.join(answers)}", answers)
    assert rising == (name not in ("passkey", "number_string", "kv_retrieval")), "a number or a word may still grow"
    assert not task.settled(f" {answers[0][:-1]}", answers)


@pytest.mark.parametrize("name", [name for name in EVERY if name not in ("cwe", "fwe")])
def test_evidence_is_where_the_answers_are(prompts: Prompts, name: str) -> None:
    sample = made(prompts, name, 1031, 5)
    assert sample.evidence is not None and (np.diff(sample.evidence) > 0).all()
    found = text_of(prompts, [sample.tokens[i] for i in sample.evidence])
    assert all(answer in found for answer in sample.answers)
    if name != "two_hop":  # which needs the step before the answer too
        assert len(found.replace(" ", "")) == sum(len(answer.replace(" ", "")) for answer in sample.answers)


def test_too_short_a_prompt_is_refused_with_the_numbers(prompts: Prompts) -> None:
    with pytest.raises(ValueError, match=r"cwe: the prompt needs \d+ tokens without any filler, 100 are too few"):
        made(prompts, "cwe", 100)


def test_base_model_gets_a_completion(gemma_path: Path) -> None:
    with Prompts(gemma_path) as prompts:
        for name in ("niah_single_1", "niah_multivalue", "kv_retrieval"):
            sample = made(prompts, name, 700)
            text = text_of(prompts, sample.tokens)
            assert len(sample.tokens) == 700 and text.startswith("<bos>")
            assert text.endswith(f"\n\nQuestion: {sample.query.question}\nAnswer: {sample.prefix}")
            assert sample.evidence is not None


# ---- single tasks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [0, 25, 50, 100])
def test_grid_puts_the_needle_at_its_depth(prompts: Prompts, depth: int) -> None:
    sample = made(prompts, f"needle_grid@{depth}", 2000)
    haystack = sample.query.document.split("\n\n", 2)[2]
    needle = haystack.index("One of the secret numbers")
    longest_sentence = 400
    assert abs(needle - depth / 100 * len(haystack)) < longest_sentence
    assert sample.meta["depths"] == {sample.answers[0]: depth / 100}


def test_grid_depths_differ_only_in_depth(prompts: Prompts) -> None:
    top, bottom = (made(prompts, f"needle_grid@{depth}", 700) for depth in (0, 100))
    assert top.answers == bottom.answers and top.query.question == bottom.query.question
    assert top.tokens != bottom.tokens


def test_multiquery_asks_for_four_keys_and_multivalue_for_four_values(prompts: Prompts) -> None:
    for name, keys in (("niah_multiquery", 4), ("niah_multivalue", 1), ("niah_multikey_1", 4)):
        sample = made(prompts, name, 800)
        named = set(re.findall(r"One of the secret numbers of (\S+) is \d+\.", sample.query.document))
        assert len(named) == keys
        assert len(sample.answers) == (1 if name == "niah_multikey_1" else 4)


def test_needles_are_the_haystack_of_multikey_2_and_3(prompts: Prompts) -> None:
    for name, what in (("niah_multikey_2", "numbers"), ("niah_multikey_3", "codes")):
        document = made(prompts, name, 1500).query.document
        rows = [row for row in document.split("\n") if row.startswith(f"One of the secret {what} of ")]
        assert len(rows) > 15 and len(set(rows)) == len(rows)


def test_variables_form_one_chain_in_order(prompts: Prompts) -> None:
    sample = made(prompts, "vt", 900)
    rows = [row for row in sample.query.document.replace(". VAR", ".\nVAR").split("\n") if row.startswith("VAR ")]
    assert [row.split()[1] for row in rows] == list(sample.answers)
    assert [row.split(" = VAR ")[1] for row in rows[1:]] == list(sample.answers[:-1])


@pytest.mark.parametrize(("n_tokens", "often", "seldom"), [(700, 10, 1), (4096, 30, 3)])
def test_common_words_are_ten_times_as_common(prompts: Prompts, n_tokens: int, often: int, seldom: int) -> None:
    sample = made(prompts, "cwe", n_tokens)
    counts = Counter(sample.query.document.rsplit("\n\n", 1)[1].split()[1::2])
    assert {word for word, times in counts.items() if times == often} == set(sample.answers)
    assert set(counts.values()) == {often, seldom}


def test_frequent_words_follow_the_zeta_distribution(prompts: Prompts) -> None:
    sample = made(prompts, "fwe", 2000)
    ranked = Counter(sample.query.document.rsplit("\n\n", 1)[1].split()).most_common(5)
    assert ranked[0][0] == "..." and [word for word, _ in ranked[1:4]] == list(sample.answers)
    assert ranked[3][1] > ranked[4][1]
    assert ranked[1][1] == pytest.approx(ranked[0][1] / 4, abs=1)


def test_filler_repeats_in_another_order() -> None:
    sentences = Stream(prose(np.random.default_rng(0))).first(400)
    paragraphs = "".join(sentences).split("\n\n")
    counts = Counter(paragraphs)
    assert 2 <= max(counts.values()) <= 4
    assert paragraphs[: len(paragraphs) // 3] != paragraphs[len(paragraphs) // 3 : 2 * len(paragraphs) // 3]
    assert len(set(Stream(noise()).first(500))) < 11


def test_insert_at_keeps_order_and_nearest_border() -> None:
    assert insert_at(["aaaa", "bbbb"], ["1", "2", "3", "4"], [0.0, 0.4, 0.6, 1.0]) == "1aaaa23bbbb4"
    assert insert_at([], ["1", "2"], [0.2, 0.9]) == "12"


# ---- tasks from files -----------------------------------------------------------------------------------------------


def squad(folder: Path) -> Path:
    paragraphs = [
        {
            "context": f"Town {i} was founded by baker number {i}, who liked rain. " * 4,
            "qas": [
                {"question": f"Who founded town {i}?", "answers": [{"text": f"baker number {i}"}]},
                {"question": "Why?", "answers": [], "is_impossible": True},
            ],
        }
        for i in range(60)
    ]
    path = folder / "dev-v2.0.json"
    path.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    return path


def test_squad_question_among_other_paragraphs(prompts: Prompts, tmp_path: Path) -> None:
    sample = made(prompts, "qa_1", 1000, 4, {"qa_1": squad(tmp_path)})
    assert len(sample.tokens) == 1000
    assert sample.query.document.count("Document ") > 8
    assert sample.answers[0] in sample.query.document and sample.query.question.endswith("?")


def test_hotpot_keeps_all_paragraphs_of_its_question(prompts: Prompts, tmp_path: Path) -> None:
    questions = [
        {"question": f"Q{i}?", "answer": f"A{i}", "context": [[f"T{i}", [f"A{i} is it. ", "Yes."]], [f"U{i}", ["No."]]]}
        for i in range(20)
    ]
    path = tmp_path / "hotpot.json"
    path.write_text(json.dumps(questions))
    sample = made(prompts, "qa_2", 300, 0, {"qa_2": path})
    i = sample.answers[0][1:]
    assert f"T{i}\nA{i} is it. Yes." in sample.query.document and f"U{i}\nNo." in sample.query.document
    assert sample.evidence is not None and len(sample.tokens) == 300


def test_infinitebench_file_is_cut_in_the_middle_and_never_padded(prompts: Prompts, tmp_path: Path) -> None:
    path = tmp_path / "longbook_choice_eng.jsonl"
    context = "BEGIN " + "word " * 3000 + "END"
    row = {"id": 0, "context": context, "input": "Who?", "answer": ["Ann"], "options": ["Bob", "Ann", "Cid", "Dan"]}
    path.write_text(json.dumps(row) + "\n")
    data = {"longbook_choice_eng": path}
    cut = made(prompts, "longbook_choice_eng", 500, 0, data)
    assert 497 <= len(cut.tokens) <= 500 and cut.meta == {"line": 1, "cut": True, "units": cut.meta["units"]}
    assert "BEGIN" in cut.query.document and cut.query.document.endswith("END") and " ... " in cut.query.document
    task = open_task("longbook_choice_eng", prompts, data)
    assert [task.score(text, cut.answers) for text in ("B", "B. Ann", "Ann", "A", "Bob")] == [1, 1, 1, 0, 0]
    whole = task.make(8000, 0)
    assert len(whole.tokens) < 3200 and not whole.meta["cut"] and context in whole.query.document


@pytest.mark.parametrize("name", FROM_FILES)
def test_missing_file_is_named(prompts: Prompts, name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"task {name} needs .*--data {name}=PATH"):
        open_task(name, prompts)
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_task(name, prompts, {name: tmp_path / "none"})
    bad = tmp_path / "bad.json"
    bad.write_text('{"question": 1}')
    with pytest.raises(ValueError, match=r"bad\.json"):
        open_task(name, prompts, {name: bad})


def test_names(prompts: Prompts) -> None:
    assert expand(["vt", "needle_grid", "vt"]) == ["vt", *(f"needle_grid@{d}" for d in (0, 25, 50, 75, 100))]
    assert len([name for name in task_names() if name.startswith("niah_")]) == 8
    for name in ("nothing", "needle_grid", "needle_grid@", "vt@5"):
        with pytest.raises(ValueError, match="unknown task"):
            open_task(name, prompts)
    for name in ("needle_grid@x", "needle_grid@101"):
        with pytest.raises(ValueError, match="depth in percent"):
            open_task(name, prompts)

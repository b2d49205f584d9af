"""What `Document.ask` takes beside the question, and what an answer says of itself."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from llama_cpp import LlamaGrammar
from llama_fixtures import load_narrow

from asl_llamacpp import Document, Llama, Turn
from asl_llamacpp.documents.answer import AnswerStream
from asl_llamacpp.documents.chat_prompt import frame
from asl_llamacpp.documents.reasoning import Reasoning
from asl_llamacpp.documents.turns import turns_of

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 99}}, "required": ["n"]}
BAD_PATTERN = {"type": "string", "pattern": "^hi\\!$"}
THINKS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>"


@pytest.fixture(scope="module")
def llm() -> Llama:
    return load_narrow(kv_policy="asl:layer=3,select_k=64,window=16", n_ctx=512, logits_all=True)


@pytest.fixture(scope="module")
def document(llm: Llama) -> Document:
    return llm.read(text="The mill stands by the river. The inn has a lantern. " * 8, name="valley")


# ---- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"temprature": 1.0}, TypeError, "ask has no argument 'temprature': did you mean temperature?"),
        ({"max_token": 1}, TypeError, "did you mean max_tokens?"),
        ({"stop": ""}, ValueError, "an empty text would end every answer"),
        ({"stop": ["a", ""]}, ValueError, "an empty text would end every answer"),
        ({"max_tokens": 0}, ValueError, "at least 1, or None"),
        ({"response_format": {"type": "xml"}}, ValueError, "one of text, json_object, json_schema"),
        ({"response_format": {"type": "json_schema"}}, ValueError, "a json_schema is"),
        ({"response_format": {"type": "json_object", "schema": {"$ref": "#/nowhere"}}}, ValueError, "cannot be made"),
        ({"response_format": {"type": "json_object", "schema": BAD_PATTERN}}, ValueError, "cannot be parsed"),
        ({"grammar": LlamaGrammar.from_string("root ::= (")}, ValueError, "cannot be parsed"),
        ({"grammar": LlamaGrammar.from_string('root ::= "\0"')}, ValueError, "zero byte"),
        ({"thinking": True}, ValueError, "no switch for it"),
        ({"history": [{"role": "system", "content": "Be kind."}]}, ValueError, r"read\(system=...\)"),
        ({"history": [{"role": "user", "content": "Who?"}]}, ValueError, "ends with a question that has no answer"),
        ({"history": [{"role": "assistant", "content": "He."}]}, ValueError, r"history\[0\]: a question"),
    ],
)
def test_bad_arguments_cost_nothing(
    document: Document, llm: Llama, given: dict[str, Any], error: type[Exception], match: str
) -> None:
    before = llm.n_prompts
    with pytest.raises(error, match=match):
        document.ask("Who?", **given)
    assert llm.n_prompts == before
    assert document.ask("Who?", max_tokens=1).usage["completion_tokens"] == 1


def test_none_as_max_tokens_is_until_the_context_is_full(llm: Llama) -> None:
    long = llm.read(text="The mill stands by the river. The inn has a lantern. " * 30)
    answer = long.ask("Who?", max_tokens=None, logit_bias={llm.token_eos(): -100.0})
    assert answer.finish_reason == "length" and answer.usage["total_tokens"] == llm.n_ctx()


def test_an_answer_in_a_form(document: Document) -> None:
    named = {"type": "json_schema", "json_schema": {"name": "count", "schema": SCHEMA}}
    for form in ({"type": "json_object", "schema": SCHEMA}, named):
        answer = document.ask("How many?", response_format=form, max_tokens=60)
        assert list(json.loads(answer.text)) == ["n"]


def test_logprobs(document: Document) -> None:
    answer = document.ask("Who?", max_tokens=3, logprobs=2)
    assert answer.logprobs is not None and len(answer.logprobs["tokens"]) == 3
    assert all(value <= 0 for value in answer.logprobs["token_logprobs"])
    assert document.ask("Who?", max_tokens=3).logprobs is None


def test_repr_is_short(document: Document) -> None:
    assert len(repr(document.ask("Who?", max_tokens=40))) < 200


def test_messages_are_turns(document: Document) -> None:
    said = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "<think>hm</think>She."}]
    assert turns_of(said) == [Turn("Who?", "She.")]
    assert document.prompt("Where?", said) == document.prompt("Where?", [Turn("Who?", "She.")])


def test_a_system_prompt_stands_before_the_document(llm: Llama) -> None:
    text, plain = "The mill stands by the river.", llm.read(text="The mill stands by the river.")
    kind = llm.read(text=text, system="Be kind. <|im_end|>")
    head = llm.detokenize(kind.tokens[: kind.n_head].tolist(), special=True).decode()
    assert "Be kind. <|im_end|>" in head and "Be kind" not in llm.detokenize(plain.tokens.tolist()).decode()
    special = llm.tokenize(b"<|im_end|>", add_bos=False, special=True)
    assert len(special) == 1 and kind.tokens[: kind.n_head].tolist().count(special[0]) == 1, (
        "what it says is plain text"
    )
    assert kind.tokens[kind.n_head :].tolist() == plain.tokens[plain.n_head :].tolist()


# ---- seeds ----------------------------------------------------------------------------------------------------------


def test_answers_are_drawn_anew_unless_there_is_a_seed(document: Document) -> None:
    def drawn(**given: Any) -> str:
        return document.ask("Who?", temperature=1.5, max_tokens=12, **given).text

    assert len({drawn() for _ in range(4)}) > 1
    assert len({drawn(seed=5) for _ in range(3)}) == 1
    assert len({drawn() for _ in range(4)}) > 1, "the seed of one call is not that of the next ones"


def test_a_seed_of_the_object_holds() -> None:
    texts = set()
    for _ in range(2):
        seeded = load_narrow(kv_policy="full", n_ctx=256, seed=11)
        texts.add(seeded("Who?", temperature=1.5, max_tokens=12)["choices"][0]["text"])
    seeded.set_seed(11)
    texts.add(seeded("Who?", temperature=1.5, max_tokens=12)["choices"][0]["text"])
    assert len(texts) == 1


# ---- thinking -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begun", "pieces", "thought", "said"),
    [
        (False, ["<think>hm", "m</think>", "Yes."], "hmm", "Yes."),
        (True, ["hm</thi", "nk>Yes."], "hm", "Yes."),
        (False, ["<th", "ink>a</t", "hink>b<", "3"], "a", "b<3"),
        (False, ["a < b", " <thin"], "", "a < b <thin"),
        (True, ["never ends"], "never ends", ""),
    ],
)
def test_thoughts_are_told_apart(begun: bool, pieces: list[str], thought: str, said: str) -> None:
    reasoning = Reasoning(begun)
    assert "".join([*map(reasoning.feed, pieces), reasoning.finish()]) == said and reasoning.thought == thought


def test_the_switch_of_a_template(llm: Llama, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% else %}<think>\n{% endif %}"
    monkeypatch.setitem(llm.metadata, "tokenizer.chat_template", THINKS + switch)
    with_switch = frame(llm, "Who?", thinking=False)
    assert with_switch.after[-1][0].endswith("<think></think>") and not with_switch.thinks
    thinking = frame(llm, "Who?", thinking=True)
    assert thinking.after[-1][0].endswith("<think>\n") and thinking.thinks
    assert llm.chat_handler is None


def test_a_thought_is_told_while_no_piece_comes() -> None:
    def chunks() -> Any:
        for text in ("<think>", "one ", "two", "</think>", "Yes", "."):
            yield {"choices": [{"text": text}]}

    asked: Any = SimpleNamespace(
        n_prompts=1, n_evaluated=5, last_report=lambda: None, attention=lambda report: None, name="a"
    )
    stream, thoughts = AnswerStream(asked, "Is it?", chunks(), 3, 10), []
    stream.on_thought = thoughts.append
    assert list(stream) == ["Yes", "."]
    assert thoughts == ["one ", "one two"]

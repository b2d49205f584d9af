"""The client that most programs have, against the server: whole and in a stream, files, errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import openai
import pytest
from llama_fixtures import PRUNE
from served import TEXT, Served, served

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("served"), options={"logits_all": True, "n_ctx": 1024}) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as found:
        yield found


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_models(client: openai.OpenAI) -> None:
    [model] = client.models.list().data
    assert client.models.retrieve(model.id).id == model.id
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")


def test_a_chat_whole_and_in_a_stream_is_the_same(client: openai.OpenAI) -> None:
    options = {"model": "any", "messages": say("Hi"), "max_tokens": 6, "temperature": 0, "seed": 1}
    whole = client.chat.completions.create(**options)
    pieces = list(client.chat.completions.create(**options, stream=True, stream_options={"include_usage": True}))
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == whole.choices[0].message.content
    assert whole.usage.completion_tokens == pieces[-1].usage.completion_tokens == 6
    assert whole.usage.prompt_tokens == pieces[-1].usage.prompt_tokens
    assert pieces[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"


def test_logprobs(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(
        model="any", messages=say("Hi"), max_tokens=2, temperature=0, logprobs=True, top_logprobs=3
    )
    [first, _] = found.choices[0].logprobs.content
    assert len(first.top_logprobs) == 3 and first.logprob == max(top.logprob for top in first.top_logprobs)


def test_a_schema_is_kept_to(client: openai.OpenAI) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
    found = client.chat.completions.create(
        model="any", messages=say("n?"), max_tokens=60, temperature=0, response_format=wanted, seed=1
    )
    text = found.choices[0].message.content
    assert text.lstrip().startswith("{")
    if found.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text)["n"], int)


def test_a_tool_that_must_be_called_is_called(client: openai.OpenAI) -> None:
    tool = {"type": "function", "function": {"name": "add", "description": "Add.", "parameters": SCHEMA}}
    found = client.chat.completions.create(
        model="any",
        messages=say("Add."),
        tools=[tool],
        tool_choice={"type": "function", "function": {"name": "add"}},
        max_tokens=30,
        temperature=0,
    )
    [call] = found.choices[0].message.tool_calls
    assert call.function.name == "add" and call.function.arguments.lstrip().startswith("{")


def test_completions(client: openai.OpenAI) -> None:
    options = {"model": "any", "prompt": "Once upon a time", "max_tokens": 5, "temperature": 0}
    whole = client.completions.create(**options)
    pieces = [piece.choices[0].text for piece in client.completions.create(**options, stream=True)]
    assert "".join(pieces) == whole.choices[0].text and whole.usage.completion_tokens == 5
    echoed = client.completions.create(**options, echo=True).choices[0].text
    assert echoed == "Once upon a time" + whole.choices[0].text


def test_a_file_is_a_document_to_ask(client: openai.OpenAI) -> None:
    file = client.files.create(file=("valley.txt", TEXT.encode()), purpose="user_data")
    assert file.id in {found.id for found in client.files.list()}
    found = client.chat.completions.create(
        model="any", messages=say("Key?"), max_tokens=3, extra_body={"documents": [file.id]}
    )
    assert found.model_extra["evidence"][0]["document"] == file.id
    assert client.files.content(file.id).read() == TEXT.encode()
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError, match=file.id):
        client.files.retrieve(file.id)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "Hi"}]}, "messages.0.role"),
        ({"temperature": -1}, "temperature"),
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"logit_bias": {"999999999": 1}}, "logit_bias"),
        ({"extra_body": {"documnets": ["x"]}}, "documnets"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"extra_body": {"only_from_document": True}}, "only_from_document"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
    ],
)
def test_bad_input_names_what_is_wrong(client: openai.OpenAI, fields: dict[str, object], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        client.chat.completions.create(**{"model": "any", "messages": say("Hi"), "max_tokens": 2, **fields})
    assert error.value.param == param and error.value.type == "invalid_request_error"
    assert client.chat.completions.create(model="any", messages=say("Hi"), max_tokens=1).choices


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("policy", "full"),
        ("kv_policy", "asl:layer=15,select_k=64,window=16"),
        ("kv_policy", "nothing of the kind"),
        ("kv_policy", 7),
        ("kv_budget", "2GiB"),
        ("kv_budget", 0.5),
        ("kv_budget", ["much"]),
    ],
)
def test_another_policy_is_refused_with_the_servers_own(client: openai.OpenAI, name: str, value: object) -> None:
    asked: dict[str, object] = {"model": "any", "max_tokens": 1, "extra_body": {name: value}}
    for create in (
        lambda: client.chat.completions.create(messages=say("Hi"), **asked),
        lambda: client.completions.create(prompt="Hi", **asked),
    ):
        with pytest.raises(openai.BadRequestError, match=re.escape(f"kv_policy='{PRUNE}' and no kv_budget")) as error:
            create()
        assert (error.value.param, error.value.code) == (name, "other_policy")
        assert error.value.type == "invalid_request_error"


def test_the_servers_own_policy_may_be_named(client: openai.OpenAI) -> None:
    own = {"kv_policy": "ASL:window=16,layer=14,select_k=64", "kv_budget": None}
    assert client.chat.completions.create(model="any", messages=say("Hi"), max_tokens=1, extra_body=own).choices


@pytest.mark.parametrize(
    ("form", "match"),
    [
        ({"type": "yaml"}, "one of text, json_object, json_schema"),
        ({"type": "json_schema", "json_schema": {"name": "n"}}, "a json_schema is"),
        ({"type": "json_schema", "json_schema": {"name": "n", "schema": {"$ref": "#/no"}}}, "cannot be made a grammar"),
    ],
)
def test_a_form_that_is_not_understood_is_refused_as_by_the_library(
    client: openai.OpenAI, form: object, match: str
) -> None:
    with pytest.raises(openai.BadRequestError, match=match) as error:
        client.chat.completions.create(model="any", messages=say("Hi"), max_tokens=1, response_format=form)
    assert error.value.param == "response_format"


def test_what_does_not_fit_is_refused_with_the_numbers(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="1024") as error:
        client.chat.completions.create(model="any", messages=say("word " * 1200), max_tokens=2)
    assert error.value.code == "context_length_exceeded"

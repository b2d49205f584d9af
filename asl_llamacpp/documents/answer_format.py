"""What an answer must look like: a JSON schema as a grammar."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llama_cpp.llama_grammar import JSON_GBNF, LlamaGrammar, json_schema_to_gbnf

_KINDS = ("text", "json_object", "json_schema")


def grammar_of(response_format: Mapping[str, Any] | None) -> LlamaGrammar | None:
    """The grammar of an OpenAI `response_format`; None where any text will do.

    {"type": "json_object"}: any JSON. The same with a "schema" beside it, or {"type": "json_schema", "json_schema":
    {"schema": ...}}: JSON of that schema.

    Raises:
        ValueError: another form, or a schema that cannot be made a grammar.
    """
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind not in _KINDS:
        raise ValueError(f"response_format: its type is one of {', '.join(_KINDS)}, not {kind!r}")
    if kind == "text":
        return None
    named = response_format.get("json_schema") if kind == "json_schema" else response_format
    schema = named.get("schema") if isinstance(named, Mapping) else None
    if schema is None and kind == "json_schema":
        raise ValueError('response_format: a json_schema is {"type": "json_schema", "json_schema": {"schema": {...}}}')
    return LlamaGrammar.from_string(JSON_GBNF if schema is None else _from_schema(schema))


def _from_schema(schema: Any) -> str:
    try:
        grammar: str = json_schema_to_gbnf(json.dumps(schema))
    except Exception as error:  # the converter knows no errors of its own
        raise ValueError(f"response_format: the JSON schema cannot be made a grammar: {error!r}") from error
    return grammar

"""What a request says of its answer's form."""

from __future__ import annotations

from typing import Any

from ..documents.answer_format import grammar_of
from .errors import APIError


def grammar(response_format: dict[str, Any] | None) -> dict[str, Any]:
    """OpenAI's `response_format` as `Llama.create_completion` takes it. APIError for one that is not understood."""
    try:
        found = grammar_of(response_format)
    except ValueError as error:
        raise APIError(400, str(error), param="response_format") from None
    return {} if found is None else {"grammar": found}

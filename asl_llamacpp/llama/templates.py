"""Chat templates that are no valid program: told in a sentence, before a model is opened or when it is."""

from __future__ import annotations

from typing import Any

import jinja2
import llama_cpp
from llama_cpp.llama_chat_format import Jinja2ChatFormatter


def template_error(template: str) -> str | None:
    """Why a chat template cannot be read, or None if it can."""
    try:
        Jinja2ChatFormatter(template=template, eos_token="", bos_token="")
    except jinja2.TemplateError as error:
        line = getattr(error, "lineno", None)
        return " ".join(str(error).split()) + (f" (line {line})" if line else "")
    return None


class CheckedTemplate(llama_cpp.Llama):
    """The parent compiles every template of the model's file, whichever is used."""

    def __init__(self, model_path: str, **kwargs: Any) -> None:
        try:
            super().__init__(model_path, **kwargs)
        except jinja2.TemplateError as error:
            raise ValueError(
                f"{model_path} has a chat template that cannot be read: {error}. Take another file of the model, or "
                "put a right template into this one (gguf_new_metadata.py --chat-template, of llama.cpp)"
            ) from error

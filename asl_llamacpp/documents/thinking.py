"""The switch of models that can think before they answer, or not: a variable of their chat template."""

from __future__ import annotations

from typing import Any

from llama_cpp.llama_chat_format import Jinja2ChatFormatter

SWITCH = "enable_thinking"


def handler_with(llm: Any, thinking: bool) -> Any:
    """A chat handler of the model's own template, with its switch set.

    Raises:
        ValueError: the template has no such switch, or another format or handler is in use.
    """
    template = llm.metadata.get("tokenizer.chat_template", "")
    if llm.chat_handler is not None or SWITCH not in template:
        raise ValueError(f"thinking={thinking}: this model's chat template has no switch for it ({SWITCH})")
    eos, bos = llm.token_eos(), llm.token_bos()
    formatter = Jinja2ChatFormatter(
        template=f"{{%- set {SWITCH} = {str(thinking).lower()} -%}}{template}",
        eos_token=llm._model.token_get_text(eos) if eos != -1 else "",
        bos_token=llm._model.token_get_text(bos) if bos != -1 else "",
        stop_token_ids=[eos],
    )
    return formatter.to_chat_handler()

"""What a pickled `Llama` consists of, beside what llama-cpp-python keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import llama_cpp

from ..store.settings import store_arguments
from .reading import arguments_of


def values_of(llm: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The parent's values, and ours."""
    values |= {**arguments_of(llm), "kv_budget": llm.kv_budget, "kv_reuse": llm.kv_reuse}
    values |= {"hidden": llm.hidden, "rpc_servers": llm.rpc_servers, **store_arguments(llm.store_options)}
    if llm.chat_format == llm.fallback_format:
        values["chat_format"] = None  # a fallback is none that was given
    # the policy has the constants already: only the name of their file is missing
    return {**values, "calibrated_by": llm.calibration, "saved": llm.save_state() if llm.n_tokens else None}


def take_own(values: dict[str, Any]) -> tuple[llama_cpp.LlamaState | None, Path | None]:
    """Take out of `values` what is no argument of `Llama`: the saved state, and the calibration's file."""
    return values.pop("saved", None), values.pop("calibrated_by", None)

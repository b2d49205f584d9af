"""`asl-llamacpp info`: what a model is, and whether ASL can serve it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ...engine.log import silence_llama_cpp
from ...engine.support import asl_unsupported_reason
from ...files.calibration import calibrated
from ...files.model_file import find_model
from ...llama.model_info import ModelInfo, read_model_info
from ..config import config_path
from ..defaults import MODEL_DEFAULT
from ..errors import one_line_errors


def info(
    model: Annotated[
        Path | None,
        typer.Argument(help="GGUF file.", envvar="ASL_MODEL", show_envvar=False, show_default=MODEL_DEFAULT),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """What a model is, and whether ASL can serve it."""
    with one_line_errors():
        silence_llama_cpp()
        found = read_model_info(find_model(model))
        reason = asl_unsupported_reason(found.path)
        try:
            policy, file = calibrated("asl", found.path)
            calibration = None if file is None else f"{policy}, {file}"
        except ValueError as error:  # of a damaged file: no reason to hide the rest
            calibration = str(error)
        if as_json:
            told = {"asl": reason is None, "asl_reason": reason, "calibration": calibration}
            typer.echo(json.dumps({**asdict(found), **told}))
        else:
            rows = {**_rows(found, reason), "chat template": _template(found), "calibration": calibration or "none"}
            file = config_path()
            rows["configuration"] = str(file) if file.exists() else f"none: it would be {file}"
            for title, text in rows.items():
                typer.echo(f"{title:<14} {text}")


def _rows(found: ModelInfo, reason: str | None) -> dict[str, str]:
    return {
        "name": found.name or "unknown",
        "architecture": found.architecture,
        "parameters": f"{found.parameters / 1e6:,.0f} M",
        "quantization": found.quantization or "unknown",
        "file size": f"{found.file_bytes / 2**20:,.1f} MiB",
        "layers": _number(found.layers),
        "heads": _heads(found.heads),
        "KV heads": _heads(found.kv_heads),
        "embedding": _number(found.embedding),
        "context": _number(found.context, " tokens"),
        "sliding window": _number(found.sliding_window, " tokens") if found.sliding_window else "none",
        "KV cache, f16": _kv(found),
        "ASL": "supported" if reason is None else f"not supported: {reason}",
    }


def _template(found: ModelInfo) -> str:
    if not found.chat_template:
        return "none: a base model, which is asked in plain text"
    error = found.chat_template_error
    return "there is one" if error is None else f"broken, so that the model cannot be opened: {error}"


def _kv(found: ModelInfo) -> str:
    if found.kv_bytes_per_1k is None:
        return "unknown"
    size = f"{found.kv_bytes_per_1k / 2**20:.1f} MiB per 1,024 tokens"
    return f"{size}; sliding-window layers keep only their window" if found.sliding_window else size


def _number(value: int | None, unit: str = "") -> str:
    return "unknown" if value is None else f"{value:,}{unit}"


def _heads(counts: list[int]) -> str:
    if not counts:
        return "unknown"
    low, high = min(counts), max(counts)
    return str(high) if low == high else f"{low} to {high}, by layer"

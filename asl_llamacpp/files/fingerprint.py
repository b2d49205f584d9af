"""What a saved state belongs to: the model's file, the settings of its context, the build."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import llama_cpp

from ..engine.version import __version__
from .file_hash import PREFIX, file_hash

SAMPLE, SAMPLES = 1 << 16, 32

_CONTEXT_FIELDS = (
    *("type_k", "type_v", "flash_attn_type", "rope_scaling_type", "rope_freq_base", "rope_freq_scale"),
    *("yarn_ext_factor", "yarn_attn_factor", "yarn_beta_fast", "yarn_beta_slow", "yarn_orig_ctx"),
)


class StateMismatchError(RuntimeError):
    """A state was saved by another model, policy, budget, context setting or build; nothing was changed."""


def model_fingerprint(path: str | Path) -> str:
    """Hash that names a model file: of its size, and samples of 64 KiB from its beginning to its end.

    For measurements and constants, which a few other bytes would not change; states need `file_hash`.
    """
    path = Path(path)
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for i in range(SAMPLES):
            file.seek(max(size - SAMPLE, 0) * i // (SAMPLES - 1))
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:32]


def fingerprint(llm: Any) -> dict[str, str]:
    """What a state of `llm` depends on, by name. Pure metadata: nothing of the conversation is in it."""
    params = llm.context_params
    settings = [f"{name}={getattr(params, name)}" for name in _CONTEXT_FIELDS]
    return {
        "model": file_hash(llm.model_path),
        "adapter": f"{file_hash(llm.lora_path)} {llm.lora_scale}" if llm.lora_path else "none",
        "policy": _policy(llm),
        "kv_budget": str(llm.kv_budget),
        "context settings": ", ".join(settings),
        "build": f"asl_llamacpp {__version__}, llama-cpp-python {llama_cpp.__version__}",
    }


def _policy(llm: Any) -> str:
    policy, reader = llm.kv_policy, getattr(llm, "reader", None)
    if reader is None:
        return str(policy)
    return f"{policy} read by {file_hash(reader.llm.model_path)}, positions {policy.positions}"


def as_saved(
    own: dict[str, str], saved: dict[str, str], model: str | Path, adapter: str | Path | None
) -> dict[str, str]:
    """`own`, with files named as `saved` names them: earlier versions had samples of a file for all of it."""
    own = dict(own)
    if not saved.get("model", PREFIX).startswith(PREFIX):
        own["model"] = model_fingerprint(model)
    if adapter and not saved.get("adapter", PREFIX).startswith((PREFIX, "none")):
        own["adapter"] = own["adapter"].replace(file_hash(adapter), model_fingerprint(adapter))
    return own


def check_fingerprint(saved: dict[str, str] | None, own: dict[str, str]) -> None:
    """StateMismatchError naming what differs."""
    if saved is None:
        raise StateMismatchError("the state has no fingerprint: it was not saved by asl_llamacpp")
    for name, value in own.items():
        if saved.get(name) != value:
            raise StateMismatchError(
                f"the state belongs to another {name}: it was saved with {saved.get(name)!r}, this object has {value!r}"
            )

"""pytest plugin for llama-cpp-python's own tests: our `Llama` in place of the parent, local models for downloads.

Used by test_parent_suite.py, in a process of its own; PARENT_SUITE_* variables say which policy and which models.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import asl_llamacpp  # first: it chooses the library that llama_cpp loads

# isort: split
import llama_cpp
import pytest

POLICY = os.environ["PARENT_SUITE_POLICY"]

MODELS = {
    "Qwen3.5-0.8B-Q8_0.gguf": os.environ["PARENT_SUITE_GEMMA"],
    "tinyllamas/stories15M-q4_0.gguf": os.environ["PARENT_SUITE_SMOLLM2"],
    "bge-small-en-v1.5-q4_k_m.gguf": os.environ["PARENT_SUITE_SMOLLM2"],
}
"""Which local model stands for which download."""

SKIPPED = {
    "test_real_model": "expects the token ids of Qwen3.5, and uses nothing of Llama",
    "[llama_cpp_recurrent_model_path": "no recurrent model is among ours, and a policy that prunes refuses them",
    "[llama_cpp_hybrid_model_path": "no hybrid model is among ours, and a policy that prunes refuses them",
    "test_recurrent_model_prompt_cache_reset": "no recurrent model is among ours",
    "test_hybrid_model_prompt_cache_reset": "no hybrid model is among ours",
}
"""Reason by a part of the test's name."""

if POLICY != "full":
    SKIPPED["test_real_llama_embeddings"] = "a policy that prunes refuses embedding=True"
if find_spec("pydantic") is None:
    SKIPPED["test_composed_pydantic_grammar"] = "pydantic is not installed, nothing here needs it"


class Llama(asl_llamacpp.Llama):
    """Ours, with the policy under test. An embedding model would say itself how it pools."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("embedding"):
            kwargs["pooling_type"] = llama_cpp.LLAMA_POOLING_TYPE_MEAN
        super().__init__(*args, kv_policy=POLICY, **kwargs)


llama_cpp.Llama = Llama  # type: ignore[misc]
multiprocessing.cpu_count = lambda: 1  # the number of threads in the tests; those that wait for each other are slow


def module(name: str, **attributes: object) -> None:
    """Stand in for a module that the tests import, but that is not installed."""
    stub = ModuleType(name)
    for key, value in attributes.items():
        setattr(stub, key, value)
    sys.modules[name] = stub


module("huggingface_hub", hf_hub_download=lambda _repo_id, filename: MODELS[filename])
module("scipy")
module("scipy.special", log_softmax=None)  # imported by the tests, never called


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for part, reason in SKIPPED.items():
            if part == item.name or (part.startswith("[") and part in item.name):
                item.add_marker(pytest.mark.skip(reason=reason))

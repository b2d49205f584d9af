"""How many tokens a device gets at once, where nobody says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import load
from software_gpu import SoftwareGpu

CASES: dict[str, tuple[dict[str, Any], tuple[int, int]]] = {
    "on a GPU": ({"n_gpu_layers": -1}, (1024, 1024)),
    "half of it": ({"n_gpu_layers": 3}, (1024, 1024)),
    "n_ubatch is given": ({"n_gpu_layers": -1, "n_ubatch": 256}, (512, 256)),
    "both are given": ({"n_gpu_layers": -1, "n_ubatch": 512, "n_batch": 2048}, (2048, 512)),
    "n_batch is larger": ({"n_gpu_layers": -1, "n_batch": 1536}, (1536, 1024)),
    "n_batch is smaller": ({"n_gpu_layers": -1, "n_batch": 300}, (300, 300)),
    "on the CPU": ({"n_gpu_layers": 0}, (512, 512)),
    "full is stock": ({"n_gpu_layers": -1, "kv_policy": "full"}, (512, 512)),
}


@pytest.mark.parametrize(("settings", "want"), CASES.values(), ids=CASES)
def test_batches(tiny_path: Callable[[str], Path], settings: dict[str, Any], want: tuple[int, int]) -> None:
    with SoftwareGpu(), closing(load(tiny_path("tiny-llama"), **{"n_ctx": 4096, **settings})) as llm:
        assert (llm.n_batch, llm.context_params.n_ubatch) == want


def test_without_a_gpu_layers_stay_on_the_cpu(tiny_path: Callable[[str], Path]) -> None:
    with closing(load(tiny_path("tiny-llama"), n_ctx=4096, n_gpu_layers=-1)) as llm:
        assert (llm.n_batch, llm.context_params.n_ubatch) == (512, 512)

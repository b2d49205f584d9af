"""`Llama` on devices that the host cannot look into: every policy, budgets, documents and states as on the CPU."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fixtures import greedy, load, logits
from rpc_servers import Server
from software_gpu import SoftwareGpu
from test_gpu_engine import PLACES

from asl_llamacpp import Llama

SIZES = "select_k=96,window=16"
WAYS: dict[str, dict[str, Any]] = {
    "asl": {"kv_policy": f"asl:l_min=1,l_obs=2,tau=3,l_max=none,{SIZES}"},
    "asl at a layer": {"kv_policy": f"asl:layer=2,{SIZES}"},
    "asl, heads of two layers": {"kv_policy": f"asl:layer=2,heads=max,score_layers=2,{SIZES}"},
    "fastkv": {"kv_policy": f"fastkv:{SIZES}"},
    "fastkv in a budget": {"kv_policy": f"fastkv:{SIZES}", "kv_budget": 64},
    "fastkv, selected everywhere": {"kv_policy": f"fastkv:{SIZES},keep=selected"},
    "asl, selected in a budget": {"kv_policy": f"asl:layer=2,{SIZES},keep=selected", "kv_budget": 64},
    "snapkv": {"kv_policy": "snapkv:budget=64,window=16"},
    "snapkv in a fraction": {"kv_policy": "snapkv:window=16", "kv_budget": 0.25},
    "asl in bytes": {"kv_policy": f"asl:layer=2,{SIZES}", "kv_budget": "2MiB"},
    "gemfilter": {"kv_policy": f"gemfilter:layer=2,{SIZES.split(',')[0]}"},
    "asl-2pass": {"kv_policy": f"asl-2pass:layer=2,{SIZES}"},
    "full": {"kv_policy": "full", "flash_attn": True},
}
STORES: dict[str, dict[str, Any]] = {
    "ram": {"kv_policy": f"asl:layer=2,{SIZES}"},
    "device": {"kv_policy": f"asl:layer=2,{SIZES}", "document_store": "device"},
    "disk": {"kv_policy": f"asl:layer=2,{SIZES}", "document_store": "disk"},
    "ram, in a budget": {"kv_policy": f"asl:layer=2,{SIZES}", "kv_budget": 80},
    "ram, selected": {"kv_policy": f"asl:layer=2,{SIZES},keep=selected"},
    "device, selected": {"kv_policy": f"asl:layer=2,{SIZES},keep=selected", "document_store": "device"},
    "ram, selected in a budget": {"kv_policy": f"asl:layer=2,{SIZES},keep=selected", "kv_budget": 80},
    "ram, two passes": {"kv_policy": f"asl-2pass:layer=2,{SIZES}"},
    "ram, deeper each time": {"kv_policy": f"asl:l_min=1,l_obs=2,tau=1,l_max=4,{SIZES}"},
}
N_PROMPT, N_ANSWER = 400, 6


def tokens(n: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).integers(5, 250, n).tolist()


def seen(llm: Llama) -> tuple[object, ...]:
    """What the last prompt led to."""
    report = llm.last_prefill
    assert report is not None
    selected = None if report.selected is None else report.selected.tolist()
    return report.selection_layer, selected, report.cells, report.reused, logits(llm).tobytes()


def prompt_and_state(llm: Llama) -> list[object]:
    """A prompt, an answer, and the answer of the same after a saved state was loaded."""
    found: list[object] = [greedy(llm, tokens(N_PROMPT), N_ANSWER), *seen(llm)]
    state = pickle.loads(pickle.dumps(llm.save_state()))
    llm.eval(tokens(3, seed=1))
    found.append(logits(llm).tobytes())
    llm.reset()
    llm.load_state(state)
    llm.eval(tokens(3, seed=1))
    assert logits(llm).tobytes() == found[-1]
    return found


def questions_in_turn(llm: Llama) -> list[object]:
    """Two documents, three questions about each, in turn."""
    found: list[object] = []
    for question in (1, 2, 3):
        for document in (10, 20):
            prompt = tokens(N_PROMPT, document) + tokens(40, question)
            found += [greedy(llm, prompt, 2), *seen(llm)]
    return found


def go(path: Path, way: str, **where: Any) -> list[object]:
    documents = way in STORES
    settings = {"n_ctx": 1024, "n_ubatch": 128, "n_batch": 256, **(STORES[way] if documents else WAYS[way])}
    if documents:
        settings["document_min"] = 256
    with closing(load(path, **settings, **where)) as llm:
        return questions_in_turn(llm) if documents else prompt_and_state(llm)


@pytest.fixture(scope="module")
def on_the_cpu(tiny_path: Callable[[str], Path]) -> Callable[[str], list[object]]:
    return cache(lambda way: go(tiny_path("tiny-llama"), way))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", [*WAYS, *STORES])
def test_answers_are_those_of_the_cpu(
    tiny_path: Callable[[str], Path], on_the_cpu: Callable[[str], list[object]], way: str, place: str
) -> None:
    want = on_the_cpu(way)
    options, n_gpu_layers = PLACES[place]
    with SoftwareGpu(**options) as gpu:
        got = go(tiny_path("tiny-llama"), way, n_gpu_layers=n_gpu_layers)
        assert all(gpu.counters(i).graphs >= 5 for i in range(gpu.devices))
    assert got == want


def test_the_ways_prune(on_the_cpu: Callable[[str], list[object]]) -> None:
    cells = {way: on_the_cpu(way)[3] for way in WAYS}
    assert cells.pop("full") == []
    assert all(min(held) < N_PROMPT for held in cells.values())
    assert cells["asl"] != cells["asl at a layer"]  # the rule chose
    for way in STORES:
        reused = on_the_cpu(way)[4::6]
        assert reused[:2] == [0, 0] and min(reused[2:]) >= N_PROMPT, way
    layers = on_the_cpu("ram, deeper each time")[1::6]
    assert layers[0] == layers[2] < layers[4]


@pytest.mark.parametrize("way", ["asl at a layer", "device", "device, selected", "asl, selected in a budget"])
def test_beside_a_server(tiny_path: Callable[[str], Path], on_the_cpu: Callable[[str], list[object]], way: str) -> None:
    """Half of the layers on an RPC server, half on the device."""
    server = Server()
    try:
        with SoftwareGpu(accept="cuda") as gpu:
            where = {"rpc_servers": server.address, "tensor_split": [0.5, 0.5]}
            got = go(tiny_path("tiny-llama"), way, **where)
            assert gpu.counters().graphs >= 5
    finally:
        server.stop()
    assert got == on_the_cpu(way)


@pytest.mark.slow
def test_a_real_model(smollm2_path: Path) -> None:
    """SmolLM2 with the default policy: quantized weights, another prompt in between."""
    prompts = [tokens(300, seed) + tokens(40, seed + 1) for seed in (0, 10, 0)]

    def answers(**where: Any) -> list[object]:
        with closing(load(smollm2_path, kv_policy="asl:select_k=128", document_min=200, **where)) as llm:
            return [(greedy(llm, prompt, 2), *seen(llm)) for prompt in prompts]

    want = answers()
    with SoftwareGpu(accept="cuda"):
        assert answers(n_gpu_layers=-1) == want


def test_one_layer_at_a_time_is_on_the_device(tiny_path: Callable[[str], Path]) -> None:
    """Where the selected cells come back from the host, the device takes less by the KV that is not there."""
    taken, told = [], []
    for keep in ("heads", "selected"):
        policy = f"fastkv:layer=4,{SIZES},keep={keep}"
        with (
            SoftwareGpu() as gpu,
            closing(load(tiny_path("tiny-llama"), kv_policy=policy, kv_budget=64, n_ctx=4096, n_gpu_layers=-1)) as llm,
        ):
            before = gpu.counters().bytes_live
            llm.eval(tokens(3000))
            assert llm.last_prefill is not None and llm.last_prefill.cells == [64] * 6
            taken.append(gpu.counters().bytes_peak - before)
            told.append(llm.last_prefill.peak_kv_bytes)
    assert told[1] < told[0]
    assert taken[0] - taken[1] == pytest.approx(told[0] - told[1], abs=4096)

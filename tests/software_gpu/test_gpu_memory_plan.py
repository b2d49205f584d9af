"""The memory that is planned for a prompt, against what a device counts: its own peak, whatever lies there."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from cli_calls import invoke
from software_gpu import SoftwareGpu

from asl_llamacpp import Llama
from asl_llamacpp.cli.commands.plan import kv_type

ASL = "asl:l_obs=2,l_min=2,l_max=4,select_k=600"
NEVER = "asl:l_obs=2,l_min=2,l_max=none,tau=1e-9,select_k=600"
N, N_QUESTION = 3000, 100
WITHIN = 0.05

SHAPES = {
    "llama": tiny_models.TinyModel("llama", n_layer=8, n_embd=256, n_head=8, n_ff=512),
    "gemma2": tiny_models.TinyModel("gemma2", n_layer=8, n_embd=256, n_head=8, n_ff=512, n_swa=256, attn_softcap=4.0),
}


@dataclass(frozen=True)
class Case:
    """A prompt that is planned and prefilled; `known`: after a first question about it, or as a completed document."""

    policy: str = ASL
    budget: Any = None
    devices: int = 1
    known: str = ""
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = [f"{name}={value}" for name, value in self.settings.items()]
        parts = [self.policy, self.budget and f"budget={self.budget}", self.devices > 1 and "two", self.known]
        return " ".join(map(str, filter(None, [*parts, *settings])))


QUANTIZED = {"type_k": kv_type("q8_0"), "type_v": kv_type("q8_0")}
CASES = [
    *(Case(devices=n, known=known) for n in (1, 2) for known in ("", "asked")),
    Case(known="complete"),
    *(Case(f"{ASL},keep={keep}", budget) for keep in ("all", "selected", "heads") for budget in (None, 700)),
    Case(f"{ASL},keep=selected", settings={"document_store": "device"}),
    Case(f"{ASL},keep=selected", devices=2, settings={"document_store": "device"}),
    Case(f"{ASL},decide_every=2,heads=max"),
    Case(NEVER),
    Case("snapkv:budget=500"),
    Case("snapkv:budget=500", settings=QUANTIZED),
    Case(settings=QUANTIZED),
    Case(settings=QUANTIZED, devices=2, known="asked"),
    Case(f"{ASL},keep=selected", 700, settings=QUANTIZED),
    Case("fastkv:select_k=600"),
    Case("fastkv:select_k=600", "20%", devices=2),
    Case("gemfilter:select_k=600"),
    Case("asl-2pass:l_obs=2,l_min=2,l_max=4,select_k=600"),
    Case(settings={"document_min": None}),
    Case(settings={"n_ubatch": 512, "n_batch": 512}),
    Case(settings={"n_ctx": 16384}),
    Case("full"),
    Case("full", devices=2, settings={"flash_attn": True}),
]


def tokens_of(n: int, seed: int) -> list[int]:
    return [3 + (7 * i + seed + i // 256) % 256 for i in range(n)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("planned")
    return cache(lambda name: tiny_models.write(SHAPES[name], folder / f"{name}.gguf"))


def measured(path: Path, case: Case, gpu: SoftwareGpu) -> list[tuple[int, int]]:
    """Of each device, what was planned and what it came to."""
    settings = {"n_ctx": N + 512, "n_threads": 1, "n_threads_batch": 1, "verbose": False, **case.settings}
    llm = Llama(path, kv_policy=case.policy, kv_budget=case.budget, n_gpu_layers=-1, **settings)
    with closing(llm):
        text = tokens_of(N - N_QUESTION, 1)
        document = None
        if case.known:
            document = llm.read(text="a b c")
            assert document.entry is not None
            document.entry.tokens = np.array(text, dtype=np.int32)
            llm.eval([*text, *tokens_of(40, 2)])
            if case.known == "complete":
                llm.reset()
                document.complete()
            llm.reset()
        plan = llm.plan_memory(N, document)
        gpu.reset()
        llm.eval([*text, *tokens_of(N_QUESTION, 3)])
        return [(plan[i].total, gpu.counters(i).bytes_peak) for i in range(case.devices)]


@pytest.mark.slow
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_plan_is_what_a_device_counts(model: Callable[[str], Path], name: str, case: Case) -> None:
    with SoftwareGpu(case.devices, compute=False, delay=0, accept="cuda") as gpu:
        for planned, counted in measured(model(name), case, gpu):
            assert abs(planned - counted) <= WITHIN * counted, f"{planned / counted:.3f} of {counted:,} bytes"


def test_nothing_is_allocated(model: Callable[[str], Path]) -> None:
    with (
        SoftwareGpu(compute=False, delay=0, accept="cuda") as gpu,
        closing(Llama(model("llama"), n_ctx=N + 512, kv_policy=ASL, n_gpu_layers=-1, verbose=False)) as llm,
    ):
        gpu.reset()
        first = llm.plan_memory(N)
        assert gpu.counters().allocations == 0 and gpu.counters().bytes_peak == gpu.counters().bytes_live
        assert llm.plan_memory(N) == first and [one.name for one in first] == ["device 0", "host"]
        with pytest.raises(ValueError, match="does not fit"):
            llm.plan_memory(10**6)


@pytest.mark.parametrize("policy", [ASL, f"{ASL},keep=selected", "snapkv:budget=500", "asl-2pass:select_k=600", "full"])
def test_a_file_is_planned_alike(model: Callable[[str], Path], policy: str) -> None:
    """Without its weights, and with the ubatch that a policy gets on this device."""
    path, n_ctx = model("llama"), 3328
    with SoftwareGpu(compute=False, delay=0, accept="cuda") as gpu:
        result = invoke("plan", str(path), "--prompt", str(N), "--policy", policy, "--json")
        told = json.loads(result.stdout)
        (row,) = told["policies"]
        assert (told["n_ubatch"], told["n_ctx"], gpu.counters().allocations) == (1024, n_ctx, 0)
        with closing(Llama(path, n_ctx=n_ctx, kv_policy=policy, n_gpu_layers=-1, verbose=False)) as llm:
            llm.eval(tokens_of(N, 1))
            assert abs(row["total"] - gpu.counters().bytes_peak) <= WITHIN * gpu.counters().bytes_peak, row

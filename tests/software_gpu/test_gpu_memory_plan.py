"""The memory that is planned for a prompt, against what a device counts: its own peak, whatever lies there."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
from cli_calls import invoke
from software_gpu import SoftwareGpu

from asl_llamacpp import Llama
from asl_llamacpp.budget import device_memory, memory
from asl_llamacpp.budget.device_memory import DeviceMemory
from asl_llamacpp.budget.kv_shape import KVShape
from asl_llamacpp.cli.commands.plan import kv_type
from asl_llamacpp.store import memory as store_memory

ASL = "asl:l_obs=2,l_min=2,l_max=4,select_k=600"
NEVER = "asl:l_obs=2,l_min=2,l_max=none,tau=1e-9,select_k=600"
N, N_QUESTION = 3000, 100
WITHIN = 0.05

SHAPES = {
    "llama": tiny_models.TinyModel("llama", n_layer=8, n_embd=256, n_head=8, n_ff=512),
    "gemma2": tiny_models.TinyModel("gemma2", n_layer=8, n_embd=256, n_head=8, n_ff=512, n_swa=256, attn_softcap=4.0),
    # hidden states are much of it
    "wide": tiny_models.TinyModel("llama", n_layer=8, n_embd=1024, n_head=2, n_ff=64),
    "wide gemma2": tiny_models.TinyModel(
        "gemma2", n_layer=8, n_embd=1024, n_head=2, n_ff=64, n_swa=256, attn_softcap=4.0
    ),
    # and K and V
    "many cells": tiny_models.TinyModel("llama", n_layer=8, n_embd=64, n_head=8, n_head_kv=8, n_ff=64),
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

EARLY, LATE = "asl:l_obs=2,l_min=2,l_max=2", "asl:l_obs=2,l_min=2,l_max=6"
WIDE = [
    Case(f"{LATE},select_k=2000"),
    Case(f"{LATE},select_k=2000", devices=2, known="asked"),
    Case(f"{EARLY},select_k=2000", devices=2),
    Case(f"{EARLY},select_k=1000,decide_every=2", devices=2, settings={"n_ubatch": 512, "n_batch": 512}),
    Case("asl-2pass:l_obs=2,l_min=2,l_max=4,select_k=1000", devices=2, known="asked", settings=QUANTIZED),
    Case("asl-2pass:l_obs=2,l_min=2,l_max=4,select_k=1000", known="asked"),
    Case("fastkv:select_k=600", 100, devices=3),
    Case(f"{LATE},select_k=1000", 300, devices=2, known="asked", settings=QUANTIZED),
    Case(f"{LATE},select_k=1000", 300, devices=2, settings=QUANTIZED),
    *(Case(known=known, settings={"hidden": "host"}) for known in ("", "asked", "complete")),
    Case(devices=2, known="asked", settings={"hidden": "host"}),
    Case(f"{ASL},keep=selected", 700, settings={"hidden": "host", **QUANTIZED}),
]
"""Where hidden states, known ones and selected ones, are a share that shows; and what was once planned wrongly."""


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


ALL = [
    *((name, case) for case in CASES for name in ("llama", "gemma2")),
    *((name, case) for case in WIDE for name in ("wide", "wide gemma2")),
    *(("wide", case) for case in CASES[:12]),
    *(("many cells", case) for case in [*CASES[:12], *WIDE[:4]]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), ALL, ids=str)
def test_the_plan_is_what_a_device_counts(model: Callable[[str], Path], name: str, case: Case) -> None:
    with SoftwareGpu(case.devices, compute=False, delay=0, accept="cuda") as gpu:
        for planned, counted in measured(model(name), case, gpu):
            assert abs(planned - counted) <= WITHIN * counted, f"{planned / counted:.3f} of {counted:,} bytes"


# ---- every term of the plan shows ------------------------------------------------------------------------------------


def drop(field: str) -> Callable[[pytest.MonkeyPatch], None]:
    """Leave out one kind of memory."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        places = memory.places

        def without(*args: Any, **kwargs: Any) -> Any:
            return tuple(replace(place, **{field: 0}) for place in places(*args, **kwargs))

        monkeypatch.setattr(store_memory, "places", without)

    return patch


def set_to(owner: Any, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setattr(owner, name, value)


def nothing(self: DeviceMemory, *_: Any) -> list[int]:
    return [0] * (self._host + 1)


KEPT = Case(f"{LATE},select_k=2000", settings={"document_min": None})
HELD = Case(f"{EARLY},select_k=2000")
TERMS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, Case]] = {
    "weights": (drop("weights"), "llama", CASES[0]),
    "compute": (drop("compute"), "llama", CASES[0]),
    "K and V": (drop("kv"), "many cells", CASES[0]),
    "hidden": (drop("hidden"), "wide", CASES[0]),
    "mask": (drop("mask"), "many cells", CASES[0]),
    "hidden states while layers run": (set_to(DeviceMemory, "_hidden", nothing), "wide", Case(NEVER)),
    "those that are gathered": (set_to(DeviceMemory, "_keeping", nothing), "wide", KEPT),
    "those of a document that is held": (set_to(DeviceMemory, "_held_rows", 0), "wide", HELD),
    "those on their way from the host": (
        set_to(device_memory, "_STAGED", 0),
        "wide",
        Case(settings={"hidden": "host"}),
    ),
    "f16 cells of quantized layers": (
        set_to(KVShape, "exact_bytes", lambda *_: 0),
        "many cells",
        Case(settings=QUANTIZED),
    ),
    "floats between types": (set_to(KVShape, "conversion_bytes", lambda *_: 0), "many cells", Case(settings=QUANTIZED)),
}
"""By name: how to leave it out, and a case in which that is more than the plan may be wrong by."""


@pytest.mark.parametrize("term", TERMS)
def test_a_plan_without_one_of_its_terms_is_wrong(
    model: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    leave_out, name, case = TERMS[term]
    for dropped in (False, True):
        if dropped:
            leave_out(monkeypatch)
        with SoftwareGpu(case.devices, compute=False, delay=0, accept="cuda") as gpu:
            found = measured(model(name), case, gpu)
        assert any(abs(planned - counted) > WITHIN * counted for planned, counted in found) == dropped, found


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

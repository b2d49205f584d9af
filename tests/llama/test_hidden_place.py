"""`Llama(hidden=...)`: hidden states on the host change no answer, and are refused by name where they spare nothing."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from cli_calls import invoke
from llama_fixtures import greedy, load, logits
from software_gpu import SoftwareGpu

POLICY = "asl:layer=2,select_k=96,window=16"
PROMPT = [5 + (7 * i + i // 200) % 240 for i in range(400)]
ROW = 64 * 4


@pytest.mark.parametrize("store", ["ram", "device"])
def test_the_answers_are_the_same(tiny_path: Callable[[str], Path], store: str) -> None:
    """The first question and the next one; the device's plan and what it counts are less by what is on the host."""
    told, planned = [], []
    for hidden in ("device", "host"):
        with (
            SoftwareGpu(accept="cuda"),
            closing(
                load(
                    tiny_path("tiny-llama"),
                    n_gpu_layers=-1,
                    n_ubatch=64,
                    kv_policy=POLICY,
                    document_min=100,
                    document_store=store,
                    hidden=hidden,
                )
            ) as llm,
        ):
            assert llm.hidden == hidden
            device, host = llm.plan_memory(len(PROMPT))
            planned.append((device.hidden, host.hidden))
            for end in (9, 11):
                told.append((hidden, greedy(llm, [*PROMPT[:-20], *[end] * 20], 4), logits(llm).tobytes()))
    on_device, on_host = [[answer[1:] for answer in told if answer[0] == hidden] for hidden in ("device", "host")]
    assert on_device == on_host
    (device, none), (staged, host) = planned
    assert none == 0 and host >= len(PROMPT) * ROW and staged < device


def test_a_copy_keeps_it(tiny_path: Callable[[str], Path]) -> None:
    with closing(load(tiny_path("tiny-llama"), kv_policy=POLICY, hidden="host")) as llm:
        answer = greedy(llm, PROMPT, 4)
        with closing(pickle.loads(pickle.dumps(llm))) as copy:
            assert copy.hidden == "host"
            assert greedy(copy, PROMPT, 4) == answer


def test_a_cpu_has_them_anyway(tiny_path: Callable[[str], Path]) -> None:
    answers = []
    for hidden in ("device", "host"):
        with closing(load(tiny_path("tiny-llama"), kv_policy=POLICY, hidden=hidden)) as llm:
            answers.append((greedy(llm, PROMPT, 4), logits(llm).tobytes()))
    assert answers[0] == answers[1]


def test_what_spares_nothing_is_refused(tiny_path: Callable[[str], Path]) -> None:
    path = tiny_path("tiny-llama")
    with pytest.raises(ValueError, match="hidden must be 'device' or 'host', not 'vram'"):
        load(path, hidden="vram")
    with pytest.raises(ValueError, match="kv_policy='full' keeps no hidden states between layers: leave hidden='host'"):
        load(path, kv_policy="full", hidden="host")
    with (
        SoftwareGpu(memory="shared", accept="metal"),
        pytest.raises(ValueError, match=r"lies on SGPU0, which has no memory apart.*leave hidden='host' out"),
    ):
        load(path, n_gpu_layers=-1, kv_policy=POLICY, hidden="host")


def test_the_plan_of_a_file_counts_it(tiny_path: Callable[[str], Path]) -> None:
    found = {}
    with SoftwareGpu(compute=False, delay=0, accept="cuda"):
        for hidden in ("device", "host"):
            arguments = ["--prompt", "3000", "--policy", "asl:l_obs=2,l_min=2,select_k=600", "--hidden", hidden]
            told = json.loads(invoke("plan", str(tiny_path("tiny-llama")), *arguments, "--json").stdout)
            found[hidden] = told["policies"][0]
    staged = 2 * 1024 * ROW
    assert found["device"]["hidden"] - found["host"]["hidden"] >= 2968 * ROW - staged  # a document's are kept
    assert found["host"]["total"] < found["device"]["total"]

"""Layers on RPC servers: the same selection and tokens as on this machine, from memory that the host cannot read."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

import pytest
from llama_fixtures import greedy, load, load_narrow, prompt
from places import ROOT
from rpc_servers import Server

# isort: split
from llama_cpp import LlamaState

from asl_llamacpp import Llama

RULE = "asl:l_min=7,l_max=none,select_k=128"
CASES: dict[str, dict[str, Any]] = {
    "fixed layer": {"kv_policy": "asl:layer=14,select_k=128"},
    "rule": {"kv_policy": RULE},
    "budget": {"kv_policy": RULE, "kv_budget": 100},
    "full": {"kv_policy": "full"},
}
N_PROMPT, N_ANSWER = 402, 8
WEIGHTS = 85
"""Megabytes that the layers of the model take, and a bit less."""


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    found = [Server(), Server()]
    yield found
    for server in found:
        server.stop()


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of its own, for tests that look at its memory or end it."""
    found = Server()
    yield found
    found.stop()


def load_case(case: str, **settings: Any) -> Llama:
    """The narrow model, but the real one where a layer must be found: the rule never fires on random weights."""
    return (load if case == "rule" else load_narrow)(n_ubatch=128, **CASES[case], **settings)


def run(case: str, **settings: Any) -> dict[str, Any]:
    """What a prompt of 402 tokens in four ubatches leads to."""
    with closing(load_case(case, **settings)) as llm:
        answer = greedy(llm, prompt(N_PROMPT), N_ANSWER)
        report = llm.last_prefill
        assert report is not None
        selected = None if report.selected is None else report.selected.tolist()
        return {"tokens": answer, "layer": report.selection_layer, "selected": selected, "cells": report.cells}


@cache
def local(case: str) -> dict[str, Any]:
    return run(case)


def test_the_cases_prune() -> None:
    assert local("fixed layer")["layer"] == 14
    assert local("rule")["layer"] is not None and len(local("rule")["selected"]) == 128
    assert max(local("budget")["cells"]) == 100
    assert local("full")["layer"] is None


@pytest.mark.parametrize("case", CASES)
def test_one_server(servers: list[Server], case: str) -> None:
    assert run(case, rpc_servers=servers[0].address) == local(case)


@pytest.mark.parametrize("case", CASES)
def test_two_servers(servers: list[Server], case: str) -> None:
    addresses = ",".join(server.address for server in servers)
    assert run(case, rpc_servers=addresses, tensor_split=[0.5, 0.5]) == local(case)


@pytest.mark.parametrize("case", CASES)
def test_deep_half_on_a_server(servers: list[Server], case: str) -> None:
    assert run(case, rpc_servers=servers[0].address, n_gpu_layers=15) == local(case)


def test_layers_lie_on_the_server_until_the_model_is_closed(server: Server) -> None:
    idle = server.megabytes()
    llm = load(rpc_servers=server.address)
    assert server.megabytes() > idle + WEIGHTS
    llm.close()
    # not all of it: the C library keeps some for the next model
    assert server.idles(idle + WEIGHTS / 2)


def test_another_model_stays_on_this_machine(server: Server) -> None:
    with closing(load(rpc_servers=server.address)):
        pass
    server.stop()
    with closing(load(n_gpu_layers=-1)) as llm:
        assert greedy(llm, prompt(20), 2)


def test_a_server_takes_one_model_at_a_time(servers: list[Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asl_llamacpp.engine.rpc.TIMEOUT", 0.5)
    address = servers[0].address
    with closing(load(rpc_servers=address)) as llm:
        with pytest.raises(ConnectionError, match="one model at a time"):
            load(rpc_servers=address)
        assert greedy(llm, prompt(20), 2)


def saved(case: str, **settings: Any) -> tuple[LlamaState, list[int], list[int]]:
    """A state, the answer that follows it, and the answer after it was loaded again."""
    with closing(load_case(case, **settings)) as llm:
        llm.eval(prompt(N_PROMPT))
        state = llm.save_state()
        answer = greedy(llm, prompt(N_PROMPT), N_ANSWER)
        llm.reset()
        llm.load_state(state)
        return state, answer, greedy(llm, prompt(N_PROMPT), N_ANSWER)


@pytest.mark.slow
@pytest.mark.parametrize("case", ["rule", "budget", "full"])
def test_state_of_a_remote_cache(servers: list[Server], case: str) -> None:
    _, answer, again = saved(case)
    state, remote_answer, remote_again = saved(case, rpc_servers=servers[0].address, n_gpu_layers=15)
    assert (remote_answer, remote_again) == (answer, again)
    with closing(load_case(case)) as llm:
        llm.load_state(state)
        assert greedy(llm, prompt(N_PROMPT), N_ANSWER) == again


def test_cache_grows_on_a_server(servers: list[Server]) -> None:
    def go_on(**settings: Any) -> list[int]:
        policy = CASES["fixed layer"]
        with closing(load_narrow(n_ctx=1024, kv_reuse=True, **policy, **settings)) as llm:
            llm.eval(prompt(N_PROMPT))
            llm.eval(prompt(400))  # more than there are spare cells
            assert llm._engine is not None and llm._engine.info().n_grow > 0
            return greedy(llm, [*prompt(N_PROMPT), *prompt(400)], N_ANSWER)

    assert go_on(rpc_servers=servers[0].address) == go_on()


def test_pickled_object_goes_back_to_its_server(servers: list[Server]) -> None:
    with closing(load(rpc_servers=servers[1].address, n_gpu_layers=20)) as llm:
        assert llm.rpc_servers == servers[1].address
        data = pickle.dumps(llm)
    with closing(pickle.loads(data)) as twin:
        assert twin.rpc_servers == servers[1].address
        assert twin.model_params.n_gpu_layers == 20 and twin.model_params.devices


def ask(*options: str) -> subprocess.CompletedProcess[str]:
    document = str(ROOT / "LICENSE")
    command = [sys.executable, "-m", "asl_llamacpp.cli", "ask", document, "Who is the copyright holder?"]
    command += ["--threads", "1", "--max-tokens", "12", "--policy", "asl:layer=14,select_k=64", "--quiet", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_ask_with_a_server(server: Server) -> None:
    here, there = ask(), ask("--rpc", server.address)
    assert (there.returncode, there.stderr) == (0, "")
    assert there.stdout == here.stdout and there.stdout.strip()
    assert server.idles(1e9)
    server.stop()
    gone = ask("--rpc", server.address)
    assert gone.returncode == 2 and gone.stderr.startswith(f"error: no RPC server at {server.address}")


def test_interrupt_ends_a_server(server: Server) -> None:
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == -signal.SIGINT

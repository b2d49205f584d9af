"""Layers on RPC servers: the same selection and tokens as on this machine, from memory that the host cannot read."""

from __future__ import annotations

import pickle
import signal
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

import pytest
from llama_fixtures import cells, greedy, load, prompt
from rpc_servers import Server

RULE = "asl:l_min=7,l_max=none,select_k=128"
POLICIES = ["asl:layer=14,select_k=128", RULE, "full"]
N_PROMPT, N_ANSWER = 402, 8


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Server]]:
    found = [Server(), Server()]
    yield found
    for server in found:
        server.stop()


def run(policy: str, **settings: Any) -> dict[str, Any]:
    """What a prompt of 402 tokens, four ubatches, leads to."""
    with closing(load(kv_policy=policy, n_ubatch=128, **settings)) as llm:
        answer = greedy(llm, prompt(N_PROMPT), N_ANSWER)
        report = llm.last_prefill
        assert report is not None
        selected = None if report.selected is None else report.selected.tolist()
        return {"tokens": answer, "layer": report.selection_layer, "selected": selected, "cells": report.cells}


@cache
def local(policy: str) -> dict[str, Any]:
    return run(policy)


def test_the_policies_of_this_file_prune() -> None:
    assert local(POLICIES[0])["layer"] == 14
    assert local(RULE)["layer"] is not None
    assert len(local(RULE)["selected"]) == 128


@pytest.mark.parametrize("policy", POLICIES)
def test_one_server(servers: list[Server], policy: str) -> None:
    assert run(policy, rpc_servers=servers[0].address) == local(policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_two_servers(servers: list[Server], policy: str) -> None:
    addresses = ",".join(server.address for server in servers)
    assert run(policy, rpc_servers=addresses, tensor_split=[0.5, 0.5]) == local(policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_deep_half_on_a_server(servers: list[Server], policy: str) -> None:
    assert run(policy, rpc_servers=servers[0].address, n_gpu_layers=15) == local(policy)

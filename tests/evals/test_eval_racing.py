"""The race of ways and layers: what is hopeless leaves it, what is good stays, and it ends when the best is sure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asl_llamacpp.evals.racing import LEAST, SETTLED, Racing

N_LAYER = 24
WAYS = ("sum", "sentences")


def line_of(race: Racing, loss: Any, rng: np.random.Generator) -> dict[str, Any]:
    """A prompt on which a way loses `loss(way, layer)` at a layer, and a little more or less by chance."""
    tried = {
        way: {
            str(layer): [float(np.log(1 - max(0, loss(way, layer) + 0.001 * rng.standard_normal()))), True, 1.0]
            for layer in range(8, N_LAYER - 1)
            if race.wants(way, layer)
        }
        for way in WAYS
    }
    return {"n_answer": 1, "full": [0.0, True], "budgets": {"1/4": {"tried": tried}, "1/8": {"tried": tried}}}


def run(loss: Any, n: int = 24) -> Racing:
    race, rng = Racing(N_LAYER), np.random.default_rng(0)
    for _ in range(n):
        race.add(line_of(race, loss, rng))
        if race.settled:
            break
    return race


def deep_enough(way: str, layer: int) -> float:
    """Sentences lose nothing from layer 12 on, tokens from 18 on."""
    return 0.0 if layer >= (18 if way == "sum" else 12) else 0.4


def test_the_hopeless_leave_it_and_the_good_stay() -> None:
    race = run(deep_enough)
    running = [(way, layer) for way in WAYS for layer in range(8, N_LAYER - 1) if race.wants(way, layer)]
    assert running == [("sum", 18), ("sum", 20), ("sum", 22), ("sentences", 12), ("sentences", 14), ("sentences", 16)]
    assert race.settled and race.n == SETTLED


def test_every_other_layer_takes_part() -> None:
    race = Racing(N_LAYER)
    assert [layer for layer in range(8, 14) if race.wants("sum", layer)] == [8, 10, 12]
    assert [layer for layer in range(8, 14) if Racing(30).wants("sum", layer)] == [9, 11, 13]


def test_all_are_tried_on_the_first_prompts() -> None:
    race, rng = Racing(N_LAYER), np.random.default_rng(0)
    for _ in range(LEAST - 1):
        race.add(line_of(race, deep_enough, rng))
    race.add({"skipped": "not answered rightly"})
    assert race.n == LEAST - 1 and race.wants("sum", 8) and not race.settled
    race.add(line_of(race, deep_enough, rng))
    assert not race.wants("sum", 8) and race.wants("sentences", 12)


def test_it_is_open_while_something_cheaper_may_be_as_good() -> None:
    def doubtful(way: str, layer: int) -> float:
        lost = (0.3 if calls["n"] % 12 == 0 else 0.0) if layer == 10 and way == "sentences" else deep_enough(way, layer)
        calls["n"] += (way, layer) == ("sentences", 10)
        return lost

    calls = {"n": 1}
    race = run(doubtful, 20)
    assert race.n == 20 and not race.settled and race.wants("sentences", 10)


def test_lines_that_are_there_count_as_if_they_had_just_been_measured() -> None:
    race, again, rng = Racing(N_LAYER), Racing(N_LAYER), np.random.default_rng(1)
    for _ in range(10):
        line = line_of(race, deep_enough, rng)
        race.add(line)
        again.add(line)
    for way in WAYS:
        assert [race.wants(way, il) for il in range(N_LAYER)] == [again.wants(way, il) for il in range(N_LAYER)]


@pytest.mark.parametrize("n", [1, LEAST, SETTLED])
def test_a_model_that_always_answers_alike_is_settled_at_once(n: int) -> None:
    race = run(lambda way, layer: 0.0, n)
    assert race.settled == (n == SETTLED)

"""Which layers run together, and which of these are scored: `LayerRun.next_end` without an engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from asl_llamacpp.engine.binding import MAX_SCORED
from asl_llamacpp.policies import ASL, FastKV, Policy
from asl_llamacpp.prefill.known import NOTHING_KNOWN, Keep, Known
from asl_llamacpp.prefill.layer_run import LayerRun

N_LAYER = 32
Run = tuple[int, int, list[int]]


def runs(policy: Policy, known: int = 0, watch: tuple[int, ...] = (), swa_period: int = 1) -> list[Run]:
    """All runs of a prompt whose rule never fires: begin, end, and the layers that are scored."""
    layers = [SimpleNamespace(is_swa=il % swa_period != swa_period - 1) for il in range(N_LAYER)]
    for layer in layers:
        layer.gives_scores = not layer.is_swa
    engine: Any = SimpleNamespace(
        info=lambda: SimpleNamespace(n_layer=N_LAYER),
        layer=lambda il: layers[il],
        vocabulary=SimpleNamespace(texts=lambda tokens: []),
    )
    document = Keep(watch=watch)
    state = NOTHING_KNOWN if known == 0 else Known(n=5000, il=known)
    prefill = LayerRun(
        engine, policy.resolve(N_LAYER), range(9000), 256, None, None, state, document, None, False, False
    )
    found = []
    while prefill.il < N_LAYER:
        end = prefill.next_end()
        scored = [il for il in range(prefill.il, end) if prefill.wanted(il) is not None]
        assert prefill.il < end <= N_LAYER and len(scored) <= MAX_SCORED
        found.append((prefill.il, end, scored))
        prefill.il = end
    return found


def test_layers_that_nobody_looks_at_are_not_scored() -> None:
    late = ASL(l_min=10, l_obs=8, l_max=None)
    assert runs(late)[:3] == [(0, 11, [*range(3, 11)]), (11, 12, [11]), (12, 13, [12])]
    assert runs(FastKV(layer=15))[0] == (0, 16, [15])


def test_known_layers_are_scored_a_few_at_a_time() -> None:
    late = ASL(l_min=10, l_obs=8, l_max=None)
    known = [(0, 11, [*range(3, 11)]), (11, 19, [*range(11, 19)]), (19, 25, [*range(19, 25)]), (25, 26, [25])]
    assert runs(late, known=25)[:4] == known
    assert runs(FastKV(layer=24), known=25)[0] == (0, 25, [24])
    assert runs(ASL(select_k=9999), known=25)[0] == (0, 25, [])


@pytest.mark.parametrize("known", [0, 25])
def test_some_layers_are_watched_where_nothing_is_selected(known: int) -> None:
    assert runs(ASL(select_k=9999), known=known, watch=(18, 20))[0] == (0, known or N_LAYER, [18, 20])
    assert runs(ASL(select_k=9999), known=known, watch=(17, 20), swa_period=2)[0] == (0, known or N_LAYER, [17])
    assert runs(ASL(select_k=9999), known=known, watch=(18,), swa_period=2)[0] == (0, known or N_LAYER, [17])


@pytest.mark.parametrize("swa_period", [1, 2, 6])
@pytest.mark.parametrize("known", [0, 20, 32])
@pytest.mark.parametrize("l_obs", [2, 8, 20])
def test_no_run_scores_more_than_a_graph_holds(l_obs: int, known: int, swa_period: int) -> None:
    found = runs(ASL(l_min=22, l_obs=l_obs, l_max=None), known=known, swa_period=swa_period)
    assert [begin for begin, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]
    assert known in (0, *(end for _, end, _ in found))

import json
from typing import Any

import numpy as np
import pytest

from asl_llamacpp.prefill.report import PrefillReport, Progress


def make_report(**changes: Any) -> PrefillReport:
    values: dict[str, Any] = {
        "policy": "asl:select_k=1024",
        "n_prompt": 7000,
        "n_layer": 30,
        "selection_layer": 14,
        "reason": "relative variance 0.27 < tau 0.3",
        "selected": np.arange(1024, dtype=np.int32),
        "relative_variance": {9: 1.0, 10: np.float64(0.5)},
        "tau": 0.3,
        "cells": [7000] * 15 + [1024] * 15,
        "kv_bytes": 46 << 20,
        "kv_bytes_full": 184 << 20,
        "peak_kv_bytes": 3 << 29,
        "seconds": {"shallow": 55.4, "selection": 0.25, "deep": 3.7, "total": 59.35},
    }
    return PrefillReport(**values | changes)


def test_table() -> None:
    assert str(make_report()).splitlines() == [
        "policy     asl:select_k=1024",
        "prompt     7000 tokens",
        "selection  layer 14 of 30: relative variance 0.27 < tau 0.3",
        "kept       1024 of 7000 tokens (14.6 %)",
        "cells      layers 0-14: 7000, 15-29: 1024",
        "KV memory  46.0 MiB of 184.0 MiB in full, 75.0 % saved",
        "KV peak    1.5 GiB",
        "seconds    shallow 55.40, selection 0.25, deep 3.70, total 59.35",
    ]


def test_table_of_an_unpruned_prefill() -> None:
    unpruned = {"selection_layer": None, "selected": None, "reason": "7 tokens fit", "n_prompt": 7}
    table = str(make_report(**unpruned))
    assert "selection  none: 7 tokens fit" in table
    assert "kept       7 of 7 tokens (100.0 %)" in table


def test_table_of_an_empty_report() -> None:
    table = str(PrefillReport(policy="full", n_prompt=0, n_layer=2))
    assert "cells      -" in table
    assert "KV memory  0 B of 0 B in full\n" in table


@pytest.mark.parametrize(
    ("cells", "text"),
    [
        ([5], "layers 0: 5"),
        ([5, 5, 5], "layers 0-2: 5"),
        ([5, 7, 7, 5], "layers 0: 5, 1-2: 7, 3: 5"),
        ([512, 512, 512, 7000] * 6, "512 in 18 layers, 7000 in 6 layers"),
    ],
)
def test_cells_are_summarised(cells: list[int], text: str) -> None:
    assert f"cells      {text}\n" in str(make_report(cells=cells))


def test_table_is_short() -> None:
    assert len(str(make_report(cells=list(range(80)))).splitlines()) < 15


def test_dict_is_ready_for_json() -> None:
    report = make_report(cells=[np.int64(7000)])
    values = json.loads(json.dumps(report.to_dict()))
    assert values["selected"] == list(range(1024))
    assert values["relative_variance"] == {"9": 1.0, "10": 0.5}
    assert values["cells"] == [7000]
    assert (values["n_selected"], values["selection_layer"], values["forced"]) == (1024, 14, False)
    assert values["seconds"]["deep"] == 3.7


def test_dict_without_positions() -> None:
    assert "selected" not in make_report().to_dict(include_selected=False)
    assert make_report(selected=None).to_dict()["selected"] is None


def test_progress_is_a_plain_record() -> None:
    step = Progress(layer=3, layers=30, tokens=512, n_tokens=7000, phase="shallow")
    assert (step.layer, step.layers, step.tokens, step.n_tokens, step.phase) == (3, 30, 512, 7000, "shallow")

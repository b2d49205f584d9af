"""The policy of CONTRIBUTING.md: one file and one line, and all of the package knows it."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import contributing
import numpy as np
import pytest
from cli_calls import invoke
from llama_fixtures import cells, load, logits, prompt

from asl_llamacpp import policies
from asl_llamacpp.budget.kv_shape import KVShape
from asl_llamacpp.budget.plan import Budget, plan
from asl_llamacpp.engine.binding import LayerShape
from asl_llamacpp.evals.variants import variants
from asl_llamacpp.policies import ASL, POLICIES, Policy, parse_policy
from asl_llamacpp.prefill.report import Progress
from asl_llamacpp.prefill.time_left import TimeLeft

FILE = "asl_llamacpp/policies/loudest.py"
N, K, LAYER = 300, 96, 14
SPEC = f"loudest:layer={LAYER},select_k={K}"


@pytest.fixture(autouse=True)
def _loudest(tmp_path: Path) -> Iterator[None]:
    line = re.search(r"^from \.loudest import .*", contributing.PAGE, re.MULTILINE)
    assert line is not None
    try:
        with contributing.added(policies, FILE, tmp_path):
            exec(line[0], vars(policies))
            yield
    finally:
        POLICIES.pop("loudest", None)


def test_it_is_one_short_file() -> None:
    assert len(contributing.code(FILE).splitlines()) <= 50


def test_its_text_form() -> None:
    made = parse_policy(SPEC)
    assert (made.name, str(made)) == ("loudest", SPEC)
    assert made == policies.Loudest(layer=LAYER, select_k=K)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="select_k=32 must exceed window=32"):
        parse_policy("loudest:select_k=32")
    with pytest.raises(ValueError, match="the model's 10 layers are 0 to 9"):
        parse_policy(SPEC).resolve(10)


def test_a_prefill_drops_what_it_says() -> None:
    """What it selects is what ASL does, told to combine scores in the same way at the same layer."""
    same = load(kv_policy=ASL(layer=LAYER, kernel=1, heads="max", select_k=K))
    llm = load(kv_policy=SPEC)
    for one in (same, llm):
        one.eval(prompt(N))
    report, known = llm.last_prefill, same.last_prefill
    assert report is not None and known is not None
    assert (report.policy, report.selection_layer, report.reason) == (SPEC, LAYER, f"fixed by layer={LAYER}")
    assert report.cells == cells(llm) == [N] * (LAYER + 1) + [K] * (29 - LAYER)
    assert report.selected is not None and known.selected is not None
    np.testing.assert_array_equal(report.selected, known.selected)
    np.testing.assert_array_equal(report.scores, known.scores)
    np.testing.assert_array_equal(logits(llm), logits(same))


def test_documents_and_budgets_know_it() -> None:
    llm = load(kv_policy=SPEC, kv_budget=200, document_min=64)
    llm.eval(prompt(N))
    assert cells(llm) == [200] * (LAYER + 1) + [K] * (29 - LAYER)
    llm = load(kv_policy=SPEC, document_min=64)
    llm.eval(prompt(N))
    llm.reset()
    llm.eval([*prompt(N - 40), *prompt(40, start=N)])
    assert llm.last_prefill is not None
    assert (llm.last_prefill.reused, llm.last_prefill.selection_layer) == (N - 40, LAYER)
    llm.reset()
    llm.eval(prompt(K))
    assert llm.last_prefill.reason == f"the prompt's {K} tokens fit select_k={K}"


def test_plans_know_it(smollm2_path: Path) -> None:
    layer = LayerShape(n_head=8, n_head_kv=2, n_embd_k=128, n_embd_v=128, n_swa=0)
    shape = KVShape(layers=(layer,) * 20, n_ctx=8192)
    made = parse_policy("loudest:layer=9,select_k=1024")
    size = 512 * (10 * 5376 + 10 * 1280)  # 5,000 and 1,024 tokens, and 256 of an answer
    assert plan(made, shape, 5000, None).kv_bytes == size
    assert plan(made, shape, 5000, Budget("bytes", size)).keep is None
    assert plan(made, shape, 5000, Budget("bytes", size - 1)).keep == 5376 - 512
    told = json.loads(invoke("plan", smollm2_path, "--prompt", 4000, "--json").stdout)
    row = {need["policy"]: need for need in told["policies"]}
    cell = 2 * 192 * 2  # bytes of K and V of 3 heads, f16
    assert row["loudest"]["kv"] == row["fastkv"]["kv"] - cell * (4352 - 2304) * (14 - 12)  # by default at layer 12


def test_the_progress_bar_and_the_evaluation_know_it() -> None:
    left = TimeLeft(parse_policy("loudest:layer=4,select_k=100"))
    left(Progress(0, 10, 0, 1000, "shallow"), 0.0)
    assert left(Progress(1, 10, 0, 1000, "shallow"), 1.0) == pytest.approx(4.5)  # 4 layers of 1,000, 5 of 100 tokens
    assert [one.options(1000) for one in variants(["loudest+budget"], ["1/4"])] == [
        {"kv_policy": parse_policy("loudest:select_k=250"), "kv_budget": 250}
    ]


def test_it_may_lie_in_a_package_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own name, since the one of the page is taken."""
    code = contributing.code(FILE).replace('"loudest"', '"outside"')
    code = code.replace("from ..", "from asl_llamacpp.").replace("from .", "from asl_llamacpp.policies.")
    (tmp_path / "outside.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        made = importlib.import_module("outside").Loudest(select_k=K)
        assert parse_policy(f"outside:select_k={K}") == parse_policy(made) == made
    finally:
        POLICIES.pop("outside", None)
        sys.modules.pop("outside", None)


@pytest.mark.parametrize("name", ["asl", "Upper", "a:b", "a,b", "a=b", "", " a"])
def test_a_name_that_could_not_be_read_is_refused(name: str) -> None:
    before = dict(POLICIES)
    with pytest.raises(ValueError, match="cannot be called"):
        type("Bad", (Policy,), {"name": name})
    assert before == POLICIES

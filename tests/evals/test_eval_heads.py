"""The search of heads: those that look at the answers are found, judged on kinds that they were not chosen by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama_fixtures import narrow_path
from numpy.typing import NDArray

from asl_llamacpp import ASL
from asl_llamacpp.evals import head_search
from asl_llamacpp.evals.calibrate import find_heads
from asl_llamacpp.evals.calibration_fit import Trials, fixed
from asl_llamacpp.evals.head_search import choose, judge, kept
from asl_llamacpp.evals.kept_recordings import KeptRecordings, Recorded
from asl_llamacpp.evals.signals import COMBINED
from asl_llamacpp.evals.ways import SENTENCES, name_of, of_heads, way_named

N, N_LAYER, N_HEAD, PAST = 400, 10, 4, 368
LOOKS = {"needle": (3, 1), "list": (7, 2)}
ANSWER = np.arange(200, 204)


def recorded(kind: str, seed: int, others: float = 0.1) -> Recorded:
    """One head of the kind's own, and one of all kinds, look at the answer; the rest anywhere."""
    rng = np.random.default_rng(seed)
    added: NDArray[np.float16] = (others * rng.random((N_LAYER, N_HEAD, PAST))).astype(np.float16)
    for layer, head in (LOOKS[kind], (5, 0)):
        added[layer, head, ANSWER] += np.float16(1)
    return Recorded(kind, added, ANSWER, np.arange(0, N, 10, dtype=np.int32), N)


def test_heads_that_look_at_the_answer_are_found() -> None:
    prompts = [recorded(kind, seed) for seed in range(3) for kind in LOOKS]
    assert choose(prompts, 3) == ((3, 1), (5, 0), (7, 2))
    assert choose(prompts, 1) == ((5, 0),)
    assert choose(prompts * 2 + [recorded("list", 9)] * 50, 3) == ((3, 1), (5, 0), (7, 2))  # kinds count alike
    assert kept(prompts[0], ((3, 1),)) == 1.0 and kept(prompts[0], ((7, 2),)) < 1.0


def test_a_kind_is_judged_by_heads_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_search.choose, "__defaults__", (1,))
    prompts = [recorded(kind, seed) for seed in range(2) for kind in LOOKS]
    for prompt in prompts:
        prompt.added[5, 0] = 0  # each kind now has a head of its own alone
    for one in judge(prompts, tuple(LOOKS.values())):
        assert (one.n, one.training) == (2, 1.0) and one.held_out < 1.0


def test_ways_and_their_names() -> None:
    heads = ((3, 1), (14, 10))
    assert of_heads(heads) == "heads 3.1+14.10" and way_named(of_heads(heads)) == (heads, 1, "sentences", True)
    policy = ASL(heads=heads, units="sentences", contrast=True, layer=14)
    assert name_of(policy, [*COMBINED, SENTENCES, of_heads(heads)]) == of_heads(heads)
    assert name_of(ASL(units="sentences", contrast=True), [*COMBINED, SENTENCES]) == SENTENCES
    assert name_of(fixed(9), list(COMBINED)) == "sum"


def test_a_rule_waits_for_the_chosen_heads() -> None:
    from test_eval_calibration import random_sums, tried_of

    heads = ((11, 0), (15, 1))
    prompt = tried_of(random_sums(0, list(range(24))))
    prompt.logprob[of_heads(heads)] = {il: -0.1 * abs(il - 13) for il in range(11, 23)}
    trials = Trials([prompt])
    early = ASL(tau=0.9, l_min=8, l_max=20, heads=heads, units="sentences", contrast=True)
    assert trials.outcomes(early).layer[0] >= 11 and np.isfinite(trials.outcomes(early).loss).all()
    assert any(policy.chosen == heads for policy in trials.candidates())


@pytest.mark.slow
def test_from_generated_and_real_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asl_llamacpp.evals.calibrate.HEAD_PROMPTS", 6)
    texts = [f"The house of number {i} is {name}. " * 3 for i, name in enumerate(("red", "blue", "green"))]
    paragraphs = [
        {"context": text + f"Its door has {i + 7} locks.", "qas": [{"question": "How many locks has the door?",
         "answers": [{"text": f"{i + 7} locks"}]}]} for i, text in enumerate(texts)
    ]  # fmt: skip
    data = tmp_path / "squad.json"
    data.write_text(json.dumps({"data": [{"paragraphs": paragraphs}]}))
    found = find_heads(narrow_path(), length=300, data=data, n_threads=1, n_threads_batch=1, n_gpu_layers=0)
    assert found is not None and len(found.chosen) == head_search.N_HEADS
    assert {one.task for one in found.judged} >= {"paraphrase", "two_hop", "list_items", "qa_1"}
    assert max(layer for layer, _ in found.chosen) <= head_search.deepest(30)
    assert found.facts["data"] == "squad.json" and found.facts["kept"]["qa_1"]
    long = tmp_path / "long.json"
    long.write_text(data.read_text().replace("Its door", "Nobody knows why. " * 200 + "Its door"))
    with pytest.raises(ValueError, match=r"no question of long\.json fits a prompt of 300 tokens"):
        find_heads(narrow_path(), length=300, data=long, n_threads=1, n_threads_batch=1, n_gpu_layers=0)
    with pytest.raises(ValueError, match="is not SQuAD's"):
        (tmp_path / "other.json").write_text("[]")
        find_heads(narrow_path(), length=300, data=tmp_path / "other.json")


def test_a_search_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asl_llamacpp.evals.calibrate.HEAD_PROMPTS", 3)
    folder, told = tmp_path / "heads", list[str]()
    settings: dict[str, Any] = {"length": 300, "n_threads": 1, "n_threads_batch": 1, "n_gpu_layers": 0}
    settings |= {"recordings": KeptRecordings(folder), "on_prompt": told.append}
    record, made = head_search.record, list[str]()

    def counted(shared: Any, task: str, sample: Any) -> Recorded | None:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(task)
        return record(shared, task, sample)

    monkeypatch.setattr(head_search, "record", counted)
    with pytest.raises(KeyboardInterrupt):
        find_heads(narrow_path(), **settings)
    assert told == made == list(head_search.TASKS[:2]) and len(list(folder.iterdir())) == 2
    made.clear()
    found = find_heads(narrow_path(), **settings)
    assert made == [head_search.TASKS[2]] and told[2:] == list(head_search.TASKS[:3])
    made.clear()
    again = find_heads(narrow_path(), **settings)
    assert made == [] and again == found and found is not None
    damaged = next(folder.glob(f"{head_search.TASKS[0]}-*"))
    damaged.write_bytes(damaged.read_bytes()[:5000])
    assert find_heads(narrow_path(), **settings) == found and made == [head_search.TASKS[0]]
    KeptRecordings(folder).remove()
    assert not folder.exists()

"""The runner: what it records, going on after a kill, and one small evaluation from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_calls import fails, invoke
from eval_lines import line
from llama_fixtures import narrow_path

from asl_llamacpp.documents.query import Query
from asl_llamacpp.evals import Sample, Variant, run, variants
from asl_llamacpp.evals.answers import share_kept
from asl_llamacpp.evals.lines import append, key_of, read_lines, repair
from asl_llamacpp.llama import models
from asl_llamacpp.policies import ASL, FastKV, Full, SnapKV
from asl_llamacpp.prefill.report import PrefillReport

ANSWER = " 1234567."


class FakeLlama:
    """Answers at once; `fails_at` is the number of the answer that it fails at, `dies_at` that of a Ctrl-C."""

    fails_at = dies_at = -1
    opened: list[dict[str, Any]] = []  # noqa: RUF012
    answered = 0

    def __init__(self, **options: Any) -> None:
        self.opened.append(options)
        self.options = options

    def reset(self) -> None: ...
    def close(self) -> None: ...

    def create_completion(self, tokens: list[int], **_: Any) -> Any:
        count = type(self).answered
        type(self).answered += 1
        if count == self.dies_at:
            raise KeyboardInterrupt
        if count == self.fails_at:
            raise RuntimeError("the engine failed")
        self.last_prefill = PrefillReport(str(self.options["kv_policy"]), len(tokens), 30, seconds={"total": 0.5})
        return {"choices": [{"text": ANSWER}]}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeLlama]:
    real: Callable[..., Any] = models.open_model

    class Fake(FakeLlama):
        opened: list[dict[str, Any]] = []  # noqa: RUF012

    def open_model(path: Path, **options: Any) -> Any:
        return real(path, **options) if options.get("vocab_only") else Fake(**options)

    monkeypatch.setattr(models, "open_model", open_model)
    return Fake


def small(model: Path, out: Path, **changed: Any) -> int:
    given: dict[str, Any] = {"n_samples": 2, "seeds": (0, 1), "budgets": ["1/4", "1/8"], "shared": False, **changed}
    return run(model, ["niah_single_1", "passkey"], [300], given.pop("policies", ["full", "asl"]), out, **given)


def test_every_variant_gets_the_same_prompts(smollm2_path: Path, tmp_path: Path, fake: type[FakeLlama]) -> None:
    seen = []
    out = tmp_path / "new" / "run.jsonl"
    assert small(smollm2_path, out, on_line=lambda *told: seen.append(told[1:]), n_threads=1) == 24
    lines = read_lines(out)
    assert seen == [(i, 24) for i in range(1, 25)] and len({key_of(line) for line in lines}) == 24
    prompts: dict[Any, set[str]] = {}
    for one in lines:
        prompts.setdefault((one["task"], one["seed"], one["sample"]), set()).add(one["prompt"])
    assert len(prompts) == 8 and all(len(hashes) == 1 for hashes in prompts.values())
    assert [options["kv_policy"] for options in fake.opened] == [Full(), ASL(select_k=75), ASL(select_k=37)]
    assert all(options["n_ctx"] == 512 and options["n_threads"] == 1 for options in fake.opened)
    assert {line["n_prompt"] for line in lines} == {300}


def test_goes_on_after_a_kill_and_repeats_nothing(smollm2_path: Path, tmp_path: Path, fake: type[FakeLlama]) -> None:
    whole, killed = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    small(smollm2_path, whole)
    fake.dies_at, fake.answered = 7, 0
    with pytest.raises(KeyboardInterrupt):
        small(smollm2_path, killed)
    assert len(read_lines(killed)) == 7
    with killed.open("ab") as file:
        file.write(b'{"model": "07799b28995b5eac01c8')  # what a kill in the middle of a write leaves
    fake.dies_at = -1
    assert small(smollm2_path, killed) == 17
    assert [key_of(line) for line in read_lines(killed)] == [key_of(line) for line in read_lines(whole)]
    assert len(killed.read_text().splitlines()) == 24
    opened = len(fake.opened)
    assert small(smollm2_path, killed) == 0 and len(fake.opened) == opened


def test_only_prompts_that_full_answers(smollm2_path: Path, tmp_path: Path, fake: type[FakeLlama]) -> None:
    out, told = tmp_path / "run.jsonl", []
    small(smollm2_path, out, policies=["full"])
    lines = read_lines(out)
    right = lines[::3]
    out.write_text("")
    for one in lines:
        append(out, {**one, "score": 1.0 if one in right else 0.9})

    def on_line(line: Any, done: int, total: int) -> None:
        told.append((done, total))

    assert small(smollm2_path, out, answered_by_full=True, on_line=on_line) == 6
    assert told == [(i, 6) for i in range(1, 7)]

    def place(one: Any) -> Any:
        return one["task"], one["seed"], one["sample"]

    asked = [one for one in read_lines(out) if one["policy"] != "full"]
    assert sorted(map(place, asked)) == sorted(2 * [place(one) for one in right])
    assert small(smollm2_path, out, answered_by_full=True) == 0


def test_only_prompts_that_full_answers_need_full(smollm2_path: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name it among the policies"):
        small(smollm2_path, tmp_path / "run.jsonl", policies=["asl"], answered_by_full=True)
    assert not (tmp_path / "run.jsonl").exists()


def test_failed_sample_is_a_line(smollm2_path: Path, tmp_path: Path, fake: type[FakeLlama]) -> None:
    out = tmp_path / "run.jsonl"
    fake.fails_at, fake.answered = 5, 0
    assert small(smollm2_path, out) == 24
    assert [line["error"] for line in read_lines(out) if "error" in line] == ["RuntimeError: the engine failed"]
    fake.fails_at = -1
    assert small(smollm2_path, out) == 0
    assert small(smollm2_path, out, retry_errors=True) == 1
    assert len(read_lines(out)) == 24 and not any("error" in line for line in read_lines(out))


def test_prompt_that_cannot_be_made_is_an_error_line(smollm2_path: Path, tmp_path: Path, fake: Any) -> None:
    out = tmp_path / "run.jsonl"
    run(smollm2_path, ["cwe"], [100], ["full"], out, n_samples=1, seeds=[0], shared=False)
    assert "needs" in read_lines(out)[0]["error"]


def test_bad_arguments(smollm2_path: Path, tmp_path: Path, fake: type[FakeLlama]) -> None:
    out = tmp_path / "run.jsonl"
    for tasks, lengths, policies, what in (
        ([], [300], ["full"], "nothing to evaluate"),
        (["vt"], [9000], ["full"], "trained for 1 to 8192"),
        (["vt"], [300], ["best"], "unknown policy"),
        (["x"], [300], ["full"], "unknown task"),
    ):
        with pytest.raises(ValueError, match=what):
            run(smollm2_path, tasks, lengths, policies, out)
    assert not out.exists() and not fake.opened


def test_variants() -> None:
    made = variants(["full", "ASL", "asl+budget", "fastkv:layer=14", "snapkv", "asl:select_k=64"], ["1/4", "0.125"])
    assert [str(variant) for variant in made][:3] == ["full", "asl at 1/4", "asl at 1/8"] and len(made) == 10
    assert Variant("asl", Fraction(1, 4)).options(1000) == {"kv_policy": ASL(select_k=250), "kv_budget": None}
    assert Variant("asl+budget", Fraction(1, 4)).options(1000) == {"kv_policy": ASL(select_k=250), "kv_budget": 250}
    assert Variant("snapkv", Fraction(1, 4)).options(1000) == {"kv_policy": SnapKV(budget=250), "kv_budget": None}
    fastkv = {"kv_policy": FastKV(layer=14, select_k=33), "kv_budget": None}
    assert Variant("fastkv:layer=14", Fraction(1, 100)).options(1000) == fastkv
    assert variants(["asl"]) == [Variant("asl")] and Variant("asl").options(9)["kv_policy"] == ASL()


@pytest.mark.parametrize("spec", ["full+budget", "snapkv+budget", "asl-2pass+budget", "asl:select_k=99+budget", "x"])
def test_bad_variants(spec: str) -> None:
    with pytest.raises(ValueError):
        variants([spec], ["1/4"])


@pytest.mark.parametrize("budget", ["0", "1", "2", "a", "1/0", "-1/4"])
def test_bad_budgets(budget: str) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        variants(["asl"], [budget])


def test_share_kept() -> None:
    def kept(evidence: list[int] | None, selected: list[int] | None, keep: int | None = None) -> float | None:
        where = None if evidence is None else np.array(evidence)
        sample = Sample(Query("d", "q"), "", [1] * 9, ("a",), where)
        chosen = None if selected is None else np.array(selected, dtype=np.int32)
        return share_kept(sample, PrefillReport("asl", 9, 30, selected=chosen, keep=keep))

    assert kept([2, 3, 4, 5], [0, 2, 3, 8]) == 0.5
    assert kept(None, [0, 2]) is None
    assert kept([2], None) == 1.0 and kept([2], None, keep=9) == 1.0 and kept([2], None, keep=4) is None


def test_results_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    assert repair(path) == []
    append(path, line("vt", 0, "asl", 0.0))
    append(path, line("vt", 1, "asl", 0.5))
    append(path, line("vt", 0, "asl", 1.0))
    assert [(one["sample"], one["score"]) for one in read_lines(path)] == [(0, 1.0), (1, 0.5)]
    path.write_text("{}\n" + path.read_text())
    with pytest.raises(ValueError, match="line 1: not a line of evaluation results"):
        repair(path)


# ---- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_small_evaluation_from_end_to_end(smollm2_path: Path, tmp_path: Path) -> None:
    what = ["--task", "niah_single_2", "--length", "600", "--policy", "full", "--policy", "asl", "--budget", "1/4"]
    how = ["--samples", "2", "--seeds", "1", "--threads", "1", "--separate", "--out", str(tmp_path)]
    result = invoke("eval", "-m", str(smollm2_path), *what, *how)
    assert result.exit_code == 0, result.output
    lines = read_lines(tmp_path / "run.jsonl")
    assert [(one["policy"], one["budget"]) for one in lines] == [("full", None)] * 2 + [("asl", "1/4")] * 2
    assert all(one["n_prompt"] == 600 and one["output"] and one["prefill_seconds"] > 0 for one in lines)
    assert [one["n_selected"] for one in lines] == [600, 600, 150, 150]
    right = [one for one in lines if one["score"] == 1.0]
    assert all(one["output"].endswith(one["answers"][-1]) for one in right), "nothing is said after what settles it"
    assert lines[0] in right and lines[2]["kv_bytes"] < lines[2]["kv_bytes_full"]
    assert [one["prompt"] for one in lines[:2]] == [one["prompt"] for one in lines[2:]]
    assert "| niah_single_2 | 600" in result.stdout
    assert (tmp_path / "tables.md").read_text() == result.stdout.removesuffix("\n")
    assert (tmp_path / "accuracy-ruler.png").exists()

    again = invoke("eval", "--report", str(tmp_path / "run.jsonl"), "--out", str(tmp_path / "again"))
    assert again.exit_code == 0 and again.stdout == result.stdout
    assert (tmp_path / "again" / "accuracy-ruler.png").exists()


@pytest.mark.slow
def test_shared_prefills_give_the_same_lines(tmp_path: Path) -> None:
    """All but the seconds; an ubatch ends where the window begins, so that not even a rounding differs."""
    found = []
    for shared in (False, True):
        out = tmp_path / f"{shared}.jsonl"
        policies = ["asl+budget", "snapkv", "gemfilter"]
        how: dict[str, Any] = {
            "n_samples": 1,
            "seeds": [0],
            "budgets": ["1/4"],
            "n_threads": 1,
            "n_threads_batch": 1,
            "n_ubatch": 368,
        }
        assert run(narrow_path(), ["vt", "passkey"], [400], policies, out, shared=shared, **how) == 6
        lines = sorted(read_lines(out), key=lambda one: str(key_of(one)))
        times = [one.pop(name) for one in lines for name in ("prefill_seconds", "seconds")]
        assert all((time is None) == shared for time in times)
        found.append(lines)
    assert found[0] == found[1] and len({one["output"] for one in found[0]}) > 2


def test_failing_shared_prefill_is_an_error_of_all_policies(smollm2_path: Path, tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    run(smollm2_path, ["cwe"], [100], ["full", "asl"], out, n_samples=1, seeds=[0])
    assert len(read_lines(out)) == 2 and all("needs" in one["error"] for one in read_lines(out))


def test_list_names_every_task() -> None:
    result = invoke("eval", "--list")
    assert result.exit_code == 0 and "niah_multikey_3\n" in result.stdout
    assert "qa_1  (needs SQuAD's dev-v2.0.json: --data qa_1=PATH)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --task"),
        (["--task", "vt", "--length", "600"], "--out"),
        (["--report", "r.jsonl", "--task", "vt"], "--report only reads a file"),
        (["--report", "none.jsonl"], "none.jsonl"),
        (["--task", "qa_1", "--length", "600", "--out", "x", "--data", "vt=x"], "give TASK=PATH"),
        (["--task", "qa_1", "--length", "600", "--out", "x"], "needs SQuAD's dev-v2.0.json"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fails(invoke("eval", *arguments), message)
    assert not list(tmp_path.glob("**/*.jsonl"))


def test_lines_are_json_objects(smollm2_path: Path, tmp_path: Path, fake: type[FakeLlama]) -> None:
    out = tmp_path / "run.jsonl"
    small(smollm2_path, out, n_samples=1, seeds=[3])
    first = json.loads(out.read_text().splitlines()[0])
    assert first["seed"] == 3 and first["score"] in (0.0, 1.0) and first["model_name"] == smollm2_path.name

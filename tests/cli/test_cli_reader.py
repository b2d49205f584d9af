"""`--reader` on the command line: the narrow model reads for SmolLM2, and is refused where it cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli_calls import fails, invoke
from llama_fixtures import narrow_path

from asl_llamacpp.budget.memory import MemoryUse, together
from asl_llamacpp.cli.progress import PrefillBar
from asl_llamacpp.evals import variants
from asl_llamacpp.evals.lines import read_lines
from asl_llamacpp.evals.variants import ReaderFile
from asl_llamacpp.policies import ASL, parse_policy
from asl_llamacpp.policies.read_by import ReadBy
from asl_llamacpp.prefill.report import Progress
from asl_llamacpp.prefill.time_left import TimeLeft

POLICY = "asl:select_k=128,layer=14"
SIZES = ("weights", "compute", "kv", "peak_kv", "host", "hidden", "mask", "total")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "notes.txt"
    file.write_text("\n".join(f"On day {i} nothing happened at the harbour." for i in range(60)), encoding="utf-8")
    return file


def test_ask(smollm2_path: Path, document: Path) -> None:
    options = ["--reader", narrow_path(), "--policy", POLICY, "--max-tokens", "3", "--threads", "1", "--json"]
    result = invoke("ask", "-m", smollm2_path, *options, document, "What happened?")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["reader"] == str(narrow_path()) and told["model"] == str(smollm2_path)
    assert told["policy"] == POLICY and told["report"]["read"]["selection_layer"] == 14
    assert told["report"]["n_selected"] == 128 < told["report"]["n_prompt"]
    assert told["evidence"]


def test_chat(smollm2_path: Path, document: Path) -> None:
    options = ["--reader", narrow_path(), "--policy", POLICY, "--max-tokens", "3", "--threads", "1", "--json", "-q"]
    result = invoke("chat", "-m", smollm2_path, *options, document, input="What happened?\nAnd then?\n")
    assert result.exit_code == 0, result.output
    first, second = (json.loads(line) for line in result.stdout.splitlines())
    assert first["evidence"] and second["evidence"] and first["usage"]["prompt_tokens"] > 128


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--positions", "compact"], "--positions compact is for tokens that a reader chose: give --reader FILE too"),
        (["--reader-threads", "2"], "--reader-n-gpu-layers and --reader-threads are for a reader"),
        (["--reader", "nowhere.gguf"], "no such model file: nowhere.gguf"),
        (["--reader", "@model"], "this reader costs more than it saves: for "),
        (["--reader", "@narrow", "--policy", "snapkv"], "selects no tokens that another model could be given"),
    ],
)
def test_what_is_refused(smollm2_path: Path, document: Path, options: list[str], message: str) -> None:
    files = {"@model": str(smollm2_path), "@narrow": str(narrow_path())}
    policy = [] if "--policy" in options else ["--policy", POLICY]
    options = [files.get(option, option) for option in options]
    fails(invoke("ask", "-m", smollm2_path, *policy, *options, "-q", document, "What?"), message)


def planned(*arguments: Any) -> dict[str, Any]:
    result = invoke("plan", "--prompt", "8000", *map(str, arguments), "--json")
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_plan_sums_both(smollm2_path: Path) -> None:
    told = planned(smollm2_path, "--reader", narrow_path())
    rows = {row["policy"]: row for row in told["policies"]}
    assert told["reader"] == str(narrow_path())
    assert list(rows) == ["full", "asl", "fastkv", "gemfilter", "asl-2pass"]
    (full,) = planned(smollm2_path, "--policy", "full")["policies"]
    assert rows["full"] == full
    asl, theirs = rows["asl"], rows["asl"]["reader"]
    # the model that answers holds what it holds after a prompt of select_k tokens
    cell = 30 * 2 * (192 + 192)
    assert asl["kv"] - theirs["kv"] == 2304 * cell
    assert all(asl[name] >= theirs[name] for name in SIZES) and asl["total"] > theirs["total"] + 2304 * cell
    (alone,) = planned(narrow_path(), "--policy", "asl-2pass")["policies"]
    assert theirs["weights"] == alone["weights"]
    assert "23 of the reader's 30 layers take" in asl["note"]


def test_plan_within_a_memory(smollm2_path: Path) -> None:
    both = [smollm2_path, "--reader", narrow_path(), "--policy", "asl", "--budget", "1GiB"]
    total = planned(*both)["policies"][0]["total"]
    for memory, fits in ((total + 1024, True), (total - 1024, False)):
        (row,) = planned(*both, "--vram", f"{memory / 2**20}MiB")["policies"]
        assert row["fits"] is fits
        assert "MiB of the total are the reader's" in row["note"]


def test_plan_says_that_a_reader_costs_more(smollm2_path: Path) -> None:
    (row,) = planned(smollm2_path, "--reader", smollm2_path, "--policy", "asl")["policies"]
    assert "costs more than it saves" in row["note"]


def test_memory_of_two_models_by_place() -> None:
    ours = (MemoryUse("device 0", 1, 2, 3, 4, 5, 6), MemoryUse("host", 10, 20, 30, 40, 50, 60))
    theirs = (MemoryUse("host", 1, 1, 1, 1, 1, 1),)
    both = MemoryUse("host", 11, 21, 31, 41, 51, 61)
    assert together(ours, theirs) == (ours[0], both)
    assert together(theirs, ours) == (ours[0], both)
    assert together(ours, ours)[0] == MemoryUse("device 0", 2, 4, 6, 8, 10, 12)


def test_the_bar_tells_who_works() -> None:
    with PrefillBar(False, ReadBy(parse_policy("asl:layer=3,select_k=40")), 100) as bar:
        for phase, layers in (("reading", 6), ("answering", 12)):
            for layer in range(2):
                bar(Progress(layer, layers, 50, 100, phase))
            assert bar._bar.tasks[0].description == phase


def test_time_left_of_each_model() -> None:
    """Four layers of the reader are to come, then twelve of the other one, which start anew."""
    left = TimeLeft(ReadBy(parse_policy("asl:layer=3,select_k=40")), 100)
    found = [left(Progress(layer, 6, 0, 100, "reading"), 1.0 * layer) for layer in range(4)]
    assert found == [None, pytest.approx(3.0), pytest.approx(2.0), pytest.approx(1.0)]
    found = [left(Progress(layer, 12, 0, 10, "answering"), 10 + 2.0 * layer) for layer in range(3)]
    assert found == [None, pytest.approx(22.0), pytest.approx(20.0)]


def test_variants_that_another_model_reads_for() -> None:
    reader = ReaderFile(Path("small.gguf"), "compact")
    full, asl = variants(["full", "asl"], ["1/4"], reader)
    assert full.reader is None and str(asl) == "asl read by small, compact at 1/4"
    assert asl.options(1000) == {
        **{"kv_policy": ASL(select_k=250), "kv_budget": None, "reader": Path("small.gguf")},
        **{"reader_options": {"allow_slower": True}, "positions": "compact"},
    }
    for spec in ("snapkv", "asl+budget"):
        with pytest.raises(ValueError, match=r"reads|selects no tokens"):
            variants([spec], ["1/4"], reader)


@pytest.mark.slow
def test_eval(tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--length", "300", "--policy", "full", "--policy", "asl", "--budget", "1/4", "--samples", "1"]
    for reader in ([], ["--reader", narrow_path()]):
        result = invoke(
            *("eval", "-m", narrow_path(), "--task", "passkey", *options, "--seeds", "1", "--threads", "1", "-q"),
            *(*reader, "--out", out),
        )
        assert result.exit_code == 0, result.output
    lines = read_lines(out / "run.jsonl")
    assert [line["policy"] for line in lines] == ["full", "asl", f"asl read by {narrow_path().stem}"]
    assert [line["n_selected"] for line in lines][1:] == [75, 75]
    assert lines[2]["selection_layer"] == 22 and not any("error" in line for line in lines)

"""`asl-llamacpp plan`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_calls import fails, invoke

from asl_llamacpp.policies import POLICIES

MIB = 2**20
WEIGHTS = 96_576_768  # SmolLM2-135M-Instruct Q4_1
CELL = 30 * 2 * (192 + 192)  # f16 K and V of a token in SmolLM2's 30 layers
HIDDEN = 576 * 4  # a token's hidden state


def planned(*arguments: str | Path | int) -> dict[str, Any]:
    result = invoke("plan", *map(str, arguments), "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def by_policy(*arguments: str | Path | int) -> dict[str, dict[str, Any]]:
    return {row["policy"]: row for row in planned(*arguments)["policies"]}


def table(*arguments: str | Path | int) -> tuple[dict[str, list[str]], str]:
    """Cells by policy, and what stands beneath the table."""
    result = invoke("plan", *map(str, arguments))
    assert result.exit_code == 0, result.output
    rows, _, notes = result.stdout.partition("\n\n")
    split = [[cell.strip() for cell in row.split("  ") if cell.strip()] for row in rows.splitlines()]
    return {row[0]: row[1:] for row in split}, notes


def test_every_policy_without_limits(smollm2_path: Path) -> None:
    told = planned(smollm2_path, "--prompt", 5000)
    assert (told["prompt"], told["n_ctx"], told["weights"]) == (5000, 5376, WEIGHTS)
    assert (told["vram"], told["budget"], told["unsupported"]) == (None, None, None)
    rows = {row["policy"]: row for row in told["policies"]}
    assert list(rows) == list(POLICIES)
    full = rows["full"]
    assert (full["kv"], full["peak_kv"], full["hidden"]) == (5376 * CELL, 5376 * CELL, 0)
    assert full["total"] == WEIGHTS + 5376 * CELL + full["compute"]
    asl = rows["asl"]  # l_max="auto" is layer 22 of 30
    assert asl["kv"] == asl["peak_kv"] == (23 * 5376 + 7 * 2304) * CELL // 30
    assert asl["mask"] == (5376 + 512 + 256) * 512 * 2
    assert asl["hidden"] == (5000 + 2048) * HIDDEN  # the prompt's, kept for the next question, and the selected ones'
    assert asl["total"] == WEIGHTS + asl["kv"] + asl["hidden"] + asl["mask"] + asl["compute"]
    assert all(0 < row["compute"] < 200 * MIB for row in rows.values())
    assert (rows["snapkv"]["keep"], rows["snapkv"]["kv"]) == (2048, 2304 * CELL)
    assert rows["snapkv"]["peak_kv"] == (2304 + 5376 // 30) * CELL + 5376 % 30 * CELL // 30
    assert all(row["fits"] is None and row["forced_layer"] is None for row in rows.values())


def test_memory_is_shared_out(smollm2_path: Path) -> None:
    memory = 225 * MIB
    rows = by_policy(smollm2_path, "--prompt", 5000, "--vram", "225MiB")
    assert rows["full"]["fits"] is False and rows["full"]["total"] > memory
    assert rows["asl"]["fits"] and 9 < rows["asl"]["forced_layer"] < 22
    assert rows["fastkv"]["fits"] and rows["snapkv"]["keep"] > 2048
    for name in ("asl", "fastkv", "snapkv", "gemfilter", "asl-2pass"):
        row = rows[name]
        parts = sum(row[part] for part in ("weights", "compute", "hidden", "mask"))
        assert row["fits"] and parts < row["total"] <= min(memory, parts + row["peak_kv"])


def test_nothing_fits(smollm2_path: Path) -> None:
    rows = by_policy(smollm2_path, "--prompt", 5000, "--vram", "90MiB")  # less than the weights
    assert not any(row["fits"] for row in rows.values())
    assert all(
        "are needed in all, 90.0 MiB are there" in row["note"] for row in rows.values() if row["policy"] != "full"
    )


def test_a_budget_of_ones_own(smollm2_path: Path) -> None:
    arguments = (smollm2_path, "--prompt", 5000, "--policy", "snapkv", "--policy", "full")
    rows = by_policy(*arguments, "--budget", "10%", "--vram", "200MiB")
    assert list(rows) == ["snapkv", "full"]
    assert (rows["snapkv"]["keep"], rows["snapkv"]["fits"]) == (500, True)
    assert not rows["full"]["fits"] and "keeps all 5000 tokens" in rows["full"]["note"]
    assert not by_policy(*arguments, "--budget", "10%", "--vram", "100MiB")["snapkv"]["fits"]  # the budget is kept, but
    assert by_policy(*arguments, "--budget", "60MiB")["snapkv"]["kv"] <= 60 * MIB


def test_the_table(smollm2_path: Path) -> None:
    rows, notes = table(smollm2_path, "--prompt", 100_000, "--vram", "1900MiB")
    columns = ["fits", "weights", "compute", "KV after", "KV peak", "hidden", "mask", "total peak", "forced layer", "B"]
    assert rows["policy"] == columns
    assert list(rows)[1:] == list(POLICIES)
    assert rows["full"][:2] == ["no", "92.1 MiB"]
    assert rows["asl"][0] == "yes"
    assert "asl: selection after layer" in notes
    assert "trained for 8,192 tokens" in notes
    assert "driver takes for itself comes on top" in notes


def test_smaller_cells_and_windows(smollm2_path: Path, tiny_path: Callable[[str], Path]) -> None:
    plain = by_policy(smollm2_path, "--prompt", 5000)["full"]["kv"]
    quantized = by_policy(smollm2_path, "--prompt", 5000, "--type-k", "q8_0", "--type-v", "q8_0")["full"]["kv"]
    assert quantized == pytest.approx(plain * 34 / 64, rel=1e-3)
    assert by_policy(smollm2_path, "--prompt", 5000, "--ctx", 8192)["full"]["kv"] == 8192 * CELL
    model = tiny_path("tiny-gemma2")
    whole, ring = (by_policy(model, "--prompt", 3000, flag)["full"]["kv"] for flag in ("--swa-full", "--no-swa-full"))
    assert whole == 6 * 3328 * 2 * 256 and ring == 3 * (3328 + 768) * 2 * 256  # the ring: 48 + 512 rounded up
    smaller = by_policy(model, "--prompt", 3000, "--no-swa-full", "--ubatch", 64)["full"]["kv"]
    assert smaller == 3 * (3328 + 256) * 2 * 256


def test_a_model_that_only_full_serves(tiny_path: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asl_llamacpp.budget.model_shape.unsupported_reason", lambda model: "it is recurrent")
    arguments = (tiny_path("tiny-llama"), "--prompt", 3000)
    told = planned(*arguments, "--vram", "1GiB")
    assert told["unsupported"] == "it is recurrent"
    (row,) = told["policies"]
    assert (row["policy"], row["fits"], row["kv"]) == ("full", True, 6 * 3328 * 2 * 256)
    assert row["total"] == told["weights"] + row["kv"] + row["compute"]
    assert not planned(*arguments, "--vram", "1GiB", "--budget", "5MiB")["policies"][0]["fits"]
    assert not planned(*arguments, "--vram", "5MiB")["policies"][0]["fits"]
    rows, notes = table(*arguments)
    assert list(rows) == ["policy", "full"] and rows["full"][0] == "-"
    assert "Only full can serve this model: it is recurrent." in notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--vram", "8"), "--vram 8: give bytes with a unit"),
        (("--vram", "much"), "--vram much: give bytes with a unit"),
        (("--budget", "0"), "must be more than 0"),
        (("--policy", "best"), "unknown policy 'best'"),
        (("--policy", "asl:layer=44"), "the model's 30 layers are 0 to 29"),
        (("--type-k", "q9"), "unknown KV type 'q9'"),
        (("--ctx", "100"), "a prompt of 5000 tokens does not fit the context of n_ctx=100"),
    ],
)
def test_bad_input_is_one_line(smollm2_path: Path, arguments: tuple[str, ...], message: str) -> None:
    fails(invoke("plan", smollm2_path, "--prompt", "5000", *arguments), message)


def test_no_model(tmp_path: Path) -> None:
    fails(invoke("plan", tmp_path / "nowhere.gguf", "--prompt", "10"), "no such model file")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(60))
    fails(invoke("plan", broken, "--prompt", "10"), "cannot load")

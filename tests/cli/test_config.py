"""The configuration file: what it may say, who overrides whom, and what is said about a mistake in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from cli_calls import fails, invoke
from llama_fixtures import narrow_path
from places import ROOT

from asl_llamacpp.cli import config


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    path = tmp_path / "own.toml"
    monkeypatch.setenv("ASL_CONFIG", str(path))
    return path.write_text


def planned(*options: str | int) -> dict[str, Any]:
    result = invoke("plan", narrow_path(), "--prompt", 100, "--json", *options)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASL_CONFIG")
    assert config.config_path() == platformdirs.user_config_path("asl_llamacpp", appauthor=False) / "config.toml"
    monkeypatch.setenv("ASL_CONFIG", "~/own.toml")
    assert config.config_path() == Path.home() / "own.toml"


@pytest.mark.parametrize("key", ["n-ctx", "n_ctx", "ctx"])
def test_an_option_of_all_commands(written: Any, key: str) -> None:
    written(f"{key} = 512")
    assert planned()["n_ctx"] == 512
    assert planned("--n-ctx", 768)["n_ctx"] == 768


def test_the_table_of_a_command_beats_the_rest(written: Any) -> None:
    written('n-ctx = 512\nbudget = 64\nport = 9000\n[plan]\nn-ctx = 768\npolicy = ["full", "asl"]\n[ask]\nquiet = true')
    told = planned()
    assert told["n_ctx"] == 768 and told["budget"] == "64"
    assert [row["policy"] for row in told["policies"]] == ["full", "asl"]


def test_an_option_that_may_be_repeated_is_no_matter_of_all_commands(written: Any) -> None:
    written('policy = "snapkv"')
    assert len(planned()["policies"]) > 1


def test_flag_before_environment_before_file(written: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written('model = "~/in-the-file.gguf"')
    document = tmp_path / "a.txt"
    document.write_text("The key is under the mat.")
    for command in (("ask", document, "Where?"), ("info",)):
        fails(invoke(*command), f"no such model file: {Path.home() / 'in-the-file.gguf'}")
        monkeypatch.setenv("ASL_MODEL", "in-the-environment.gguf")
        fails(invoke(*command), "no such model file: in-the-environment.gguf")
        flag = ["flag.gguf"] if command == ("info",) else ["-m", "flag.gguf"]
        fails(invoke(*command, *flag), "no such model file: flag.gguf")
        monkeypatch.delenv("ASL_MODEL")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgt = 64", "budgt is no option: did you mean budget?"),
        ("prompt-length = 3\n", "prompt-length is no option"),
        ("[plan]\nbudgt = 64", "budgt in [plan] is no option of plan: did you mean budget?"),
        ("[plan]\nport = 64", "port in [plan] is no option of plan"),
        ("[plam]\nbudget = 64", "[plam] is no command: did you mean plan?"),
        ("n-ctx = 0", "n-ctx = 0: Input should be greater than or equal to 1"),
        ('n-ctx = "many"', "n-ctx = 'many': Input should be a valid integer"),
        ("n-ctx = [1]", "n-ctx = [1] should be one value"),
        ("swa-full = 1", "swa-full = 1 should be true or false"),
        ("[plan]\npolicy = 'asl'", "policy = 'asl' should be a list"),
        ("help = true", "help is no option"),
        ("n-ctx =", "is no TOML file: "),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(written: Any, tmp_path: Path, text: str, message: str) -> None:
    written(text)
    result = invoke("plan", narrow_path(), "--prompt", 100)
    fails(result, message)
    assert f"error: {tmp_path / 'own.toml'}" in result.stderr


def test_help_is_there_whatever_the_file_says(written: Any) -> None:
    written("nonsense")
    assert invoke("plan", "--help").exit_code == 0
    assert invoke("--help").exit_code == 0


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ASL_CONFIG", str(tmp_path / "none.toml"))
    fails(invoke("info"), f"ASL_CONFIG names {tmp_path / 'none.toml'}, and there is no such file")


def test_a_mistake_on_the_command_line_is_not_blamed_on_the_file(written: Any) -> None:
    written("n-ctx = 512")
    result = invoke("plan", narrow_path(), "--prompt", 0)
    assert result.exit_code == 2 and "own.toml" not in result.stderr and "--prompt" in result.stderr


@pytest.mark.parametrize("command", ["ask", "chat", "plan", "serve", "info"])
def test_the_page_s_example_is_right(written: Any, command: str) -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    written(page.partition("```toml\n")[2].partition("```")[0])
    arguments = {"ask": ("a.txt", "Where?"), "chat": ("a.txt",), "plan": ("--prompt", "100")}.get(command, ())
    result = invoke(command, *arguments)
    assert result.exit_code == 2 and "Qwen3-4B-Q4_K_M.gguf" in result.stderr, result.output

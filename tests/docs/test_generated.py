"""What programs write into the docs is what they would write now: `make docs` runs them all."""

from __future__ import annotations

import importlib
import re

import draw_architecture
import pages
import pytest
import write_command_line
import write_models
from places import ROOT

from asl_llamacpp.cli.chat_commands import NAMES

STALE = "`make docs` writes it anew"


def test_the_options_of_every_command_are_those_of_the_program() -> None:
    page = write_command_line.PAGE.read_text(encoding="utf-8")
    assert page == write_command_line.with_commands(page), STALE
    headings = set(re.findall(r"^## (.+)", page, re.MULTILINE))
    assert set(write_command_line.commands()) == headings - {"Configuration"}
    for name in NAMES:
        assert f"`{name}" in page, f"docs/command-line.md does not tell of {name}"


def test_the_memory_that_models_take_is_what_plan_says() -> None:
    page = write_models.PAGE.read_text(encoding="utf-8")
    assert page == write_models.with_table(page), STALE
    eight = next(model for model in write_models.MODELS if model.name == "Llama 3.1 8B")
    assert write_models.fits(eight, "full", 16 * 1024, 8 << 30)
    assert not write_models.fits(eight, "full", 32 * 1024, 8 << 30)


def test_the_picture_shows_the_imports_as_they_are() -> None:
    assert draw_architecture.PICTURE.read_text(encoding="utf-8") == draw_architecture.draw(), STALE


def test_every_wing_is_described() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(described) == draw_architecture.wings()
    assert {step.wing for step in draw_architecture.DOWN + draw_architecture.UP} <= set(described)


def test_floors_of_wings() -> None:
    graph = {"top": {"middle", "base"}, "middle": {"base"}, "base": set(), "side": {"base"}}
    assert draw_architecture.floors(graph) == [["base"], ["middle", "side"], ["top"]]
    assert list(draw_architecture.direct(graph)) == [("middle", "base"), ("side", "base"), ("top", "middle")]
    with pytest.raises(ValueError, match="in a loop: "):
        draw_architecture.floors({"a": {"b"}, "b": {"a"}})


def test_error_messages_in_the_docs_are_those_of_the_program() -> None:
    table = (ROOT / "docs" / "install.md").read_text(encoding="utf-8").partition("## Errors and what to do")[2]
    quoted = re.findall(r"^\| `(.+?)`", table, re.MULTILINE)
    assert len(quoted) > 10
    folders = (ROOT / name for name in ("asl_llamacpp", "vendor"))
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in (".py", ".cpp")]
    files += [ROOT / "Makefile", ROOT / "CMakeLists.txt"]
    source = "\n".join(path.read_text(encoding="utf-8") for path in files)
    assert not [message for message in quoted if message not in source]


def test_paths_and_programs_in_the_docs_are_there() -> None:
    for page in pages.pages():
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"`((?:asl_llamacpp|benchmarks|docs|examples|patches|tests|vendor)/[\w./-]*)`", text):
            to_write = re.search(rf"^One file, `{re.escape(path)}`", text, re.MULTILINE)
            there = (ROOT / path).exists() or to_write or path == "vendor/llama.cpp"  # which is one of the release's
            assert there, f"{page.name}: there is no {path}"
        for module in re.findall(r"python -m (benchmarks[\w.]*)", text):
            is_folder = ROOT.joinpath(*module.split(".")).is_dir()
            importlib.import_module(f"{module}.__main__" if is_folder else module)

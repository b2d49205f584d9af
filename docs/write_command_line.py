"""Writes the options of every command into command-line.md, between its marks.

python docs/write_command_line.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from asl_llamacpp.cli import app

PAGE = Path(__file__).with_name("command-line.md")
BEGIN, END = "<!-- {}: written by `make docs` -->\n", "<!-- end of {} -->"


def commands() -> dict[str, Any]:
    """The click command of each name."""
    group: Any = get_command(app)
    context = group.make_context("asl-llamacpp", [], resilient_parsing=True)
    return {name: group.get_command(context, name) for name in group.list_commands(context)}


def described(name: str, command: Any) -> str:
    """What a command does, and its arguments and options, in Markdown."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    arguments = [parameter for parameter in shown if parameter.param_type_name == "argument"]
    options = [parameter for parameter in shown if parameter.param_type_name == "option"]
    usage = " ".join(["asl-llamacpp", name, *(["[OPTIONS]"] * bool(options)), *map(_placeholder, arguments)])
    rows = [*(_row(f"`{_placeholder(argument)}`", argument) for argument in arguments), *map(_option, options)]
    text = inspect.cleandoc(command.help or "")
    return "\n".join([text, "", f"    {usage}", *([""] if rows else []), *_table(rows)]) + "\n"


def _table(rows: list[tuple[str, str, str]]) -> Iterator[str]:
    if rows:
        yield "| | default | |"
        yield "| --- | --- | --- |"
        yield from (f"| {' | '.join(row)} |".replace("|  |", "| |") for row in rows)


def _placeholder(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _option(option: Any) -> tuple[str, str, str]:
    names = [*option.opts, *(f"/ {name}" for name in option.secondary_opts)]
    return _row(" ".join(f"`{name.strip('/ ')}`" for name in names), option)


def _row(name: str, parameter: Any) -> tuple[str, str, str]:
    return name, _default(parameter), _escaped(getattr(parameter, "help", None) or "")


def _default(parameter: Any) -> str:
    if isinstance(parameter.show_default, str):
        return _escaped(parameter.show_default)
    value = parameter.default
    if parameter.required or value is None or callable(value) or parameter.show_default is False:
        return ""
    if isinstance(value, bool):
        return "on" if value and parameter.secondary_opts else ""
    return f"`{getattr(value, 'value', value)}`"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def with_commands(page: str) -> str:
    """The page's text with every command described between its marks."""
    for name, command in commands().items():
        begin, end = BEGIN.format(name), END.format(name)
        before, found, rest = page.partition(begin)
        _, ended, after = rest.partition(end)
        assert found and ended, f"command-line.md has no marks for {name}"
        page = before + begin + described(name, command) + end + after
    return page


if __name__ == "__main__":
    PAGE.write_text(with_commands(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

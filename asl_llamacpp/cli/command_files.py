"""The files in `commands/` as commands that are imported when they run, not when they are listed."""

from __future__ import annotations

import ast
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from . import commands
from .config import Configuration, bad_value, read_config
from .errors import one_line_errors


class CommandFile(TyperCommand):
    """The command in the file `commands/<module>.py`, its function of the same name.

    Its help is read from the source; what it takes and does comes from the module, at the first use of these.
    """

    def __init__(self, module: str) -> None:
        super().__init__(module.replace("_", "-"))
        self.module = module
        del self.help, self.params, self.callback

    def __getattr__(self, name: str) -> Any:
        if name == "help":
            self.help = _docstring(self.module)
        elif name in ("params", "callback"):
            with one_line_errors():  # Ctrl-C while the command is imported
                loaded = _load(self.module)
            self.params, self.callback = loaded.params, loaded.callback
        else:
            raise AttributeError(name)
        return vars(self)[name]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """With the configuration's values as defaults; help is there whatever that file says."""
        if "--help" not in args:
            with one_line_errors():
                told = read_config()
                if told:
                    configuration = Configuration(told, _all_parameters)
                    extra["default_map"] = configuration.defaults(str(self.name), self.params)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except typer.BadParameter as error:
            with one_line_errors():
                raise bad_value(error) or error from None


class CommandFolder(TyperGroup):
    """All commands of the folder, by name."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for module in _modules():
            self.add_command(CommandFile(module))


def _modules() -> list[str]:
    return sorted(found.name for found in iter_modules(commands.__path__))


@cache
def _all_parameters() -> dict[str, list[Any]]:
    """What each command takes."""
    return {module.replace("_", "-"): _load(module).params for module in _modules()}


def _docstring(module: str) -> str | None:
    spec = find_spec(f"{commands.__name__}.{module}")
    assert spec is not None and spec.origin is not None  # it was listed
    for node in ast.parse(Path(spec.origin).read_bytes()).body:
        if isinstance(node, ast.FunctionDef) and node.name == module:
            return ast.get_docstring(node)
    raise ImportError(f"{spec.origin} has no function {module}, which would be the command")


def _load(module: str) -> Any:
    alone = typer.Typer(add_completion=False)
    alone.command()(getattr(import_module(f"{commands.__name__}.{module}"), module))
    return typer.main.get_command(alone)

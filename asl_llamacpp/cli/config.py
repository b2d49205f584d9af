"""The configuration file: defaults for options of all commands, or of one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

VARIABLE = "ASL_CONFIG"
"""Names another file."""


class ConfigError(ValueError):
    """What is wrong in which file."""


def config_path() -> Path:
    """Where the file is, or would be."""
    import platformdirs

    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    return platformdirs.user_config_path("asl_llamacpp", appauthor=False) / "config.toml"


def read_config() -> dict[str, Any]:
    """What the file says; empty where there is none.

    Raises:
        ConfigError: it is no TOML file.
        OSError: it cannot be read, or `ASL_CONFIG` names none.
    """
    path = config_path()
    if not path.exists():
        if os.environ.get(VARIABLE):
            raise FileNotFoundError(f"{VARIABLE} names {path}, and there is no such file")
        return {}
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is no TOML file: {error}") from None


class Configuration:
    """What the file says about options.

    Args:
        told: options of all commands that have them, and tables for one command each.
        commands: gives the parameters of each command, by its name; asked only where those of one do not tell enough.
    """

    def __init__(self, told: Mapping[str, Any], commands: Callable[[], Mapping[str, Iterable[Any]]]) -> None:
        self._everywhere = {key: value for key, value in told.items() if not isinstance(value, dict)}
        self._tables = {key: value for key, value in told.items() if isinstance(value, dict)}
        self._commands = commands

    def defaults(self, command: str, parameters: Iterable[Any]) -> dict[str, Any]:
        """The values for a command, by the names of its parameters.

        Raises ConfigError for a key that no command takes, and for a value that its option does not.
        """
        own = _by_key(parameters)
        values = {}
        for key, value in self._everywhere.items():
            parameter = own.get(_normal(key))
            if parameter is None:
                self._check_elsewhere(key)
            elif not parameter.multiple:
                values[parameter.name] = _checked(parameter, value, key)
        for name in self._tables:
            if name != command and name not in self._commands():
                raise _unknown(f"[{name}]", name, self._commands(), "command")
        for key, value in self._tables.get(command, {}).items():
            parameter = own.get(_normal(key))
            if parameter is None:
                raise _unknown(f"{key} in [{command}]", _normal(key), own, f"option of {command}")
            values[parameter.name] = _checked(parameter, value, key)
        return values

    def _check_elsewhere(self, key: str) -> None:
        known = {option for parameters in self._commands().values() for option in _by_key(parameters)}
        if _normal(key) not in known:
            raise _unknown(key, _normal(key), sorted(known), "option")


def _by_key(parameters: Iterable[Any]) -> dict[str, Any]:
    """By what options are called; `model` is one for every command."""
    found: dict[str, Any] = {}
    for parameter in parameters:
        if parameter.param_type_name == "option":
            found |= {_normal(one.lstrip("-")): parameter for one in parameter.opts if one.startswith("--")}
        elif parameter.name == "model":
            found["model"] = parameter
    return {key: parameter for key, parameter in found.items() if key != "help"}


def _normal(key: str) -> str:
    return key.replace("_", "-")


def _checked(parameter: Any, value: Any, key: str) -> Any:
    """The value, if it is of the kind that the option takes; what it says is checked by the option itself."""
    several, is_flag = getattr(parameter, "multiple", False), getattr(parameter, "is_flag", False)
    if isinstance(value, list) != several or isinstance(value, bool) != is_flag:
        wanted = "a list" if several else "true or false" if is_flag else "one value"
        raise ConfigError(f"{config_path()}: {key} = {value!r} should be {wanted}")
    return value


def bad_value(error: Any) -> ConfigError | None:
    """What to say about an option's value, of typer's `BadParameter`, that came from the file; None: it did not."""
    context, parameter = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or parameter is None or not context.default_map:
        return None
    source = context.get_parameter_source(parameter.name)
    if source is None or source.name != "DEFAULT_MAP":
        return None
    value = context.default_map[parameter.name]
    return ConfigError(f"{config_path()}: {parameter.name.replace('_', '-')} = {value!r}: {error.message}")


def _unknown(shown: str, key: str, known: Iterable[str], what: str) -> ConfigError:
    near = get_close_matches(key, list(known), n=1)
    hint = f": did you mean {near[0]}?" if near else ""
    return ConfigError(f"{config_path()}: {shown} is no {what}{hint}")

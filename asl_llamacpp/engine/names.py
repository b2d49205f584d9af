"""Keyword arguments by name: llama-cpp-python takes any, and leaves those that it does not know unread."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

_TAKES_ALL = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


@lru_cache(maxsize=16)
def names_of(*functions: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments that these functions name, without `self`."""
    found = [
        parameter.name
        for function in functions
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind not in _TAKES_ALL and parameter.name != "self"
    ]
    return tuple(dict.fromkeys(found))


def check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """TypeError for the first of `given` that `known` does not have, with the name that comes nearest."""
    known = list(known)
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f": did you mean {near[0]}?" if near else ""
            raise TypeError(f"{what} has no argument {name!r}{hint}")

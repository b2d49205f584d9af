"""What has to hold on systems that the tests do not run on."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec, resolve_name
from pathlib import Path

import pytest
from places import ROOT

ADAPTERS = sorted((ROOT / "asl_llamacpp" / "integrations").glob("*.py"))

POSIX_ONLY = ["fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"]

IMPORT_ALL = f"""
import builtins, importlib, pkgutil

real = builtins.__import__

def without_posix(name, globals=None, locals=None, fromlist=(), level=0):
    if name in {POSIX_ONLY} and str((globals or {{}}).get("__name__")).startswith("asl_llamacpp"):
        raise ModuleNotFoundError(f"{{globals['__name__']}} imports {{name}}, which Windows does not have")
    return real(name, globals, locals, fromlist, level)

def is_ours(error):
    return error.name is None or error.name.partition(".")[0] == "asl_llamacpp"

builtins.__import__ = without_posix
import asl_llamacpp
names = [module.name for module in pkgutil.walk_packages(asl_llamacpp.__path__, "asl_llamacpp.")]
for name in names:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:  # adapters to packages that need not be here; our own modules must be
            if not name.startswith("asl_llamacpp.integrations.") or is_ours(error):
                raise
print(len(names))
"""


def test_no_module_imports_what_windows_lacks() -> None:
    result = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 100


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.stem)
def test_adapters_import_what_there_is_of_ours(adapter: Path) -> None:
    """Also where the package that one adapts to is missing, and its first import is the last that runs."""
    for node in ast.walk(ast.parse(adapter.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        name = resolve_name("." * node.level + (node.module or ""), "asl_llamacpp.integrations")
        if name.partition(".")[0] == "asl_llamacpp" and name != "asl_llamacpp.integrations":
            module = import_module(name)
            for alias in node.names:
                assert hasattr(module, alias.name) or find_spec(f"{name}.{alias.name}"), (name, alias.name)

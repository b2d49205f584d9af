"""What has to hold on systems that the tests do not run on."""

from __future__ import annotations

import subprocess
import sys

POSIX_ONLY = ["fcntl", "grp", "posix", "pty", "pwd", "resource", "termios", "tty"]

IMPORT_ALL = f"""
import builtins, importlib, pkgutil

real = builtins.__import__

def without_posix(name, globals=None, locals=None, fromlist=(), level=0):
    if name in {POSIX_ONLY} and str((globals or {{}}).get("__name__")).startswith("asl_llamacpp"):
        raise ModuleNotFoundError(f"{{globals['__name__']}} imports {{name}}, which Windows does not have")
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = without_posix
import asl_llamacpp
names = [module.name for module in pkgutil.walk_packages(asl_llamacpp.__path__, "asl_llamacpp.")]
for name in names:
    if not name.endswith("__main__"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:  # adapters to packages that need not be here
            if "Windows" in str(error) or not name.startswith("asl_llamacpp.integrations."):
                raise
print(len(names))
"""


def test_no_module_imports_what_windows_lacks() -> None:
    result = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 100

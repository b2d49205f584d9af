"""What a command imports before it works: seconds depend on the machine, modules do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import asl_llamacpp
from asl_llamacpp.engine.library import LIB_DIR

FOR_OTHERS = {
    *("matplotlib", "scipy", "statsmodels", "prompt_toolkit", "pypdfium2", "selectolax", "portalocker"),
    *("asl_llamacpp.documents", "asl_llamacpp.llama.llama", "asl_llamacpp.prefill", "asl_llamacpp.evals"),
}
"""Heavy modules, and those that only a prompt needs."""

REPORT = """
import json, sys
{}
print(json.dumps(sorted(sys.modules)))
"""
COMMAND = """
from asl_llamacpp.cli import app
app(sys.argv[1:], standalone_mode=False)
"""


def imported(code: str, *arguments: str | Path) -> set[str]:
    """Modules that are loaded when `code` has run in a new process."""
    command = [sys.executable, "-c", REPORT.format(code), *map(str, arguments)]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]))


def ours(modules: set[str]) -> set[str]:
    return {name.removeprefix("asl_llamacpp.") for name in modules if name.startswith("asl_llamacpp.")}


def test_the_list_of_commands_imports_no_command() -> None:
    modules = imported(COMMAND, "--help")
    assert ours(modules) == {
        *("cli", "cli.command_files", "cli.commands", "cli.config", "cli.errors", "cli.program", "cli.version"),
        *("engine", "engine.library", "engine.version"),
    }
    assert not modules & {"numpy", "llama_cpp", "cffi", "gguf", *FOR_OTHERS}


def test_a_command_imports_no_other() -> None:
    modules = imported(COMMAND, "rpc-server", "--help")
    assert {name for name in ours(modules) if name.startswith("cli.commands.")} == {"cli.commands.rpc_server"}
    assert not modules & {"numpy", *FOR_OTHERS}


def test_info_imports_what_reads_metadata(smollm2_path: Path) -> None:
    modules = imported(COMMAND, "info", smollm2_path)
    assert "cli.commands.info" in ours(modules)
    assert not modules & {"gguf", *FOR_OTHERS}


def test_the_package_waits_for_the_first_use_of_a_name() -> None:
    assert ours(imported("import asl_llamacpp")) == {"engine", "engine.library", "engine.version"}
    modules = imported("from asl_llamacpp import parse_policy")
    assert "policies" in ours(modules) and not modules & {"llama_cpp", *FOR_OTHERS}


def test_whatever_comes_first_the_library_is_ours() -> None:
    """Importing the package decides, not the first use of a name in it."""
    code = "import asl_llamacpp, llama_cpp; assert llama_cpp.llama_cpp._lib._name.startswith(sys.argv[1])"
    assert "asl_llamacpp.engine.binding" not in imported(code, LIB_DIR)


def test_every_public_name_is_there() -> None:
    assert {"Llama", "Document", "parse_policy", "policies", "evals", "__version__"} <= set(asl_llamacpp.__all__)
    assert dir(asl_llamacpp) == sorted(asl_llamacpp.__all__)
    for name in asl_llamacpp.__all__:
        assert getattr(asl_llamacpp, name) is not None
    with pytest.raises(AttributeError, match="nothing_of_this_name"):
        _ = asl_llamacpp.nothing_of_this_name

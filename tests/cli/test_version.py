"""`asl-llamacpp --version`, and that the version is kept in one place."""

from __future__ import annotations

from importlib.metadata import version

from cli_calls import invoke

import asl_llamacpp


def test_the_program_the_package_and_its_metadata_tell_the_same_version() -> None:
    told = invoke("--version")
    assert (told.exit_code, told.stdout) == (0, f"asl-llamacpp {asl_llamacpp.__version__}\n")
    assert version("asl_llamacpp") == asl_llamacpp.__version__, "the metadata is older: install the package again"


def test_without_a_command_it_prints_help() -> None:
    told = invoke()
    assert "Usage:" in told.output and "--version" in told.output and "rpc-server" in told.output

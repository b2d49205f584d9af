"""Calls of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from asl_llamacpp.cli import app


def invoke(*arguments: str | Path, **options: Any) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], **options)


def fails(result: Any, message: str, code: int = 2) -> None:
    """It ended with one line that has `message`, and nothing on stdout."""
    assert result.exit_code == code, result.output
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""

"""The wings of the package: few of them, and imports only downwards; see docs/architecture.md."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

MADE = {"lib", "__pycache__"}
CHECK = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"


def test_the_package_has_few_rooms() -> None:
    assert len([path for path in (ROOT / "asl_llamacpp").iterdir() if path.name not in MADE]) <= 16


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("policies/full.py", ""),
        ("policies/full.py", "from ..store import settings"),
        ("sources/text.py", "from . import html"),
    ],
)
def test_an_import_upwards_or_in_a_loop_is_refused(tmp_path: Path, module: str, line: str) -> None:
    """On a copy under another name, since an editable install would be found first."""
    house = tmp_path / "house"
    shutil.copytree(ROOT / "asl_llamacpp", house, ignore=shutil.ignore_patterns(*MADE))
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(settings.replace("asl_llamacpp", "house"), encoding="utf-8")
    with (house / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {CHECK}"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) == (line == ""), result.stdout
    assert ("BROKEN" in result.stdout) == (line != "")

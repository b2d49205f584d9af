"""The command `llm` itself, with its plugin and the embedded model: a question about files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pdf_files import pdf_bytes
from places import ROOT

from asl_llamacpp.llama.models import default_model

pytest.importorskip("llm")

LINES = [
    "The number of the RFC about carrier pigeons is 1149.",
    "It is a joke, and pigeons carry it on the first of April.",
]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`llm` in a folder of its own, with this checkout's plugin."""
    command = "import llm.cli; from llm.plugins import load_plugins, pm; load_plugins()\n"
    command += "from asl_llamacpp.integrations import llm_plugin\n"
    command += "pm.is_registered(llm_plugin) or pm.register(llm_plugin)\nllm.cli.cli()"
    environment = {**os.environ, "LLM_USER_PATH": str(folder / "llm"), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", command, *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.parametrize("way", [("-f", "asl:report.pdf"), ("-a", "report.pdf")], ids=["fragment", "attachment"])
def test_a_question_about_a_pdf_and_one_more(tmp_path: Path, way: tuple[str, str]) -> None:
    default_model()  # FileNotFoundError with the pip command, if it is not installed
    (tmp_path / "report.pdf").write_bytes(pdf_bytes(LINES))
    options = ["-o", "threads", "1", "-o", "max_tokens", "24"]
    first = run(tmp_path, "-m", "asl", *way, *options, "What is the number of the RFC about carrier pigeons?")
    assert first.returncode == 0, first.stderr
    assert "1149" in first.stdout
    more = run(tmp_path, "-c", *options, "And when is it carried?")
    assert more.returncode == 0 and more.stdout.strip(), more.stderr


def test_a_pdf_that_llm_read_as_text_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """`llm` reads a plain -f itself: where that does not fail, its text is the file's markup."""
    (tmp_path / "report.pdf").write_bytes(pdf_bytes(LINES))
    found = run(tmp_path, "-m", "asl", "-f", "report.pdf", "What is the number?")
    assert found.returncode != 0 and found.stdout == ""
    assert "-f asl:report.pdf" in found.stderr and "Traceback" not in found.stderr

"""Mistakes that are easily made on a command line: each ends in one line that says what to do, before any work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import gguf
import pytest
from cli_calls import fails, invoke
from llama_fixtures import load_narrow, narrow_path

CLI = (sys.executable, "-m", "asl_llamacpp.cli")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "a.txt"
    path.write_text("The key is under the mat. " * 5)
    return path


def run(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("last", ["b.md", "folder", "-", "https://example.com/b.pdf"])
def test_a_document_is_no_question(document: Path, tmp_path: Path, last: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "b.md").write_text("# B")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    fails(invoke("ask", "a.txt", last), "is a document, and no question follows")
    fails(invoke("ask", last), "is a document, and no question follows")


def test_a_question_alone_misses_its_document() -> None:
    fails(invoke("ask", "Where is the key?"), "no document to ask")


def test_sizes_and_budgets_name_their_option(document: Path) -> None:
    fails(invoke("plan", narrow_path(), "--prompt", 100, "--vram", "lots"), "error: --vram lots: give bytes")
    fails(invoke("plan", narrow_path(), "--prompt", 100, "--vram", "2048"), "error: --vram 2048: give bytes")
    for command in (("plan", narrow_path(), "--prompt", 100), ("ask", document, "Where?")):
        result = invoke(*command, "--budget", "lots", *(["-m", narrow_path()] if command[0] == "ask" else []))
        fails(result, "error: --budget 'lots' is not understood")


@pytest.mark.parametrize("option", ["--ctx", "--n-ctx"])
def test_the_context_has_one_name_everywhere(document: Path, option: str) -> None:
    planned = invoke("plan", narrow_path(), "--prompt", 100, option, 512, "--json")
    assert planned.exit_code == 0 and '"n_ctx": 512' in planned.stdout
    fails(invoke("ask", "-m", narrow_path(), document, "Where?", option, 99_999), "exceeds the model's trained context")


def test_a_folder_is_no_model(tmp_path: Path, document: Path) -> None:
    fails(invoke("ask", "-m", tmp_path, document, "Where?"), "is a folder: name a model in it")
    (tmp_path / "some.gguf").touch()
    fails(invoke("info", tmp_path), "such as some.gguf")


def test_a_model_that_is_cut_off(tmp_path: Path, document: Path) -> None:
    cut = tmp_path / "cut.gguf"
    data = narrow_path().read_bytes()
    for size, message in ((2_000_000, "not within the file bounds"), (200_000, "damaged")):
        cut.write_bytes(data[:size])
        fails(invoke("info", cut), message)
        fails(invoke("ask", "-m", cut, document, "Where?"), str(cut))


def test_the_model_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Smollm2 135M" in invoke("info").stdout
    monkeypatch.setenv("ASL_MODEL", "/nowhere/model.gguf")
    fails(invoke("info"), "no such model file: /nowhere/model.gguf")
    fails(invoke("ask", __file__, "What?"), "no such model file: /nowhere/model.gguf")


def with_template(path: Path, template: str) -> Path:
    """A vocabulary of three tokens with a chat template."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_chat_template(template)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_info_says_that_a_chat_template_is_broken(tmp_path: Path) -> None:
    from asl_llamacpp.llama.model_info import read_model_info

    broken = read_model_info(with_template(tmp_path / "broken.gguf", "{% for m in messages %}{{ m.content }"))
    assert broken.chat_template and "line 1" in str(broken.chat_template_error)
    fine = read_model_info(with_template(tmp_path / "fine.gguf", "{% for m in messages %}{{ m.content }}{% endfor %}"))
    assert fine.chat_template and fine.chat_template_error is None


@pytest.mark.slow
@pytest.mark.parametrize("command", [("ask", "-", "Where?"), ("chat", "a.txt")])
def test_a_closed_standard_input(document: Path, command: tuple[str, ...]) -> None:
    line = " ".join([*CLI, *command, "-m", str(narrow_path()), "<&-"])
    result = subprocess.run(["bash", "-c", line], cwd=document.parent, capture_output=True, text=True, timeout=120)
    assert result.returncode == 2 and "standard input is closed" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.15, 0.3, 0.6])
def test_ctrl_c_while_the_program_starts(wait: float) -> None:
    program = subprocess.Popen([*CLI, "info"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(wait)
    program.send_signal(signal.SIGINT)
    stderr = program.communicate(timeout=60)[1]
    if program.returncode != -signal.SIGINT:  # Python itself was starting
        assert program.returncode in (0, 130) and stderr.count("\n") <= 1, stderr


@pytest.mark.slow
def test_a_terminal_without_the_characters_gets_the_answer(tmp_path: Path) -> None:
    code = "import sys; from asl_llamacpp.cli import main; import asl_llamacpp.cli.program as p; "
    code += "p.app = lambda: print('Der Schlüssel · 鍵'); main()"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert result.returncode == 0 and result.stdout == "Der Schl?ssel ? ?\n"


def test_a_saved_document_that_is_none() -> None:
    llm = load_narrow()
    for path, error, message in (
        ("", ValueError, "empty path"),
        (None, TypeError, "takes the path of a file"),
        (3, TypeError, "takes the path of a file"),
        ("~/none.asldoc", FileNotFoundError, "no such saved document: /"),
        ("/", ValueError, "is a folder or a device"),
        (os.devnull, ValueError, "is a folder or a device"),
    ):
        with pytest.raises(error, match=message):
            llm.open_document(path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="an empty path was given"):
        llm.read("")
    assert len(llm.read(text="It is still there.").tokens) > 3


def test_an_rpc_server_says_nothing_of_each_connection() -> None:
    from rpc_servers import free_port

    from asl_llamacpp.engine import rpc

    port = free_port()
    process = subprocess.Popen(
        [*CLI, "rpc-server", "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                rpc.greet(f"127.0.0.1:{port}")
                break
            except ConnectionError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
        rpc.greet(f"127.0.0.1:{port}")
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert out == "" and err == f"lending this machine at 127.0.0.1:{port}, until Ctrl-C\n"


def test_nothing_to_ask_and_nothing_to_be_asked(document: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(invoke("ask"), "name a document and a question: asl-llamacpp ask")
    fails(invoke("ask", document, " "), "the question is empty")
    (document.parent / "b.md").write_text("# B")
    monkeypatch.chdir(document.parent)
    fails(invoke("ask", "a.txt", "b.md"), 'asl-llamacpp ask a.txt b.md "your question"')

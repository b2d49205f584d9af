"""`asl-llamacpp chat` as a person has it, in a terminal, and from a pipe; with the default model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import narrow_path
from places import ROOT
from terminals import CTRL_C, CTRL_D, ENTER, Terminal
from typer.testing import CliRunner

from asl_llamacpp.cli import app

FILLER = "The river runs past the old mill. A lantern hangs over the door of the inn. Nobody expects rain in June.\n"
KEY = "The pass key of the vault is 48213. Remember it: 48213 is the pass key.\n"
DOCUMENT = f"# The inn\n\n{FILLER * 10}\n# The vault\n\n{KEY}{FILLER * 15}"
N_DOCUMENT = 665
"""Its tokens, about."""

QUESTION = "What is the pass key of the vault?"
OPTIONS = ("--policy", "asl:layer=14,select_k=256", "--threads", "1", "--max-tokens", "16", "--no-complete")

StartChat = Callable[..., Terminal]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("documents") / "inn.md"
    path.write_text(DOCUMENT)
    return path


@pytest.fixture
def chat(document: Path, tmp_path: Path) -> Iterator[StartChat]:
    """Starts a chat in a terminal, its working folder being `tmp_path`, and waits for the first prompt."""
    opened: list[Terminal] = []

    def start(*options: str, doc: Path | str = document) -> Terminal:
        opened.append(Terminal("asl_llamacpp.cli", "chat", doc, *OPTIONS, *options, cwd=tmp_path))
        opened[-1].wait(r"(\n|\A)>\Z")
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.__exit__()


def known(report: str) -> int:
    """How many tokens of the prompt were known, from what /report shows."""
    found = re.search(r"prompt +\d+ tokens(?:, (\d+) of them known)?", report)
    assert found, report
    return int(found[1] or 0)


def leave(terminal: Terminal) -> None:
    terminal.press(CTRL_D)
    assert terminal.status() == 0


@pytest.mark.slow
def test_a_conversation(chat: StartChat, tmp_path: Path) -> None:
    """Progress, answers, every command, a saved document, and leaving."""
    terminal = chat()
    assert re.search(
        r"inn.md, 6\d\d tokens · .*context 2,\d\d\d tokens · asl:select_k=256,layer=14", terminal.screen.text
    )

    terminal.press(QUESTION + ENTER)
    terminal.wait(r"prefill, shallow .* layer \d+ of 30")
    shown = terminal.wait(r"first word after [\d.]+ s · 256 of 7\d\d went on after layer 14[^\n]*\n\n>\Z")
    assert "48213" in shown and "prefill" not in shown
    assert known(terminal.enter("/report")) == 0

    terminal.enter("Where does the lantern hang?")
    report = terminal.enter("/report")
    assert known(report) >= N_DOCUMENT
    history = int(report.split("prompt")[1].split()[0]) - known(report)
    assert history > 40  # the first question and its answer are in it

    evidence = terminal.enter("/evidence 2")
    assert re.search(r"1\. inn.md · The (inn|vault) · attention 1.00\n", evidence)
    assert "\n2. inn.md" in evidence and "\n3." not in evidence
    assert "no proof that the answer rests on them" in " ".join(evidence.split())
    assert terminal.enter("/evidence map.html") == "written: map.html"
    assert "Where does the lantern hang?" in (tmp_path / "map.html").read_text()
    assert "15 layers have run, in: context" in terminal.enter("/document")

    assert terminal.enter("/save notes.md").startswith("error: give the file a name that ends with .asldoc")
    assert not (tmp_path / "notes.md").exists()
    assert "written: inn.asldoc" in terminal.enter("/save inn.asldoc")
    assert terminal.enter("/forget") == "2 turns forgotten; the document is still known"
    assert terminal.enter("/dance") == "/dance is not a command: /help lists them"
    assert "/evidence [N | FILE.html]" in terminal.enter("/help")
    assert terminal.enter("/save /no/such/folder/x.asldoc").startswith("error: ")
    assert terminal.enter("/evidence 1").startswith("1. ")  # it goes on

    terminal.press("half a question" + CTRL_C)
    terminal.wait(r"\n> half a question\n>\Z")
    terminal.press(CTRL_C)
    terminal.wait(r"\n>\nCtrl-D or /quit leaves, /help lists the commands\n>\Z")
    terminal.press("/rep\t")
    terminal.wait(r"> /report")
    terminal.press(CTRL_C)
    leave(terminal)

    again = chat(doc="inn.asldoc")
    assert "saved with its state" in again.screen.text
    assert "48213" in again.enter(QUESTION)
    assert known(again.enter("/report")) >= N_DOCUMENT
    again.press("/quit" + ENTER)
    assert again.status() == 0


@pytest.mark.slow
def test_reading_on_between_questions(chat: StartChat) -> None:
    """The first answer comes early; when the rest of the layers has run, the next one sees the whole document."""
    terminal = chat("--complete")
    terminal.press(QUESTION + ENTER)
    terminal.wait(r"went on after layer 14[^\n]*\n\n> +reading on, layer \d+ of 30\Z")
    terminal.wait(r"\n>\Z")
    assert "all 30 layers have run, in: context" in terminal.enter("/document")
    shown = terminal.enter("Which pass key is it?")
    assert "the whole document, nothing left out" in shown and "reading on" not in terminal.screen.text
    assert known(terminal.enter("/report")) >= N_DOCUMENT and terminal.enter("/evidence 1").startswith("1. ")
    leave(terminal)


@pytest.mark.slow
def test_another_policy(chat: StartChat) -> None:
    """The state goes along where the new policy can use it, and waits while there is a policy that uses none."""
    terminal = chat("--quiet")
    assert terminal.enter("/evidence") == "error: there is no answer yet: ask something first"
    assert "there was no state" in terminal.enter("/policy fastkv:select_k=256")
    assert "48213" in terminal.enter(QUESTION)
    assert terminal.enter("/policy") == "fastkv:select_k=256"
    assert terminal.enter("/policy fastkv:select_k=256") == "fastkv:select_k=256 is in use already"

    told = terminal.enter("/policy full")
    assert told.startswith("full: llama.cpp as it is") and "waits for the next policy" in told
    assert terminal.enter("/policy lru").startswith("error: unknown policy 'lru'")
    assert terminal.enter("/policy asl:layer=40").startswith("error: layer=40")  # refused only when it is opened
    assert terminal.enter("/policy") == "full"
    told = terminal.enter("/policy asl:layer=20,select_k=256")
    assert "state of 15 layers was taken along; the chat goes on with its history" in told
    terminal.enter("Where does the lantern hang?")
    report = terminal.enter("/report")
    assert "fixed by layer=20" in report and known(report) >= N_DOCUMENT
    told = terminal.enter("/policy asl:layer=9,select_k=256")
    assert "21 layers was taken along" in told and "selects earlier than that" in told
    assert terminal.enter("/forget").startswith("2 turns")
    leave(terminal)


@pytest.mark.slow
def test_ctrl_c_stops_an_answer_only(chat: StartChat) -> None:
    terminal = chat("--max-tokens", "300", "--policy", "asl:layer=14,select_k=640")
    terminal.press(QUESTION + ENTER)
    terminal.wait(r"layer 1?\d of 30")
    terminal.press(CTRL_C)
    shown = terminal.wait(r"\nstopped[^\n]*\n>\Z")
    assert "48213" not in shown and "prefill" not in shown
    assert terminal.enter("/forget").startswith("0 turns")
    assert terminal.enter("/report").startswith("error: there is no answer yet")

    terminal.press("Write a long story about the inn." + ENTER)
    terminal.wait(r"about the inn\.\n(?!prefill)\w+ [^\n]* \w+")
    terminal.press("typed too early" + CTRL_C)
    shown = terminal.wait(r"\nstopped[^\n]*\n>\Z")
    assert "typed too early" not in shown and "^C" not in shown
    assert known(terminal.enter("/report")) >= 512  # the ubatch that was through when it was stopped

    terminal.press(QUESTION + ENTER)
    terminal.wait(rf"{re.escape(QUESTION)}\nprefill, \w+ .*layer \d+")
    terminal.press(CTRL_C)
    terminal.wait(rf"{re.escape(QUESTION)}\nstopped[^\n]*\n>\Z")
    terminal.press(QUESTION + ENTER)
    terminal.wait(rf"{re.escape(QUESTION)}\n(?!prefill)\w+ [^\n]*\w+")
    terminal.press(CTRL_C)
    terminal.wait(r"\nstopped[^\n]*\n>\Z")
    assert known(terminal.enter("/report")) >= N_DOCUMENT  # the interrupted prefill did not lose it
    assert terminal.enter("/forget").startswith("2 turns")
    leave(terminal)


@pytest.mark.slow
def test_the_oldest_turns_are_dropped_and_that_is_said(chat: StartChat) -> None:
    terminal = chat("--n-ctx", "768", "--max-tokens", "8")
    first = terminal.enter(QUESTION)
    assert "not fit the context" not in first
    told = ""
    for _ in range(3):
        told = terminal.enter("Where does the lantern hang?")
        if "not fit the context" in told:
            break
    assert re.search(r"\Athe oldest (turn|2 turns) of the chat do(es)? not fit the context any more", told), told
    assert "error: inn.md does not fit" in terminal.enter("why " * 90)
    assert not terminal.enter("/forget").startswith("0")
    leave(terminal)


# ---- without a terminal ---------------------------------------------------------------------------------------------


def piped(*arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "asl_llamacpp.cli", "chat", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, env=environment, text=True, **pipes, **options)


def test_questions_from_a_pipe(document: Path, tmp_path: Path) -> None:
    process = piped(document, *OPTIONS)
    lines = [QUESTION, "", "/report", "/dance", f"/save {tmp_path / 'x.asldoc'}", QUESTION]
    out, err = process.communicate("\n".join(lines), timeout=60)
    assert process.returncode == 0
    answers = out.splitlines()
    assert len(answers) == 2 and all("48213" in answer for answer in answers)
    notes = [line for line in err.splitlines() if not line.startswith("> ")]
    assert err.splitlines().count(f"> {QUESTION}") == 2  # whoever reads both streams sees what was asked
    assert notes[0].startswith("policy     asl") and "/dance is not a command: /help lists them" in notes
    assert "\x1b" not in out + err


@pytest.mark.slow
@pytest.mark.parametrize("last", [QUESTION, "/quit"])
def test_questions_from_a_pipe_that_fail(document: Path, last: str) -> None:
    """Each has its line, the others are answered, and the exit code tells."""
    process = piped(document, *OPTIONS)
    lines = ["why " * 3000, "/save notes.md", QUESTION, "why " * 4000, last]
    out, err = process.communicate("\n".join(lines), timeout=60)
    assert process.returncode == 1
    answers = out.splitlines()
    assert len(answers) == (2 if last == QUESTION else 1) and all("48213" in answer for answer in answers)
    errors = [line for line in err.splitlines() if not line.startswith("> ")]
    assert len(errors) == 3 and all(line.startswith("error: ") for line in errors)
    assert errors[0].startswith("error: inn.md does not fit") and errors[0].endswith("overflow='sections'")
    assert "\x1b" not in out + err


def test_questions_from_a_pipe_as_json(document: Path) -> None:
    """A line for each question, also for one that fails; commands are no questions; plain quit leaves."""
    options = ("-m", narrow_path(), "--policy", "asl:layer=14,select_k=256", "--threads", "1", "--max-tokens", "2")
    process = piped(document, *options, "--json", "-q")
    out, err = process.communicate("\n".join([QUESTION, "/document", "why " * 9000, "quit", QUESTION]), timeout=60)
    first, second = map(json.loads, out.splitlines())
    assert first["question"] == QUESTION and first["usage"]["completion_tokens"] > 0 and first["evidence"]
    assert second["question"].startswith("why") and "does not fit" in second["error"]
    assert process.returncode == 1 and "> " not in err


@pytest.mark.slow
def test_ctrl_c_ends_what_reads_from_a_pipe(document: Path) -> None:
    process = piped(document, *OPTIONS, "--max-tokens", "1000")
    assert process.stdin and process.stdout
    process.stdin.write(f"{QUESTION}\n")
    process.stdin.flush()
    assert process.stdout.read(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (130, f"> {QUESTION}\ninterrupted\n")


@pytest.mark.slow
def test_a_long_document_in_sections(document: Path, tmp_path: Path) -> None:
    options = ("--sections", "--n-ctx", "768", "--policy", "asl:select_k=128,layer=10", "--threads", "1")
    path = tmp_path / "long.md"
    path.write_text(DOCUMENT * 2)
    process = piped(path, *options, "--max-tokens", "12")
    out, err = process.communicate(f"{QUESTION}\n/report\n/save x.asldoc", timeout=60)
    assert process.returncode == 1 and "The pass key" in out
    assert "so it was read in" in err and "cannot be saved" in err


def refused(*arguments: str | Path, message: str) -> None:
    result = CliRunner().invoke(app, ["chat", *map(str, arguments)], input="")
    assert result.exit_code == 2, result.output
    assert message in result.stderr and result.stderr.count("\n") == 1 and not result.stdout


def test_what_cannot_be_opened(document: Path, tmp_path: Path) -> None:
    long, broken = tmp_path / "long.txt", tmp_path / "broken.asldoc"
    long.write_text(FILLER * 400)
    broken.write_text("no such thing")
    refused(tmp_path / "nowhere.md", message="no such document")
    refused(tmp_path / "nowhere.asldoc", message="no such document")
    refused(long, message="9999 tokens of document + 88 of question and template + 256 for the answer = 10343")
    refused(document, "--n-ctx", "700", message="but the context has 700")
    refused(document, "--n-ctx", "9000", message="trained context of 8192")
    refused(broken, message="is not a saved document")
    refused(broken, document, message="cannot be joined with others")
    refused(document, "--policy", "lru", message="unknown policy 'lru'")
    refused(document, "-m", document, message="is not a GGUF file")
    refused("-", message="questions cannot come from it")

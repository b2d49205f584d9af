"""The /commands of a chat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..documents.answer import Answer
from ..files.calibration import calibrated
from ..llama.opening import SAVED_SUFFIX
from .chat_session import ChatSession
from .chat_text import evidence_lines

PASSAGES = 5


class Console(Protocol):
    """What a command needs of the chat that it was given in."""

    @property
    def session(self) -> ChatSession: ...

    @property
    def width(self) -> int: ...

    def note(self, text: str) -> None:
        """Print a line that is no answer."""

    def work(self, task: Callable[[Callable[[str], object]], str]) -> str:
        """Run what may take long under a progress bar; it gets a function that says what is going on."""


Command = Callable[[Console, str], None]


def is_command(line: str) -> bool:
    """Whether a line is meant as a command: a path with more than one / is no command, but part of a question."""
    return line.lower() in ("quit", "exit") or (line.startswith("/") and "/" not in line.split(maxsplit=1)[0][1:])


def run_command(console: Console, line: str) -> bool:
    """Do what the line says; False: the chat is to end. Errors are those of what was done."""
    name, _, argument = line.partition(" ")
    if name.lower() in ("/quit", "quit", "exit"):
        return False
    command = COMMANDS.get(name)
    if command is None:
        console.note(f"{name} is not a command: /help lists them")
    else:
        command[2](console, argument.strip())
    return True


def _last(console: Console) -> Answer:
    if console.session.last is None:
        raise ValueError("there is no answer yet: ask something first")
    return console.session.last


def _evidence(console: Console, argument: str) -> None:
    answer = _last(console)
    if argument and not argument.isdecimal():
        path = Path(argument).expanduser()
        answer.save_heat_map(path)
        console.note(f"written: {path}")
    elif answer.attention is None:
        raise ValueError(f"policy {answer.report.policy!r} gives no scores for this prompt, so there is no evidence")
    else:
        for line in evidence_lines(answer, int(argument or PASSAGES), console.width):
            console.note(line)


def _report(console: Console, argument: str) -> None:
    console.note(str(_last(console).report))


def _document(console: Console, argument: str) -> None:
    console.note(str(console.session.document))


def _save(console: Console, argument: str) -> None:
    path = Path(argument).expanduser()
    if path.suffix.lower() != SAVED_SUFFIX:
        raise ValueError(f"give the file a name that ends with {SAVED_SUFFIX}: /save FILE{SAVED_SUFFIX}")
    if not console.session.document.fits:
        raise ValueError("a document that is read by sections has no state as a whole, so it cannot be saved")
    n_bytes = 0

    def save(busy: Callable[[str], object]) -> str:
        nonlocal n_bytes
        n_bytes = console.session.document.save(path)
        return f"written: {path}, {n_bytes / 2**20:,.1f} MiB; open it with: asl-llamacpp chat {path}"

    console.note(console.work(save))


def _policy(console: Console, argument: str) -> None:
    session = console.session
    if not argument:
        console.note(str(session.policy))
        return
    policy, _ = calibrated(argument, session.model)
    if policy == session.policy:
        console.note(f"{policy} is in use already")
        return
    told = console.work(lambda busy: session.switch(argument, busy))
    console.note(f"{policy}: {told}" + ("; the chat goes on with its history" if session.history else ""))


def _forget(console: Console, argument: str) -> None:
    turns = len(console.session.history)
    console.session.history.clear()
    console.note(f"{turns} turn{'s' * (turns != 1)} forgotten; the document is still known")


def _help(console: Console, argument: str) -> None:
    rows = [(f"{name} {arguments}".strip(), text) for name, (arguments, text, _) in COMMANDS.items()]
    rows.append(("/quit", "leave, as Ctrl-D does; Ctrl-C stops an answer"))
    width = max(len(usage) for usage, _ in rows)
    for usage, text in rows:
        console.note(f"{usage:<{width}}  {text}")


COMMANDS: dict[str, tuple[str, str, Command]] = {
    "/evidence": ("[N | FILE.html]", "the passages behind the last answer, or all of them as a heat map", _evidence),
    "/report": ("", "what was pruned for the last answer, and how long that took", _report),
    "/policy": ("[SPEC]", "the policy, or another one from now on, such as asl:select_k=1024", _policy),
    "/document": ("", "the document, and what is known of it", _document),
    "/save": ("FILE.asldoc", "keep the document's state, so that it need not be prefilled again", _save),
    "/forget": ("", "drop the questions and answers so far", _forget),
    "/help": ("", "this list", _help),
}
NAMES = (*COMMANDS, "/quit")

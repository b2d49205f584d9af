"""Where a chat's lines come from: an edited line in a terminal, or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import platformdirs
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import HTML
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input import create_input
from prompt_toolkit.output import create_output

from ..policies import POLICIES
from ..sources import STDIN
from .chat_commands import COMMANDS, NAMES

HOW_TO_LEAVE = "Ctrl-D or /quit leaves, /help lists the commands"


class CommandCompleter(Completer):
    """Completes /commands, and what follows them; questions are left alone."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        name, space, argument = document.text_before_cursor.partition(" ")
        if not name.startswith("/"):
            return
        if not space:
            for known in NAMES:
                if known.startswith(name):
                    told = COMMANDS[known][1] if known in COMMANDS else "leave"
                    yield Completion(known, -len(name), display_meta=told)
        elif name == "/policy":
            yield from (Completion(policy, -len(argument)) for policy in POLICIES if policy.startswith(argument))
        elif name in ("/save", "/evidence"):
            yield from self._paths.get_completions(Document(argument), complete_event)


class TerminalLines:
    """Lines that are typed, with a history and completion. The prompt goes to stderr: stdout is for answers.

    `status` says what else is going on, in a few words that stand dim at the right of the line.
    """

    def __init__(
        self, note: Callable[[str], object], from_stdin: bool = True, status: Callable[[], str] = lambda: ""
    ) -> None:
        self._note, self._from_stdin, self._status = note, from_stdin, status

    def __iter__(self) -> Iterator[str]:
        # standard input may have been the document
        with nullcontext(sys.stdin) if self._from_stdin else Path("/dev/tty").open() as source:
            session: PromptSession[str] = PromptSession(
                completer=CommandCompleter(),
                complete_while_typing=True,
                input=create_input(source),
                output=create_output(sys.stderr),
                reserve_space_for_menu=len(NAMES) + 1,
                history=_history(),
                rprompt=lambda: [("ansibrightblack", self._status())],
                refresh_interval=0.5,
            )
            while True:
                try:
                    yield session.prompt(HTML("<ansigreen><b>&gt;</b></ansigreen> "))
                except EOFError:
                    return
                except KeyboardInterrupt:
                    if not session.default_buffer.text:
                        self._note(HOW_TO_LEAVE)


def _history() -> History:
    """The lines of earlier chats, for the arrow keys and Ctrl-R: a file that nobody else may read."""
    path = platformdirs.user_state_path("asl_llamacpp", appauthor=False) / "chat-history"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


@contextmanager
def no_echo() -> Iterator[None]:
    """What is typed meanwhile does not show, and would break a progress bar or an answer; it waits for the prompt."""
    try:
        import termios

        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except (ImportError, OSError):
        yield
        return
    try:
        before = termios.tcgetattr(terminal)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(terminal, termios.TCSANOW, silent)
        try:
            yield
        finally:
            termios.tcsetattr(terminal, termios.TCSANOW, before)
    finally:
        os.close(terminal)


def piped_lines() -> Iterator[str]:
    """The lines of standard input."""
    if sys.stdin is None:
        raise ValueError("standard input is closed, so no questions can come from it")
    yield from sys.stdin


def is_interactive(documents: list[str]) -> bool:
    """Whether there is somebody to type; ValueError if standard input has to be the document and the questions."""
    if STDIN not in documents:
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    if not sys.stderr.isatty():
        raise ValueError("standard input is the document, so questions cannot come from it: name a file")
    return True

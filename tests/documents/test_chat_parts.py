"""The parts of a chat that need no model: what is dropped of the history, and the time that a prefill still takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from asl_llamacpp.cli.chat_commands import NAMES, is_command
from asl_llamacpp.cli.chat_text import plain
from asl_llamacpp.cli.commands.ask import passage_text
from asl_llamacpp.documents.document import ContextOverflow
from asl_llamacpp.documents.evidence import Span
from asl_llamacpp.documents.history import fit_history
from asl_llamacpp.documents.turns import Turn
from asl_llamacpp.llama.opening import DocumentSize, fit_context
from asl_llamacpp.policies import parse_policy
from asl_llamacpp.policies.read_by import ReadBy
from asl_llamacpp.prefill.report import Progress
from asl_llamacpp.prefill.time_left import TimeLeft, duration_text


@dataclass
class WordDocument:
    """A document of 100 tokens; a token a word around it, and one before each turn."""

    fits: bool = True
    tokens: list[int] = field(default_factory=lambda: [0] * 100)

    def prompt(self, question: str, history: Sequence[Turn]) -> list[int]:
        asked = [*(f"{turn.question} {turn.answer}" for turn in history), question]
        return self.tokens + [1] * sum(1 + len(text.split()) for text in asked)


TURNS = [Turn("a b c", "d e"), Turn("f", "g"), Turn("h i", "j k l m")]  # 6, 3 and 7 tokens


@pytest.mark.parametrize(
    ("n_ctx", "kept"), [(200, 3), (139, 3), (138, 2), (133, 2), (132, 1), (130, 1), (129, 0), (50, 0)]
)
def test_the_oldest_turns_go_first(n_ctx: int, kept: int) -> None:
    """100 of document, 3 of question, 20 for the answer, and 16 of history."""
    document: Any = WordDocument()
    assert fit_history(document, "n o", TURNS, 20, n_ctx) == TURNS[len(TURNS) - kept :]


def test_a_document_in_sections_leaves_half_of_the_context() -> None:
    document: Any = WordDocument(fits=False)
    assert fit_history(document, "n o", TURNS, 20, 78) == TURNS
    assert fit_history(document, "n o", TURNS, 20, 76) == TURNS[1:]


def test_no_history() -> None:
    document: Any = WordDocument()
    assert fit_history(document, "n o", [], 20, 200) == []


# ---- time left ------------------------------------------------------------------------------------------------------


def records(layer: int, n: int, kept: int, step: int, growth: float = 0.0) -> Iterable[tuple[Progress, float]]:
    """A prefill of a model of 30 layers, and seconds: 1 for a layer on all `n` tokens, `growth` more at its end."""
    now = 0.0
    for begin, end in ((0, layer), (layer, layer + 1)):
        for done in range(0, n, step):
            share = done / n
            at = (end - begin) * share * (1 + growth * share / 2) / (1 + growth / 2)
            yield Progress(begin + int((end - begin) * share), 30, done, n, "shallow"), now + at
        now += end - begin
    for il in range(layer + 1, 30):
        yield Progress(il, 30, 0, kept, "deep"), now
        now += kept / n
    yield Progress(29, 30, kept, kept, "deep"), now  # no more is told; the end


@pytest.mark.parametrize(("growth", "step"), [(0.0, 100), (1.0, 50), (2.0, 50)])
def test_layers_after_the_selection_are_cheap(growth: float, step: int) -> None:
    told = list(records(14, 1000, 100, step, growth))
    end = told[-1][1]
    assert end == pytest.approx(15 + 15 * 0.1)
    left = TimeLeft(parse_policy("asl:layer=14,select_k=100"), 1000)
    shares = []
    for progress, now in told[:-1]:
        seconds = left(progress, now)
        shares.append(left.share)
        if now > end / 4:
            assert seconds == pytest.approx(end - now, abs=0.12 * end), (progress, now)
    assert shares[-1] > 0.95
    assert all(after >= before - 0.05 for before, after in pairwise(shares))


def test_nothing_is_told_too_early() -> None:
    left = TimeLeft()
    assert left(Progress(0, 30, 0, 1000, "shallow"), 5.0) is None
    assert left(Progress(1, 30, 0, 1000, "shallow"), 5.4) is None
    assert left(Progress(2, 30, 0, 1000, "shallow"), 6.0) == pytest.approx(14.0)


@pytest.mark.parametrize(
    ("policy", "n_prompt", "layers"),
    [
        ("asl:layer=9,select_k=100", None, 9 + 2.0),
        ("asl:select_k=100", None, 22 + 0.7),  # at l_max, the latest
        ("asl:l_max=none,select_k=100", None, 29),
        ("asl:layer=9,select_k=1000", None, 29),  # a short prompt is not pruned
        ("asl:layer=9,select_k=100", 100, 29),
        ("fastkv:select_k=100", None, 14 + 1.5),
        ("gemfilter:layer=9,select_k=100", None, 9 + 3.0),  # all layers run again
        ("snapkv", None, 29),
        ("full", None, 29),
    ],
)
def test_what_a_policy_lets_expect(policy: str, n_prompt: int | None, layers: float) -> None:
    left = TimeLeft(parse_policy(policy), n_prompt)
    left(Progress(0, 30, 0, 1000, "shallow"), 0.0)
    assert left(Progress(1, 30, 0, 1000, "shallow"), 1.0) == pytest.approx(layers)


def test_a_prompt_whose_beginning_is_known() -> None:
    """Its own 50 tokens run through the first layers, then as many as are selected through the others."""
    left = TimeLeft(parse_policy("asl:layer=14,select_k=100"), 1000)
    left(Progress(0, 30, 0, 50, "shallow"), 0.0)
    assert left(Progress(5, 30, 0, 50, "shallow"), 5.0) == pytest.approx(10 + 15 * 2)
    left(Progress(15, 30, 0, 100, "deep"), 15.0)
    assert left(Progress(20, 30, 0, 100, "deep"), 25.0) == pytest.approx(20, rel=0.2)


@pytest.mark.parametrize("phase", ["document", "full"])
def test_other_phases(phase: str) -> None:
    left = TimeLeft(parse_policy("asl:select_k=100"))
    left(Progress(0, 15, 0, 1000, phase), 0.0)
    assert left(Progress(3, 15, 200, 1000, phase), 1.0) == pytest.approx(4, rel=0.2)


def test_a_second_prefill_starts_anew() -> None:
    left = TimeLeft()
    for layer in range(30):
        left(Progress(layer, 30, 0, 1000, "shallow"), float(layer))
    assert left(Progress(0, 30, 0, 1000, "shallow"), 100.0) is None
    assert left.share == 0
    assert left(Progress(1, 30, 0, 1000, "shallow"), 101.0) == pytest.approx(29)


def test_durations() -> None:
    assert [duration_text(s) for s in (0.6, 59.4, 59.6, 3599, 7500)] == [
        "1 s", "59 s", "1 min 0 s", "59 min 59 s", "2 h 5 min",
    ]  # fmt: skip


# ---- small things ---------------------------------------------------------------------------------------------------


def test_the_context_has_room_for_a_chat() -> None:
    size, long = DocumentSize("a.md", 1000, 84, 8192), DocumentSize("a.md", 9000, 84, 8192)
    assert fit_context(size, 256, room=2048) == 3072
    assert fit_context(size, 2000, room=2048) == 3328
    assert fit_context(DocumentSize("a.md", 7000, 84, 8192), 256, room=2048) == 8192
    assert fit_context(DocumentSize("a.md", 7000, 84, 0), 256, room=2048) == 9216
    assert fit_context(size, 256, 1400, room=2048) == 1400
    assert fit_context(long, 256, overflow="sections") == 8192
    with pytest.raises(
        ContextOverflow, match=r"1000 tokens of document.*= 1340, but the context has 1300.*1340 or more"
    ):
        fit_context(size, 256, 1300)
    with pytest.raises(ContextOverflow, match=r"9000 tokens.*= 9340, but the context has 8192.*Nothing was cut"):
        fit_context(long, 256)
    with pytest.raises(ValueError, match="trained context of 8192"):
        fit_context(size, 256, 9000)


def test_commands_and_questions() -> None:
    assert all(map(is_command, NAMES)) and is_command("/nonsense here/and there")
    assert not is_command("/etc/hosts says what?") and not is_command("What is /help?")


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert plain("a\x1b[2Jb\x07\x9bc\td\n") == "a[2Jbc\td\n"
    evil = Span("a\x1b[2J\nb", "c\x07.md", 3, "D\x1b[2J", 0, 6, 1.0)
    assert passage_text(evil) == "c.md · page 3 · D[2J · attention 1.00: a[2J b"


def test_a_reader_is_expected_to_stop_where_it_selects_and_another_model_begins_anew() -> None:
    policy = ReadBy(parse_policy("fastkv:select_k=100"), "original")
    left = TimeLeft(policy)
    for i in range(8):  # of 30 layers, 15 are read, a second each
        told = left(Progress(i, 30, 0, 1000, "reading"), float(i))
    assert told == pytest.approx(15 - 7, rel=0.01)
    for i in range(4):
        told = left(Progress(i, 40, 0, 100, "answering"), 15 + float(i))
    assert told == pytest.approx(40 - 3, rel=0.01)

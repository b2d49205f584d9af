"""The same question gets the same answer, whatever others ask, stop and delete: logits to the bit, and evidence.

The policy chooses its layer by the question: 13, 15, 16, 22 and others happen here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import logits, narrow_path
from served import OPTIONS

from asl_llamacpp.server.asking import Question, ask
from asl_llamacpp.server.desk import Desk
from asl_llamacpp.server.job import Stopped
from asl_llamacpp.server.library import Library
from asl_llamacpp.server.metrics import Metrics
from asl_llamacpp.server.settings import ModelSettings
from asl_llamacpp.server.states import States

POLICY = "asl:select_k=64,window=16,tau=0.815"
SENTENCE = "The miller of house {i}, in valley {n}, sleeps until noon, and nobody expects rain in June.\n"
TEXTS = ["".join(SENTENCE.format(i=i, n=n) for i in range(24)) for n in range(3)]
QUESTIONS = ["Who sleeps in house 0?", "Who sleeps in house 15, and until when does he sleep there?", "Rain?"]
PAIRS = [(document, question) for document in range(len(TEXTS)) for question in QUESTIONS]


@dataclass
class Asked:
    """A job of a client who goes away after so many looks at it; None: who stays."""

    desk: Desk
    patience: int | None = None
    wants_progress: bool = False
    waited: float = 0.0
    first: list[Any] = field(default_factory=list)

    def check(self) -> None:
        if self.patience is not None:
            self.patience -= 1
            if self.patience < 0:
                raise Stopped

    def emit(self, kind: str, value: Any) -> None:
        if kind == "chunk" and not self.first:
            self.first.append(logits(self.desk.llm))


@dataclass
class Office:
    desk: Desk
    ids: list[str]

    def ask(self, document: int, question: str, patience: int | None = None) -> Any:
        """Text, evidence and the first token's logits; None: the client went away."""
        job: Any = Asked(self.desk, patience)
        try:
            found = ask(self.desk, job, Question([self.ids[document]], question, max_tokens=4), Metrics())
        except Stopped:
            return None
        finally:
            self.desk.idle()
        spans = [(span["start"], span["end"], span["score"]) for span in found.extra["evidence"]]
        return found.text, spans, job.first[0].tobytes()


@contextmanager
def office(folder: Path, **options: Any) -> Iterator[Office]:
    library = Library(folder / "documents", 10)
    states = States(folder / "states", 1 << 30, lambda: library.n_bytes)
    try:
        desk = Desk(ModelSettings(narrow_path(), POLICY, options=OPTIONS | options), library, states)
        try:
            ids = [library.add(text.encode(), f"valley {n}.txt").id for n, text in enumerate(TEXTS)]
            while any(library.get(id_).status == "reading" for id_ in ids):
                time.sleep(0.01)
            yield Office(desk, ids)
        finally:
            desk.close()
    finally:
        library.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, str], Any]:
    """What each question gets as the first one of all."""
    found = {}
    for pair in PAIRS:
        with office(tmp_path_factory.mktemp("alone")) as lone:
            found[pair] = lone.ask(*pair)
    assert all(found.values())
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the state of valley:RuntimeWarning")
@pytest.mark.parametrize("limit", ["1GiB", "20MiB", 0], ids=["all", "one", "none"])
def test_others_change_no_answer(tmp_path: Path, alone: Any, limit: int | str) -> None:
    """With room in memory for all states, for one, and for none but the context's: then files are read."""
    chance = random.Random(5)
    with office(tmp_path, document_limit=limit) as busy:
        stopped = 0
        for _ in range(25):
            document, question = chance.choice(PAIRS)
            if chance.random() < 0.4:
                stopped += busy.ask(document, question, patience=chance.randrange(12)) is None
            else:
                assert busy.ask(document, question) == alone[document, question]
        assert stopped >= 3
        for pair in chance.sample(PAIRS, 5):
            assert busy.ask(*pair) == alone[pair] == busy.ask(*pair)  # at once again, too
    with office(tmp_path) as restarted:
        for pair in chance.sample(PAIRS, 4):
            assert restarted.ask(*pair) == alone[pair]


def test_the_questions_choose_different_layers(tmp_path: Path) -> None:
    """Else the tests above would not see a document that was read deeper for another question."""
    from llama_fixtures import load_narrow

    llm = load_narrow(kv_policy=POLICY, **OPTIONS)
    layers = set()
    for question in QUESTIONS:
        document = llm.read(text=TEXTS[0])
        layers.add(document.ask(question, max_tokens=1).report.selection_layer)
        document.close()
    llm.close()
    assert len(layers) > 1


def test_a_document_read_for_a_question_is_not_counted_as_known(tmp_path: Path) -> None:
    with office(tmp_path) as new:
        found: list[Any] = []
        for _ in range(2):
            job: Any = Asked(new.desk)
            found.append(ask(new.desk, job, Question([new.ids[0]], QUESTIONS[0], max_tokens=2), Metrics()).extra)
            new.ask(1, QUESTIONS[0])
        first, second = found
        assert first["timings"]["cache_n"] == first["pruning"]["reused_layers"] == 0
        assert first["pruning"]["seconds"]["total"] > first["pruning"]["seconds"]["document"] > 0
        assert second["timings"]["cache_n"] > 400 and "document" not in second["pruning"]["seconds"]


def test_small_ubatches_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give --ubatch 144 or more"), office(tmp_path, n_ubatch=143):
        pass
    with office(tmp_path, n_ubatch=144) as new:
        assert new.ask(0, QUESTIONS[0])

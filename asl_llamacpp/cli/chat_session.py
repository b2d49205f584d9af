"""A chat about one document, without any terminal: the model, the document, the history, and a change of policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType, TracebackType
from typing import Any

from ..documents.answer import Answer, AnswerStream
from ..documents.document import QUESTION_ROOM, Document
from ..documents.history import fit_history
from ..documents.shelf import Overflow
from ..documents.turns import Turn
from ..llama import models
from ..llama.llama import Llama
from ..llama.opening import SAVED_SUFFIX, Loaded, open_loaded
from ..policies import Policy


class ChatSession:
    """Opens the model when it is made; to be used with `with`.

    llm, document  change with the policy
    history        turns that the next question follows
    last           the last answer, also one that was stopped; None: there is none
    """

    def __init__(
        self,
        model: Path,
        loaded: Loaded,
        policy: str | Policy,
        options: dict[str, Any],
        overflow: Overflow = "error",
        max_tokens: int = 256,
        sampling: Mapping[str, Any] = MappingProxyType({}),
        system: str = "",
    ) -> None:
        self.model, self.loaded = model, loaded
        self.options, self.overflow = options, overflow
        self.max_tokens, self.sampling, self.system = max_tokens, sampling, system
        self.history: list[Turn] = []
        self.last: Answer | None = None
        self._aside: TemporaryDirectory[str] | None = None
        self._open(policy)

    def __enter__(self) -> ChatSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.llm.close()
        self._drop_aside()

    @property
    def policy(self) -> Policy:
        """The one in use, with the model's calibration."""
        return self.llm.kv_policy

    def _open(self, policy: str | Policy) -> None:
        self.llm: Llama = models.open_model(self.model, kv_policy=policy, **self.options)
        self._spec = policy
        try:
            self.document = self._document(self.policy)
        except BaseException:
            self.llm.close()
            raise

    def _document(self, policy: Policy) -> Document:
        aside = self._aside_file
        if aside is not None and policy.prunes:
            document = self.llm.open_document(aside)
            self._drop_aside()  # what is mapped of it stays
            return document
        return open_loaded(self.llm, self.loaded, self.overflow, self.max_tokens, self.system)

    @property
    def can_complete(self) -> bool:
        """Whether the document has a state that could go deeper."""
        known = self.document.state
        return known is not None and 0 < known.layers < known.n_layer and self.document.fits

    # ---- questions -------------------------------------------------------------------------------------------------

    def fit(self, question: str) -> int:
        """How many of the oldest turns must be dropped for `question`."""
        kept = fit_history(self.document, question, self.history, self.max_tokens, self.llm.n_ctx())
        return len(self.history) - len(kept)

    def n_prompt(self, question: str, n_dropped: int) -> int | None:
        """Tokens of the whole prompt; None for a document that is read by sections."""
        return len(self.document.prompt(question, self.history[n_dropped:])) if self.document.fits else None

    def ask(self, question: str, n_dropped: int = 0) -> AnswerStream:
        """The answer, piece by piece; the oldest turns are dropped for good. See `Document.ask` for the errors."""
        history = self.history[n_dropped:]
        stream = self.document.ask(question, history=history, max_tokens=self.max_tokens, stream=True, **self.sampling)
        self.history = history
        return stream

    def keep(self, question: str, stream: AnswerStream) -> Answer | None:
        """End an answer, and remember what there is of it; None if the prefill was not through."""
        stream.close()
        with suppress(RuntimeError):
            self.last = stream.answer
            if self.last.text:
                self.history.append(Turn(question, self.last.text))
            return self.last
        return None

    # ---- policies --------------------------------------------------------------------------------------------------

    def switch(self, policy: str | Policy, busy: Callable[[str], object] = print) -> str:
        """Open the model anew under another policy, and take document and history along; what happened, in words.

        If that fails the old policy is opened again, and the error is raised. `busy` is told what is being done.
        """
        busy("keeping the document's state")
        self._put_aside()
        busy("loading")
        old = self._spec
        self.llm.close()
        try:
            self._open(policy)
        except BaseException:
            self._open(old)
            raise
        return self._taken_along()

    def _taken_along(self) -> str:
        state = self.document.state
        if not self.policy.prunes:
            kept = "; the one there is waits for the next policy" if self._aside is not None else ""
            return f"llama.cpp as it is, which uses no state of a document{kept}"
        if state is None or not state.layers:
            return "there was no state of the document to take along: the next question prefills it"
        taken = f"the document's state of {state.layers} layers was taken along"
        if state.layers == state.n_layer:
            taken = f"{taken}: that is all of them, so questions see the whole document"
        cache, entry = self.llm.pruned_cache, self.document.entry
        assert cache is not None and entry is not None
        n = len(self.document.tokens)
        n_asked = n + QUESTION_ROOM
        planned = cache.plan(n_asked)
        if cache.store.known(entry, n, cache.deepest(planned.policy, n_asked)).n == 0:
            return f"{taken}, but kv_budget has no room for that: the next question prefills the document anew"
        latest = cache.latest_layer(planned, n_asked)
        if latest is not None and latest + 1 < state.layers < state.n_layer:
            return f"{taken}; this policy selects earlier than that, and questions are pruned behind it"
        return taken

    @property
    def _aside_file(self) -> Path | None:
        return None if self._aside is None else Path(self._aside.name) / f"document{SAVED_SUFFIX}"

    def _put_aside(self) -> None:
        """Save the document's state, if there is any."""
        state = self.document.state
        if state is None or not state.layers:
            return
        self._drop_aside()
        self._aside = TemporaryDirectory(prefix="asl-chat-", ignore_cleanup_errors=True)
        try:
            self.document.save(f"{self._aside.name}/document{SAVED_SUFFIX}")
        except BaseException:
            self._drop_aside()
            raise

    def _drop_aside(self) -> None:
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.cleanup()

"""A model for the command line tool `llm`: `llm -m asl -f asl:report.pdf "What did the auditors object to?"`.

Needs llm: pip install 'asl-llamacpp[llm]'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import llm
from pydantic import Field

from ..documents.document import Document
from ..documents.text import DocumentText
from ..llama import models
from ..llama.llama import Llama
from ..llama.opening import Loaded, fit_context, measure
from ..sources import AS_IS, Source, read_source, text_source
from ..sources.kinds import format_of
from .turns import as_question, span_values

ROOM = 2048
"""Tokens beside the documents in an automatic context: for the conversation, and an answer."""

PLAIN_CONTEXT = 4096
"""Tokens of the context where there is no document."""

_read: dict[str, Source] = {}
"""What `-f asl:FILE` read, by its text, which is all that a fragment keeps: with its name, pages and sections."""


@llm.hookimpl
def register_models(register: Callable[..., None]) -> None:
    """`llm` calls this."""
    register(ASLModel())


@llm.hookimpl
def register_fragment_loaders(register: Callable[..., None]) -> None:
    """`llm` calls this."""
    register("asl", load_fragment)


def load_fragment(path: str) -> llm.Fragment:
    """The text of a document in any format, for `-f asl:report.pdf`: `llm` itself reads plain text alone."""
    source = read_source(path)
    _read[source.text] = source
    return llm.Fragment(source.text, path)


@dataclass(frozen=True)
class _Opened:
    key: tuple[Any, ...]
    llama: Llama
    document: Document | None


class ASLModel(llm.Model):
    """Answers from the fragments and attachments of a conversation, if there are any."""

    model_id = "asl"
    can_stream = True
    attachment_types: ClassVar[set[str]] = {
        *("application/pdf", "text/plain", "text/markdown", "text/html", "application/epub+zip"),
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    }

    class Options(llm.Options):
        model: str | None = Field(default=None, description="GGUF file; SmolLM2-135M-Instruct if it is installed")
        policy: str = Field(default="asl", description="What to prune")
        n_ctx: int | None = Field(default=None, ge=1, description="Context, tokens; what the documents need")
        max_tokens: int = Field(default=512, ge=1, description="Longest answer, tokens")
        temperature: float = Field(default=0.0, ge=0, description="0 is greedy")
        threads: int | None = Field(default=None, ge=1, description="CPU threads")

    def __init__(self) -> None:
        self._opened: _Opened | None = None

    def execute(
        self, prompt: llm.Prompt, stream: bool, response: llm.Response, conversation: llm.Conversation | None
    ) -> Iterator[str]:
        """The answer, piece by piece; `response.response_json` gets the passages that it rests on."""
        before = [] if conversation is None else list(conversation.responses)
        sources = _sources([*(one.prompt for one in before), prompt])
        said: list[tuple[str, str]] = [("system", prompt.system)] if prompt.system else []
        for one in before:
            said += [("user", one.prompt._prompt or ""), ("assistant", one.text())]
        said.append(("user", prompt._prompt or ""))
        options = prompt.options
        opened = self._open(sources, options)
        settings = {"max_tokens": options.max_tokens, "temperature": options.temperature}
        if opened.document is None:
            yield from _plain(opened.llama, said, settings)
            return
        question, history = as_question(said)
        answers = opened.document.ask(question, history=history, stream=True, **settings)
        yield from answers
        answer = answers.answer
        response.set_usage(input=answer.usage["prompt_tokens"], output=answer.usage["completion_tokens"])
        response.response_json = {
            "finish_reason": answer.finish_reason,
            "evidence": [{"text": span.text, **span_values(span)} for span in answer.evidence],
        }

    def _open(self, sources: list[Source], options: Any) -> _Opened:
        """The model and the documents as one; those of the last call, if they are the same."""
        texts = tuple(source.text for source in sources)
        key = (texts, options.model, options.policy, options.n_ctx, options.threads)
        if self._opened is not None and self._opened.key == key:
            return self._opened
        if self._opened is not None:
            self._opened.llama.close()
            self._opened = None
        path = models.find_model(options.model)
        threads = {"n_threads": options.threads, "n_threads_batch": options.threads}
        if not sources:
            llama = models.open_model(path, kv_policy=options.policy, n_ctx=options.n_ctx or PLAIN_CONTEXT, **threads)
            self._opened = _Opened(key, llama, None)
            return self._opened
        loaded = Loaded(", ".join(source.name for source in sources), DocumentText.of(sources))
        n_ctx = fit_context(measure(path, loaded), options.max_tokens, options.n_ctx, room=ROOM)
        llama = models.open_model(path, kv_policy=options.policy, n_ctx=n_ctx, **threads)
        self._opened = _Opened(key, llama, llama.shelf.add(loaded.content, loaded.name))
        return self._opened


def _sources(prompts: list[Any]) -> list[Source]:
    """What all prompts of a conversation brought, each once."""
    found: dict[str, Source] = {}
    for prompt in prompts:
        for fragment in prompt.fragments:
            name = str(getattr(fragment, "source", None) or "fragment")
            if str(fragment).startswith("%PDF-"):
                name = name.rpartition("/")[2]
                raise llm.ModelError(f"llm has read {name} as plain text: say -f asl:{name}, or -a {name}")
            source = _read.get(str(fragment)) or text_source(str(fragment), name.rpartition("/")[2])
            found.setdefault(source.text, source)
        for attachment in prompt.attachments:
            name = (attachment.path or attachment.url or "attachment").rpartition("/")[2]
            data = attachment.content_bytes()
            source = format_of(data, name).source(data, name, AS_IS)
            found.setdefault(source.text, source)
    return list(found.values())


def _plain(llama: Llama, said: list[tuple[str, str]], settings: dict[str, Any]) -> Iterator[str]:
    messages: Any = [{"role": role, "content": text} for role, text in said]
    for chunk in llama.create_chat_completion(messages, stream=True, **settings):
        choice: Any = chunk["choices"][0]
        if choice["delta"].get("content"):
            yield choice["delta"]["content"]

"""LangChain: `ChatASL`, a chat model, and `DocumentQA`, a retriever of the passages that a question looks at.

Needs langchain-core: pip install 'asl-llamacpp[langchain]'
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document as Passage
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.retrievers import BaseRetriever

from ..documents.answer import Answer
from ..documents.document import Document
from ..llama.llama import Llama
from .turns import as_question, span_values

_ROLES = {"human": "user", "ai": "assistant", "system": "system"}


class ChatASL(BaseChatModel):
    """A chat model that runs here; with `document`, it answers from that.

    llm          an `asl_llamacpp.Llama`
    document     of it, as `llm.read` makes it; None: a plain chat
    max_tokens   longest answer, tokens
    temperature  0 is greedy

    The passages that an answer about a document rests on are in its `response_metadata["evidence"]`.
    """

    llm: Any
    document: Any = None
    max_tokens: int = 512
    temperature: float = 0.0

    @property
    def _llm_type(self) -> str:
        return "asl"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        llm: Llama = self.llm
        name = None if self.document is None else self.document.name
        return {"model": llm.model_path, "policy": str(llm.kv_policy), "document": name}

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = list(self._stream(messages, stop, run_manager, **kwargs))
        said = "".join(chunk.text for chunk in chunks)
        last = chunks[-1].message
        assert isinstance(last, AIMessageChunk)
        message = AIMessage(said, response_metadata=last.response_metadata, usage_metadata=last.usage_metadata)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        options = {"max_tokens": self.max_tokens, "temperature": self.temperature, **kwargs}
        if stop:
            options["stop"] = stop
        said = [(_ROLES.get(message.type, message.type), message.text) for message in messages]
        pieces = self._plain(said, options) if self.document is None else self._of_document(said, options)
        for chunk in pieces:
            if run_manager is not None and chunk.text:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _plain(self, said: Sequence[tuple[str, str]], options: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
        llm: Llama = self.llm
        asked = [{"role": role, "content": text} for role, text in said]
        reason = None
        for chunk in llm.create_chat_completion(asked, stream=True, **options):
            choice: Any = chunk["choices"][0]
            reason = choice["finish_reason"] or reason
            if choice["delta"].get("content"):
                yield _chunk(choice["delta"]["content"])
        yield _chunk("", response_metadata={"finish_reason": reason})

    def _of_document(self, said: Sequence[tuple[str, str]], options: dict[str, Any]) -> Iterator[ChatGenerationChunk]:
        document: Document = self.document
        question, history = as_question(said)
        stream = document.ask(question, history=history, stream=True, **options)
        for piece in stream:
            yield _chunk(piece)
        answer = stream.answer
        metadata = {"finish_reason": answer.finish_reason, "evidence": _evidence(answer)}
        used = {
            "input_tokens": answer.usage["prompt_tokens"],
            "output_tokens": answer.usage["completion_tokens"],
            "total_tokens": answer.usage["total_tokens"],
        }
        yield _chunk("", response_metadata=metadata, usage_metadata=used)


class DocumentQA(BaseRetriever):
    """What a document says to a question: the passages that the model went deeper with, best first.

    document  as `Llama.read` makes it
    k         passages at most

    A passage's metadata has source, page, section, start, end and score, and the model's note on what they are worth.
    """

    document: Any
    k: int = 8

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Passage]:
        document: Document = self.document
        answer = document.ask(query, max_tokens=1)
        note = answer.evidence_note
        return [
            Passage(page_content=span.text, metadata=span_values(span) | {"note": note})
            for span in answer.evidence[: self.k]
        ]


def _evidence(answer: Answer) -> list[dict[str, Any]]:
    return [{"text": span.text, **span_values(span)} for span in answer.evidence]


def _chunk(text: str, **metadata: Any) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text, **metadata))

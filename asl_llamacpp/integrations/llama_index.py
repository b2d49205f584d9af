"""LlamaIndex: `ASL`, a `CustomLLM`, and passages of a document as nodes.

Needs llama-index-core: pip install 'asl-llamacpp[llama-index]'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from ..documents.answer import Answer
from ..documents.document import Document
from ..llama.llama import Llama
from .turns import as_question, span_values


class ASL(CustomLLM):
    """A model that runs here; with `document`, it answers from that.

    llm          an `asl_llamacpp.Llama`
    document     of it, as `llm.read` makes it; None: the prompt alone
    max_tokens   longest answer, tokens
    temperature  0 is greedy

    The passages that an answer rests on are in its `additional_kwargs["evidence"]`.
    """

    llm: Any
    document: Any = None
    max_tokens: int = 512
    temperature: float = 0.0

    @classmethod
    def class_name(cls) -> str:
        return "ASL"

    @property
    def metadata(self) -> LLMMetadata:
        llm: Llama = self.llm
        name = llm.metadata.get("general.name") or llm.model_path
        return LLMMetadata(
            context_window=llm.n_ctx(), num_output=self.max_tokens, is_chat_model=True, model_name=str(name)
        )

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        *_, last = self.stream_complete(prompt, formatted, **kwargs)
        return last

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        return self._stream([("user", prompt)], kwargs)

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        said = [(_role(message), message.content or "") for message in messages]
        *_, last = self._stream(said, kwargs)
        message = ChatMessage(role=MessageRole.ASSISTANT, content=last.text, additional_kwargs=last.additional_kwargs)
        return ChatResponse(message=message, additional_kwargs=last.additional_kwargs)

    def _stream(self, said: Sequence[tuple[str, str]], given: dict[str, Any]) -> CompletionResponseGen:
        options = {"max_tokens": self.max_tokens, "temperature": self.temperature, **given}
        text = ""
        if self.document is None:
            asked = [{"role": role, "content": content} for role, content in said]
            llm: Llama = self.llm
            for chunk in llm.create_chat_completion(asked, stream=True, **options):
                delta: Any = chunk["choices"][0]["delta"]
                text += delta.get("content") or ""
                yield CompletionResponse(text=text, delta=delta.get("content") or "")
            return
        document: Document = self.document
        question, history = as_question(said)
        stream = document.ask(question, history=history, stream=True, **options)
        for piece in stream:
            text += piece
            yield CompletionResponse(text=text, delta=piece)
        yield CompletionResponse(text=text, delta="", additional_kwargs={"evidence": _evidence(stream.answer)})


def _role(message: ChatMessage) -> str:
    return str(message.role.value)


def _evidence(answer: Answer) -> list[dict[str, Any]]:
    return [{"text": span.text, **span_values(span)} for span in answer.evidence]

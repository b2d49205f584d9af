"""Haystack: `ASLChatGenerator`, which answers messages from documents or without.

Needs haystack-ai: pip install 'asl-llamacpp[haystack]'
"""

from __future__ import annotations

from typing import Any

from haystack import Document as HaystackDocument
from haystack import component
from haystack.dataclasses import ChatMessage

from ..documents.document import Document
from ..llama.llama import Llama
from .turns import as_question, span_values


@component
class ASLChatGenerator:
    """Answers the last of the messages; from `document`, or from the documents that a pipeline brings.

    llm          an `asl_llamacpp.Llama`
    document     of it, as `llm.read` makes it; None: a plain chat, unless a pipeline brings documents
    max_tokens   longest answer, tokens
    temperature  0 is greedy
    """

    def __init__(
        self, llm: Llama, document: Document | None = None, max_tokens: int = 512, temperature: float = 0.0
    ) -> None:
        self.llm, self.document = llm, document
        self.max_tokens, self.temperature = max_tokens, temperature

    @component.output_types(replies=list[ChatMessage], evidence=list[HaystackDocument])
    def run(self, messages: list[ChatMessage], documents: list[HaystackDocument] | None = None) -> dict[str, Any]:
        """`replies` has one message, `evidence` the passages that it rests on."""
        said = [(message.role.value, message.text or "") for message in messages]
        options: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        if documents:
            text = "\n\n".join(document.content or "" for document in documents)
            document = self.llm.read(text=text, name="documents")
            try:
                return self._ask(document, said, options)
            finally:
                document.close()
        if self.document is not None:
            return self._ask(self.document, said, options)
        asked = [{"role": role, "content": content} for role, content in said]
        found: Any = self.llm.create_chat_completion(asked, **options)
        choice = found["choices"][0]
        meta = {"finish_reason": choice["finish_reason"], "usage": found["usage"]}
        return {"replies": [ChatMessage.from_assistant(choice["message"]["content"], meta=meta)], "evidence": []}

    def _ask(self, document: Document, said: list[tuple[str, str]], options: dict[str, Any]) -> dict[str, Any]:
        question, history = as_question(said)
        answer = document.ask(question, history=history, **options)
        evidence = [
            HaystackDocument(content=span.text, meta=span_values(span), score=span.score) for span in answer.evidence
        ]
        meta = {"finish_reason": answer.finish_reason, "usage": answer.usage}
        return {"replies": [ChatMessage.from_assistant(answer.text, meta=meta)], "evidence": evidence}

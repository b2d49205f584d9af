"""The text that a chat handler makes of messages, taken from the handler itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_cpp.llama_chat_format import get_chat_completion_handler


@dataclass(frozen=True)
class Rendered:
    """`text` of a prompt, whether the handler wants a first token before it, and where an answer must `stop`."""

    text: str
    add_bos: bool
    stop: list[str]


class _Completion(Exception):
    def __init__(self, prompt: Any, options: dict[str, Any]) -> None:
        self.prompt, self.options = prompt, options


class _Onlooker:
    """Stands for a `Llama` before its chat handler: remembers what is tokenized, and stops where a prompt is done."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm
        self.seen: list[tuple[list[int], str, bool]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        tokens: list[int] = self._llm.tokenize(text, add_bos, special)
        self.seen.append((tokens, text.decode(errors="replace"), add_bos))
        return tokens

    def create_completion(self, prompt: Any = None, **options: Any) -> None:
        raise _Completion(prompt, options)


def render(llm: Any, messages: Sequence[Any], handler: Any = None) -> Rendered:
    """What the chat handler in use, or `handler`, makes of `messages`, at the moment when it hands its prompt on.

    Whatever template and special tokens it chose are in it. Nothing of `llm` changes, so any thread may do this.

    Raises:
        ValueError: the template cannot render the messages, or the handler makes no plain text.
    """
    onlooker = _Onlooker(llm)
    try:
        handler = handler or llm.chat_handler or llm._chat_handlers.get(llm.chat_format)
        handler = handler or get_chat_completion_handler(llm.chat_format)
        handler(llama=onlooker, messages=list(messages))
    except _Completion as made:
        stop = made.options.get("stop") or []
        stop = [stop] if isinstance(stop, str) else list(stop)
        for tokens, text, add_bos in onlooker.seen:
            if tokens is made.prompt:
                return Rendered(text, add_bos, stop)
        if isinstance(made.prompt, str):
            return Rendered(made.prompt, True, stop)
    except Exception as error:  # templates are programs, and refuse in their own ways
        raise ValueError(f"the model's chat template cannot render the prompt: {error}") from error
    raise ValueError("the model's chat handler makes no plain text prompt, so its tokens cannot be counted")

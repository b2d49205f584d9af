"""Before a model is opened for a document: what the document says, and the context that the two of them need."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ..budget.kv_shape import pad
from ..documents.document import QUESTION_ROOM, ContextOverflow, Document
from ..documents.saved_document import saved_content
from ..documents.shelf import Overflow
from ..documents.text import DocumentText, title
from ..files.asldoc import open_document_file
from ..files.asldoc_layout import MAGIC
from ..sources import AS_IS, STDIN, Reading
from ..sources.gathering import read_all
from . import models
from .llama import Llama

CONTEXT_STEP = 256
"""An automatic n_ctx is a multiple of this."""

SAVED_SUFFIX = ".asldoc"

EXAMPLE = Path(__file__).with_name("hacker-folklore.txt")
"""The document of `asl-llamacpp demo`: from the Jargon File, which is in the public domain."""


@dataclass(frozen=True)
class Loaded:
    """A document as it was read: with `saved` from that file, and `tokens` are the file's, the head's included."""

    name: str
    content: DocumentText
    saved: Path | None = None
    tokens: tuple[Sequence[int], int] | None = None


@dataclass(frozen=True)
class DocumentSize:
    """Tokens of a document and of what stands around it: the chat template and a question, or some room for one.

    n_ctx_train  the model's trained context, 0: unknown
    """

    name: str
    document: int
    around: int
    n_ctx_train: int

    @property
    def prompt(self) -> int:
        return self.document + self.around


def is_saved_document(path: str | Path) -> bool:
    """Whether a file was written by `Document.save`, which shows in its first bytes, or at least is called so."""
    path = Path(path)
    if str(path) == STDIN or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC or path.suffix.lower() == SAVED_SUFFIX


def load_document(files: Sequence[str], reading: Reading = AS_IS) -> Loaded:
    """The text of files, folders, patterns and URLs, one after another, or of one saved document.

    Raises:
        ValueError: a saved document is not alone; else as `read_all` and `open_document_file`.
    """
    saved = [file for file in files if is_saved_document(file)]
    if not saved:
        gathered = read_all(files, reading)
        return Loaded(title(gathered.sources), DocumentText.of(gathered.sources, gathered.left_out))
    if len(files) > 1:
        raise ValueError(f"{saved[0]} is a saved document, which cannot be joined with others: name it alone")
    file = open_document_file(saved[0])
    name, content = saved_content(file)
    return Loaded(name, content, file.path, (file.arrays["tokens"].tolist(), int(file.header.get("n_head", 0))))


def measure(model: str | Path, loaded: Loaded, question: str | None = None, system: str = "") -> DocumentSize:
    """Count the prompt's tokens exactly as `Document.ask` will evaluate them, with the model's vocabulary alone.

    question: None: any; `QUESTION_ROOM` is what it takes.

    Raises:
        ValueError: llama.cpp cannot load the model, the question is empty, or the chat template cannot render it.
    """
    with closing(models.open_model(model, vocab_only=True, kv_policy="full", n_gpu_layers=0)) as tokenizer:
        document = Document(tokenizer, loaded.content, loaded.name, loaded.tokens, system)
        asked = QUESTION_ROOM if question is None else len(document.prompt(question)) - len(document.tokens)
        n_ctx_train = models.trained_context(tokenizer)
        return DocumentSize(loaded.name, document.n_tokens, document.n_head + asked, n_ctx_train)


def fit_context(
    size: DocumentSize, max_tokens: int, n_ctx: int | None = None, overflow: Overflow = "error", room: int = 0
) -> int:
    """The context to open: `n_ctx` if given, else the smallest multiple of 256 that holds prompt and answer.

    room: tokens beside the document that there should be at least, if the model can.

    Raises:
        ContextOverflow: they do not fit, and the document is not to be read by sections; the message has the numbers
            and what can be done.
        ValueError: `n_ctx` exceeds the model's trained context.
    """
    needed, limit = size.prompt + max_tokens, size.n_ctx_train
    if n_ctx is not None and limit and n_ctx > limit:
        raise ValueError(f"--n-ctx {n_ctx} exceeds the model's trained context of {limit} tokens")
    if n_ctx is None:
        n_ctx = pad(max(needed, size.document + room), CONTEXT_STEP)
        n_ctx = min(n_ctx, limit) if limit else n_ctx
    if needed <= n_ctx or overflow == "sections":
        return n_ctx
    options = ["shorten it", "take a model with a longer context (-m)", "read it by sections (--sections)"]
    if n_ctx > size.prompt:
        options.insert(0, f"lower --max-tokens to {n_ctx - size.prompt} or less")
    if needed <= limit:
        options.insert(0, f"raise --n-ctx to {needed} or more")
    raise ContextOverflow(
        f"{size.name} does not fit: {size.document} tokens of document + {size.around} of question and template "
        f"+ {max_tokens} for the answer = {needed}, but the context has {n_ctx} (the model's trained context: "
        f"{limit or 'unknown'}). Nothing was cut. {', or '.join(options).capitalize()}"
    )


def open_loaded(llm: Llama, loaded: Loaded, overflow: Overflow, max_tokens: int, system: str = "") -> Document:
    """The document, to be asked. A saved one that is too long for the context is read by sections from its text."""
    n_saved = len(loaded.tokens[0]) if loaded.tokens is not None else 0
    if loaded.saved is not None and (overflow == "error" or n_saved + QUESTION_ROOM + max_tokens <= llm.n_ctx()):
        if system:
            raise ValueError(
                f"{loaded.saved} was saved with its own beginning: a system prompt cannot be put before it"
            )
        return llm.open_document(loaded.saved)
    return llm.shelf.add(loaded.content, loaded.name, overflow, system)

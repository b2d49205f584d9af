"""Before a model is opened for a document: what the document says, and the context that the two of them need."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from . import models
from .asldoc import open_document_file
from .asldoc_layout import MAGIC
from .document import ContextOverflow, Document, DocumentText
from .reading import Overflow
from .saved_document import saved_content
from .sources import STDIN, read_source

CONTEXT_STEP = 256
"""An automatic n_ctx is a multiple of this."""

SAVED_SUFFIX = ".asldoc"


@dataclass(frozen=True)
class Loaded:
    """A document as it was read: with `saved` from that file, and `tokens` are the file's, the head's included."""

    name: str
    content: DocumentText
    saved: Path | None = None
    tokens: tuple[Sequence[int], int] | None = None


@dataclass(frozen=True)
class DocumentSize:
    """Tokens of a document and of what the chat template has before it; the model's trained context, 0: unknown."""

    name: str
    document: int
    head: int
    n_ctx_train: int


def is_saved_document(path: str | Path) -> bool:
    """Whether a file was written by `Document.save`, which shows in its first bytes, or at least is called so."""
    path = Path(path)
    if str(path) == STDIN or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC or path.suffix.lower() == SAVED_SUFFIX


def load_document(files: Sequence[str]) -> Loaded:
    """The text of files, one after another, or of one saved document.

    Raises:
        ValueError: a saved document is not alone; else as `read_source` and `open_document_file`.
    """
    saved = [file for file in files if is_saved_document(file)]
    if not saved:
        sources = [read_source(file) for file in files]
        return Loaded(", ".join(source.name for source in sources), DocumentText.of(sources))
    if len(files) > 1:
        raise ValueError(f"{saved[0]} is a saved document, which cannot be joined with others: name it alone")
    file = open_document_file(saved[0])
    name, content = saved_content(file)
    return Loaded(name, content, file.path, (file.arrays["tokens"].tolist(), int(file.header.get("n_head", 0))))


def measure_document(model: str | Path, loaded: Loaded) -> DocumentSize:
    """Count its tokens as `Document` will, with the model's vocabulary alone.

    Raises:
        ValueError: llama.cpp cannot load the model, or its chat template cannot render a prompt.
    """
    with closing(models.open_model(model, vocab_only=True, kv_policy="full", n_gpu_layers=0)) as tokenizer:
        document = Document(tokenizer, loaded.content, loaded.name, loaded.tokens)
        n_ctx_train = models.trained_context(tokenizer)
        return DocumentSize(loaded.name, document.n_tokens, document.n_head, n_ctx_train)


def fit_document(
    size: DocumentSize, room: int, least: int, n_ctx: int | None = None, overflow: Overflow = "error"
) -> int:
    """The context to open: `n_ctx` if given, else one with `room` tokens beside the document, if the model has that.

    least: tokens beside it without which nothing can be asked.

    Raises:
        ContextOverflow: it does not fit, and is not to be read by sections.
        ValueError: `n_ctx` exceeds the model's trained context.
    """
    own, limit = size.document + size.head, size.n_ctx_train
    if n_ctx is not None and limit and n_ctx > limit:
        raise ValueError(f"--n-ctx {n_ctx} exceeds the model's trained context of {limit} tokens")
    if n_ctx is None:
        n_ctx = -(-(own + room) // CONTEXT_STEP) * CONTEXT_STEP
        n_ctx = min(n_ctx, limit) if limit else n_ctx
    if own + least <= n_ctx or overflow == "sections":
        return n_ctx
    options = ["read it by sections (--overflow sections)", "shorten it", "take a model with a longer context (-m)"]
    if n_ctx > own:
        options.insert(0, "lower --max-tokens")
    if own + least <= limit:
        options.insert(0, f"raise --n-ctx to {own + least} or more")
    raise ContextOverflow(
        f"{size.name} does not fit: {size.document} tokens of document + {size.head} of template + at least {least} "
        f"for a question and its answer = {own + least}, but the context has {n_ctx} (the model's trained context: "
        f"{limit or 'unknown'}). Nothing was cut. {', or '.join(options).capitalize()}"
    )

"""Documents in files: what `Document.save` writes, and `Llama.open_document` reads."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from ..files.asldoc import DocumentFile, DocumentFileError, check_matches, open_document_file, write_document_file
from ..files.fingerprint import as_saved, fingerprint
from ..prefill.contrast import Found
from ..prefill.document_state import DocumentState, LayerKV
from ..sources import Heading, Mark, Source
from ..sources.source_frames import fields_of
from .chat_prompt import document_tokens, has_chat_template
from .document import Document
from .text import DocumentText, Part

_OF_TEXT = ("model", "tokenizer")
"""What the tokens of a document depend on."""


def document_fingerprint(llm: Any) -> dict[str, str]:
    """What a document's state depends on, by name: not on the policy or the budget, which work on it later."""
    own = fingerprint(llm)
    names = ("model", "adapter", "context settings", "build")
    settings = f"{own['context settings']}, swa_full={llm.context_params.swa_full}"
    # models with two sets of RoPE factors take one or the other by the size of the context
    if any(key.endswith("rope.scaling.original_context_length") for key in llm.metadata):
        settings += f", n_ctx={llm.n_ctx()}"
    return {
        **{name: own[name] for name in names},
        "context settings": settings,
        "tokenizer": tokenizer_hash(llm),
        "chat template": template_hash(llm),
    }


def tokenizer_hash(llm: Any) -> str:
    """Hash of the texts and kinds of all tokens."""
    vocab = llm._model.vocab
    digest = hashlib.sha256()
    for token in range(llm.n_vocab()):
        digest.update(llama_cpp.llama_vocab_get_text(vocab, token))
        digest.update(b"\0%d" % llama_cpp.llama_vocab_get_attr(vocab, token))
    return digest.hexdigest()[:32]


def template_hash(llm: Any) -> str:
    """Hash of the chat template's source, and the name of the format that is used."""
    template = llm.metadata.get("tokenizer.chat_template")
    text = f"{llm.chat_format}\n{template}"
    if template is None and has_chat_template(llm):
        text += "\ngiven"  # not the fallback of the same name, which no prompt follows
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def save_document(llm: Any, document: Document, state: DocumentState, path: str | Path) -> int:
    """See `Document.save`."""
    sources: list[Source] = []
    parts = []
    for part in document.content.parts:
        source: Any = part.source
        if source not in sources:
            sources.append(source)
        parts.append([sources.index(source), part.start_in_document, part.start_in_source, part.length])
    neutral = {} if document.entry is None else document.entry.neutral
    header = {
        "kind": "document",
        "name": document.name,
        "fingerprint": document_fingerprint(llm),
        "n_head": document.n_head,
        "text": document.text,
        "left_out": document.content.left_out,
        "parts": parts,
        "sources": [fields_of(source) for source in sources],
        "first": [layer.first for layer in state.layers],
        "neutral": list(neutral),
    }
    arrays: dict[str, Any] = {"tokens": state.tokens}
    for il, layer in enumerate(state.layers):
        arrays |= {f"k.{il}": layer.k, f"v.{il}": layer.v}
    if state.hidden is not None:
        arrays["hidden"] = state.hidden
    arrays |= {f"neutral.{i}": scores for i, scores in enumerate(neutral.values())}
    return write_document_file(path, header, arrays)


def open_document(llm: Any, path: Path) -> tuple[Document, DocumentState, Found]:
    """See `Llama.open_document`; the document is not registered yet."""
    file = open_document_file(path)
    try:
        saved = {str(name): str(value) for name, value in file.header["fingerprint"].items()}
        own = as_saved(document_fingerprint(llm), saved, llm.model_path, llm.lora_path)
        if llm.shelf.kv_shape is None:  # stock llama.cpp evaluates the text anew
            saved, own = ({name: values[name] for name in _OF_TEXT} for values in (saved, own))
        check_matches(saved, own, path)
        name, content = saved_content(file)
        state, neutral = _state(llm, file)
        n_head = int(file.header["n_head"])
        if state.tokens[max(n_head, 0) :].tolist() != document_tokens(llm, content.text):
            raise DocumentFileError(f"{path} holds the tokens of another text: read the document anew")
        document = Document(llm, content, name, (state.tokens.tolist(), n_head))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DocumentFileError(f"{path} is not a saved document that this version understands: {error!r}") from None
    return document, state, neutral


def saved_content(file: DocumentFile) -> tuple[str, DocumentText]:
    """The document's name and text, which any model can read; DocumentFileError if the file has none."""
    try:
        sources = [_source(saved) for saved in file.header["sources"]]
        parts = tuple(Part(sources[i], start, begin, length) for i, start, begin, length in file.header["parts"])
        left_out = tuple(str(sentence) for sentence in file.header.get("left_out", ()))
        return str(file.header["name"]), DocumentText(str(file.header["text"]), parts, left_out)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise DocumentFileError(f"{file.path} is not a document that this version understands: {error!r}") from None


def _source(saved: Any) -> Source:
    """What `save_document` wrote; earlier files have only its text and marks."""
    return Source(
        str(saved["name"]),
        str(saved["text"]),
        tuple(Mark(*mark) for mark in saved["marks"]),
        tuple(str(warning) for warning in saved.get("warnings", ())),
        tuple(Heading(*heading) for heading in saved.get("headings", ())),
        tuple(str(label) for label in saved.get("page_labels", ())),
    )


def _state(llm: Any, file: DocumentFile) -> tuple[DocumentState, Found]:
    """The arrays, in the shapes that this context has, and what a turn that asks nothing looks at.

    DocumentFileError if they have others.
    """
    arrays, firsts = file.arrays, file.header["first"]
    names = {f"{kind}.{il}" for il in range(len(firsts)) for kind in "kv"}
    n, n_layer = len(arrays["tokens"]), llama_cpp.llama_model_n_layer(llm._model.model)
    shapes: dict[str, tuple[int, ...]] = {"tokens": (n,)}
    if len(firsts) < n_layer:
        shapes["hidden"] = (n, llm.n_embd())
    for il, first in enumerate(firsts):
        if llm.shelf.kv_shape is not None:
            shapes[f"k.{il}"], shapes[f"v.{il}"] = ((n - first, size) for size in llm.shelf.kv_shape.row_bytes(il))
    kinds = file.header.get("neutral", [])  # earlier files have none
    shapes |= {f"neutral.{i}": (n,) for i in range(len(kinds))}
    fits = 0 < len(firsts) <= n_layer and arrays.keys() == names | {"tokens", *shapes} and min(firsts) >= 0
    fits = fits and all(arrays[name].shape == shape for name, shape in shapes.items())
    tokens = np.array(arrays["tokens"], dtype=np.int32)
    if not fits or not ((tokens >= 0) & (tokens < llm.n_vocab())).all():
        raise DocumentFileError(f"{file.path} does not hold a document of this model: read the document anew")
    layers = [LayerKV(int(first), arrays[f"k.{il}"], arrays[f"v.{il}"]) for il, first in enumerate(firsts)]
    state = DocumentState(tokens, layers, arrays.get("hidden"))
    return state, {str(kind): arrays[f"neutral.{i}"] for i, kind in enumerate(kinds)}

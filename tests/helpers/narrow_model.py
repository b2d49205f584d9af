"""Writes a narrow SmolLM2: its tokenizer, chat template, 30 layers and KV shape, a sixteenth of its weights, random.

For tests that compare two ways to an answer, and not the answer with the truth. Prompts, layers, cells and bytes are
the real model's, and its matrices are of the same types, but a prefill takes a seventh of the time.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from derived_model import copy_metadata, derived
from gguf import GGUFReader, GGUFWriter
from gguf.quants import quantize

VERSION = 1  # raise it when the file written for the same input changes

N_EMBD, N_HEAD, HEAD_DIM, N_FF = 128, 6, 64, 128

CHANGED = {
    "llama.embedding_length": N_EMBD,
    "llama.feed_forward_length": N_FF,
    "llama.attention.head_count": N_HEAD,
}

SCALES = {"attn_q": 1.6, "attn_k": 1.6}
"""Attention far from uniform, as that of tiny_models.py."""


def write_narrow(source: Path, target: Path) -> None:
    """Write `target` with the tensors of `source`, an F32 norm and a Q8_0 embedding among them, in another width."""
    reader, random = GGUFReader(source), np.random.default_rng(0)
    writer = GGUFWriter(str(target), "llama")
    copy_metadata(reader, writer, CHANGED)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    for tensor in reader.tensors:
        name = tensor.name.removesuffix(".weight").rpartition(".")[2]
        if name.endswith("norm"):
            writer.add_tensor(tensor.name, (1 + 0.1 * random.standard_normal(N_EMBD)).astype(np.float32))
            continue
        shape = _shape(name, n_rows=int(tensor.shape[1]))
        scale = np.float32(SCALES.get(name, 1.0) / np.sqrt(shape[1]))
        values = scale * random.standard_normal(shape, dtype=np.float32)
        writer.add_tensor(tensor.name, quantize(values, tensor.tensor_type), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shape(name: str, n_rows: int) -> tuple[int, int]:
    """Rows and columns of a matrix that has `n_rows` in the real model."""
    columns = {"attn_output": N_HEAD * HEAD_DIM, "ffn_down": N_FF}
    rows = {"attn_q": N_HEAD * HEAD_DIM, "attn_output": N_EMBD, "ffn_gate": N_FF, "ffn_up": N_FF, "ffn_down": N_EMBD}
    return rows.get(name, n_rows), columns.get(name, N_EMBD)


def narrow_model(source: Path, folder: Path) -> Path:
    """The narrow copy of `source` in `folder`."""
    return derived(source, folder / f"{source.stem}.narrow.gguf", VERSION, write_narrow)

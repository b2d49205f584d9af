"""Models of the sizes that people run, with random weights: the speed and the memory of the real ones, no sense."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

BYTE_VOCAB = 3 + 256  # <unk>, <s>, </s> and the bytes: any text can be tokenized
_Q4_0_BLOCK, _Q4_0_BYTES = 32, 18  # an f16 scale, then 32 values of four bits
_SCALE = 0.004


@dataclass(frozen=True)
class Shape:
    """What decides a llama model's arithmetic. `n_vocab`: of the real model."""

    name: str
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    n_vocab: int = 128256

    @property
    def layer_weights(self) -> int:
        """Weights of one layer's matrices."""
        attention = self.n_embd * self.head_dim * (2 * self.n_head + 2 * self.n_head_kv)
        return attention + 3 * self.n_embd * self.n_ff

    def flops(self, n: int) -> float:
        """Arithmetic of one layer over n tokens in the order of the prompt: its matrices, and causal attention."""
        return 2.0 * self.layer_weights * n + self.attention_flops(n)

    def attention_flops(self, n: int) -> float:
        return 2.0 * self.n_head * self.head_dim * n * n  # QK and PV, two operations each, over half of the pairs

    def with_layers(self, n_layer: int) -> Shape:
        """Few layers of it, and a vocabulary of bytes: a layer costs the same."""
        return replace(self, name=f"{self.name}-{n_layer}-layers", n_layer=n_layer, n_vocab=BYTE_VOCAB)

    def heads_only(self, n_layer: int) -> Shape:
        """Few layers with all heads, but thin matrices: what a layer takes is attention."""
        few = self.with_layers(n_layer)
        return replace(few, name=f"{few.name}-heads", n_embd=64, n_ff=64)

    def narrow(self) -> Shape:
        """All layers and their whole KV, but little else: for the memory of the KV cache."""
        name = f"{self.name}-narrow"
        return replace(self, name=name, n_embd=64, n_head=self.n_head_kv, n_ff=64, n_vocab=BYTE_VOCAB)


SHAPES = {
    "1B": Shape("1B", n_layer=16, n_embd=2048, n_head=32, n_head_kv=8, head_dim=64, n_ff=8192),
    "3B": Shape("3B", n_layer=28, n_embd=3072, n_head=24, n_head_kv=8, head_dim=128, n_ff=8192),
    "8B": Shape("8B", n_layer=32, n_embd=4096, n_head=32, n_head_kv=8, head_dim=128, n_ff=14336),
}
"""Of Llama 3.2 1B and 3B and Llama 3.1 8B."""


def write(shape: Shape, folder: Path, n_ctx: int = 131072) -> Path:
    """The model in Q4_0 in `folder`, written unless it is there."""
    path = folder / f"{shape.name}-{shape.n_vocab}.Q4_0.gguf"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    writer = gguf.GGUFWriter(str(unfinished), "llama")
    _add_metadata(writer, shape, n_ctx)
    matrices, norms = _tensors(shape)
    for name, (rows, columns) in matrices.items():
        packed = (rows, columns // _Q4_0_BLOCK * _Q4_0_BYTES)
        n_bytes, kind = packed[0] * packed[1], gguf.GGMLQuantizationType.Q4_0
        writer.add_tensor_info(name, packed, np.dtype(np.uint8), n_bytes, raw_dtype=kind)
    for name in norms:
        writer.add_tensor_info(name, (shape.n_embd,), np.dtype(np.float32), 4 * shape.n_embd)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    random = np.random.default_rng(0)
    for rows, columns in matrices.values():  # one at a time: the model need not be in memory
        writer.write_tensor_data(_random_q4_0(random, rows, columns))
    for _ in norms:
        writer.write_tensor_data(np.ones(shape.n_embd, dtype=np.float32))
    writer.close()
    unfinished.replace(path)
    return path


def _random_q4_0(random: np.random.Generator, rows: int, columns: int) -> NDArray[np.uint8]:
    """Blocks of one small scale and random values of four bits: nothing overflows."""
    blocks = np.empty((rows, columns // _Q4_0_BLOCK, _Q4_0_BYTES), dtype=np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(_SCALE).tobytes(), dtype=np.uint8)
    blocks[..., 2:] = random.integers(0, 256, (rows, columns // _Q4_0_BLOCK, _Q4_0_BYTES - 2), dtype=np.uint8)
    return blocks.reshape(rows, -1)


def _tensors(shape: Shape) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Rows and columns of every matrix, and the names of the norms."""
    q, kv = shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    matrices, norms = {"token_embd.weight": (shape.n_vocab, shape.n_embd)}, ["output_norm.weight"]
    for il in range(shape.n_layer):
        block = {
            "attn_q": (q, shape.n_embd),
            "attn_k": (kv, shape.n_embd),
            "attn_v": (kv, shape.n_embd),
            "attn_output": (shape.n_embd, q),
            "ffn_gate": (shape.n_ff, shape.n_embd),
            "ffn_up": (shape.n_ff, shape.n_embd),
            "ffn_down": (shape.n_embd, shape.n_ff),
        }
        matrices |= {f"blk.{il}.{name}.weight": size for name, size in block.items()}
        norms += [f"blk.{il}.{name}.weight" for name in ("attn_norm", "ffn_norm")]
    return matrices, norms


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape, n_ctx: int) -> None:
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(500000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    kinds, n_unused = gguf.TokenType, shape.n_vocab - BYTE_VOCAB
    writer.add_tokenizer_model("llama")
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    writer.add_token_list([*texts, *(f"<unused{i}>" for i in range(n_unused))])
    writer.add_token_scores([0.0] * shape.n_vocab)
    special = [kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL]
    writer.add_token_types([*special, *[kinds.BYTE] * 256, *[kinds.UNUSED] * n_unused])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(False)

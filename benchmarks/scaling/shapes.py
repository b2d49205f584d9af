"""Models of the sizes that people run, with random weights: the speed and the memory of the real ones, no sense."""

from __future__ import annotations

import os
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
    """What decides a model's arithmetic: a llama, or, with experts, a qwen3moe. `n_vocab`: of the real model.

    n_expert       experts of each layer; 0: a dense model
    n_expert_used  of them that a token runs through, each with n_ff values
    """

    name: str
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ff: int
    n_vocab: int = 128256
    n_expert: int = 0
    n_expert_used: int = 0

    @property
    def architecture(self) -> str:
        return "qwen3moe" if self.n_expert else "llama"

    @property
    def layer_weights(self) -> int:
        """Weights of one layer's matrices that a token runs through."""
        attention = self.n_embd * self.head_dim * (2 * self.n_head + 2 * self.n_head_kv)
        return attention + 3 * self.n_embd * self.n_ff * max(self.n_expert_used, 1) + self.n_embd * self.n_expert

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
    "30B-A3B": Shape(
        "30B-A3B",
        n_layer=48,
        n_embd=2048,
        n_head=32,
        n_head_kv=4,
        head_dim=128,
        n_ff=768,
        n_vocab=151936,
        n_expert=128,
        n_expert_used=8,
    ),
}
"""Of Llama 3.2 1B and 3B, Llama 3.1 8B and Qwen3 30B-A3B."""

Matrices = dict[str, tuple[int, ...]]
"""Name to size: rows and columns, the number of experts before them where there are some."""


def write(shape: Shape, folder: Path, n_ctx: int = 131072) -> Path:
    """The model in Q4_0 in `folder`, written unless it is there."""
    path = folder / f"{shape.name}-{shape.n_vocab}.Q4_0.gguf"
    if path.exists():
        return path
    unfinished = path.with_suffix(".unfinished")
    writer, matrices, plain = _begin(shape, unfinished, n_ctx)
    random = np.random.default_rng(0)
    for size in matrices.values():  # one at a time: the model need not be in memory
        writer.write_tensor_data(_random_q4_0(random, size))
    for size in plain.values():
        values = np.ones(size) if len(size) == 1 else _SCALE * random.standard_normal(size)
        writer.write_tensor_data(values.astype(np.float32))
    writer.close()
    unfinished.replace(path)
    return path


def write_zeros(shape: Shape, folder: Path, n_ctx: int = 131072) -> Path:
    """The same with weights of zero, as a hole in the file: it takes no space, and to read it no time."""
    path = folder / f"{shape.name}-{shape.n_vocab}-{n_ctx}.zeros.gguf"
    writer, matrices, plain = _begin(shape, path, n_ctx)
    sizes = [int(np.prod(_packed(size))) for size in matrices.values()]
    sizes += [4 * int(np.prod(size)) for size in plain.values()]
    writer.close()
    header = gguf.GGUFWriter.ggml_pad(path.stat().st_size, writer.data_alignment)
    os.truncate(path, header + sum(gguf.GGUFWriter.ggml_pad(size, writer.data_alignment) for size in sizes))
    return path


def _begin(shape: Shape, path: Path, n_ctx: int) -> tuple[gguf.GGUFWriter, Matrices, Matrices]:
    """A file with all but the weights; which follow as `_tensors` gives them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(path), shape.architecture)
    _add_metadata(writer, shape, n_ctx)
    matrices, plain = _tensors(shape)
    for name, size in matrices.items():
        packed, kind = _packed(size), gguf.GGMLQuantizationType.Q4_0
        writer.add_tensor_info(name, packed, np.dtype(np.uint8), int(np.prod(packed)), raw_dtype=kind)
    for name, size in plain.items():
        writer.add_tensor_info(name, size, np.dtype(np.float32), 4 * int(np.prod(size)))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    return writer, matrices, plain


def _packed(size: tuple[int, ...]) -> tuple[int, ...]:
    """The bytes of a matrix in Q4_0, row by row."""
    return (*size[:-1], size[-1] // _Q4_0_BLOCK * _Q4_0_BYTES)


def _random_q4_0(random: np.random.Generator, size: tuple[int, ...]) -> NDArray[np.uint8]:
    """Blocks of one small scale and random values of four bits: nothing overflows."""
    blocks = np.empty((*size[:-1], size[-1] // _Q4_0_BLOCK, _Q4_0_BYTES), dtype=np.uint8)
    blocks[..., :2] = np.frombuffer(np.float16(_SCALE).tobytes(), dtype=np.uint8)
    values = (*blocks.shape[:-1], _Q4_0_BYTES - 2)
    blocks[..., 2:] = np.frombuffer(random.bytes(int(np.prod(values))), dtype=np.uint8).reshape(values)
    return blocks.reshape(*size[:-1], -1)


def _tensors(shape: Shape) -> tuple[Matrices, Matrices]:
    """The matrices in Q4_0, then the norms and the experts' router, which are float32."""
    q, kv = shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim
    experts, suffix = ((shape.n_expert,), "_exps") if shape.n_expert else ((), "")
    matrices: Matrices = {"token_embd.weight": (shape.n_vocab, shape.n_embd)}
    plain: Matrices = {"output_norm.weight": (shape.n_embd,)}
    for il in range(shape.n_layer):
        block: Matrices = {
            "attn_q": (q, shape.n_embd),
            "attn_k": (kv, shape.n_embd),
            "attn_v": (kv, shape.n_embd),
            "attn_output": (shape.n_embd, q),
            f"ffn_gate{suffix}": (*experts, shape.n_ff, shape.n_embd),
            f"ffn_up{suffix}": (*experts, shape.n_ff, shape.n_embd),
            f"ffn_down{suffix}": (*experts, shape.n_embd, shape.n_ff),
        }
        small: Matrices = {"attn_norm": (shape.n_embd,), "ffn_norm": (shape.n_embd,)}
        if shape.n_expert:
            small |= {"attn_q_norm": (shape.head_dim,), "attn_k_norm": (shape.head_dim,)}
            small |= {"ffn_gate_inp": (shape.n_expert, shape.n_embd)}
        matrices |= {f"blk.{il}.{name}.weight": size for name, size in block.items()}
        plain |= {f"blk.{il}.{name}.weight": size for name, size in small.items()}
    return matrices, plain


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape, n_ctx: int) -> None:
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    if shape.n_expert:
        writer.add_expert_count(shape.n_expert)
        writer.add_expert_used_count(shape.n_expert_used)
        writer.add_expert_feed_forward_length(shape.n_ff)
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

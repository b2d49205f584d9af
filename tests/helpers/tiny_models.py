"""Writes tiny random GGUF models that llama.cpp loads in milliseconds.

Their attention is far from uniform (Q and K are scaled up), so that a wrong mask, position or head shows at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

N_VOCAB = 3 + 256  # <unk>, <s>, </s> and the bytes: any text can be tokenized


@dataclass(frozen=True)
class TinyModel:
    """Shape of one model. `n_swa` > 0: every layer but each `swa_period`-th has a sliding window of that size."""

    arch: str
    n_layer: int = 6
    n_embd: int = 64
    n_head: int = 4
    n_head_kv: int = 2
    head_dim: int = 64  # a multiple of 64: q8_0 K and V are rotated
    n_ff: int = 96
    n_swa: int = 0
    swa_period: int = 2
    attn_softcap: float = 0.0
    final_softcap: float = 0.0
    n_expert: int = 0
    n_expert_used: int = 0
    longrope_ctx: int = 0  # > 0: factors for contexts up to this length, and others for longer ones
    rope_sections: tuple[int, ...] = ()  # M-RoPE: of half a head's values, those rotated by each number of a position

    def is_swa(self, il: int) -> bool:
        return self.n_swa > 0 and il % self.swa_period < self.swa_period - 1

    @property
    def has_sinks(self) -> bool:
        return self.arch == "gpt-oss"


LLAMA = TinyModel("llama")
GEMMA2 = TinyModel("gemma2", n_swa=48, attn_softcap=4.0, final_softcap=30.0)
GPT_OSS = TinyModel("gpt-oss", n_layer=4, n_swa=48, n_expert=4, n_expert_used=2)

HEAD_96 = TinyModel("llama", n_layer=3, n_head=2, n_head_kv=2, head_dim=96)  # odd sizes of quantized rows

LONGROPE = TinyModel("llama", n_layer=3, longrope_ctx=256)

MROPE = TinyModel("qwen2vl", n_layer=3, n_embd=256, rope_sections=(16, 8, 8, 0))

TINY_MODELS = {"tiny-llama": LLAMA, "tiny-head-96": HEAD_96, "tiny-gemma2": GEMMA2, "tiny-gpt-oss": GPT_OSS}
"""Those that tests/numpy_model.py can run."""

ALL_MODELS = {**TINY_MODELS, "tiny-longrope": LONGROPE, "tiny-mrope": MROPE}

Tensor = tuple[str, NDArray[np.float32]]


def write(shape: TinyModel, path: Path, seed: int = 0) -> Path:
    """Write the model with float32 weights."""
    writer = gguf.GGUFWriter(str(path), shape.arch)
    _write_metadata(writer, shape)
    for name, data in _tensors(shape, np.random.default_rng(seed)):
        writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_metadata(writer: gguf.GGUFWriter, shape: TinyModel) -> None:
    writer.add_context_length(4096)
    writer.add_embedding_length(shape.n_embd)
    writer.add_block_count(shape.n_layer)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    if shape.n_swa:
        writer.add_sliding_window(shape.n_swa)
        writer.add_sliding_window_pattern([shape.is_swa(il) for il in range(shape.n_layer)])
    if shape.attn_softcap:
        writer.add_attn_logit_softcapping(shape.attn_softcap)
        writer.add_final_logit_softcapping(shape.final_softcap)
    if shape.longrope_ctx:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_orig_ctx_len(shape.longrope_ctx)
    if shape.rope_sections:
        writer.add_rope_dimension_sections(shape.rope_sections)
    if shape.n_expert:
        writer.add_expert_count(shape.n_expert)
        writer.add_expert_used_count(shape.n_expert_used)
        writer.add_expert_feed_forward_length(shape.n_ff)

    kinds = gguf.TokenType
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))])
    writer.add_token_scores([0.0] * N_VOCAB)
    writer.add_token_types([kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL, *[kinds.BYTE] * 256])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_space_prefix(False)


def _tensors(shape: TinyModel, random: np.random.Generator) -> Iterator[Tensor]:
    """All tensors of the model; numpy's [rows, columns] is llama.cpp's {columns, rows}."""

    def normal(*size: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (random.standard_normal(size) * scale / np.sqrt(size[-1])).astype(np.float32)

    def around_one(n: int) -> NDArray[np.float32]:
        return (1 + 0.1 * random.standard_normal(n)).astype(np.float32)

    n_embd, n_q, n_kv = shape.n_embd, shape.n_head * shape.head_dim, shape.n_head_kv * shape.head_dim

    yield "token_embd.weight", normal(N_VOCAB, n_embd, scale=8.0 if shape.arch != "gemma2" else 1.0)
    yield "output_norm.weight", around_one(n_embd)
    if shape.arch != "gemma2":  # whose output matrix is its embedding
        yield "output.weight", normal(N_VOCAB, n_embd, scale=2.0)

    if shape.longrope_ctx:
        yield "rope_factors_short.weight", np.linspace(1, 2, shape.head_dim // 2, dtype=np.float32)
        yield "rope_factors_long.weight", np.linspace(1, 8, shape.head_dim // 2, dtype=np.float32)

    for il in range(shape.n_layer):
        b = f"blk.{il}."
        yield b + "attn_norm.weight", around_one(n_embd)
        yield b + "attn_q.weight", normal(n_q, n_embd, scale=1.6)
        yield b + "attn_k.weight", normal(n_kv, n_embd, scale=1.6)
        yield b + "attn_v.weight", normal(n_kv, n_embd)
        yield b + "attn_output.weight", normal(n_embd, n_q)
        if shape.arch == "gpt-oss":
            yield from ((b + name, data) for name, data in _moe_tensors(shape, normal, around_one))
            continue
        yield b + "ffn_norm.weight", around_one(n_embd)
        yield b + "ffn_gate.weight", normal(shape.n_ff, n_embd)
        yield b + "ffn_up.weight", normal(shape.n_ff, n_embd)
        yield b + "ffn_down.weight", normal(n_embd, shape.n_ff)
        if shape.arch == "gemma2":
            yield b + "post_attention_norm.weight", around_one(n_embd)
            yield b + "post_ffw_norm.weight", around_one(n_embd)


def _moe_tensors(shape: TinyModel, normal, around_one) -> Iterator[Tensor]:  # type: ignore[no-untyped-def]
    n_embd, n_ff, n_expert = shape.n_embd, shape.n_ff, shape.n_expert
    yield "attn_output.bias", normal(n_embd)
    yield "attn_sinks.weight", 5 + normal(shape.n_head, scale=2.0)  # they take a good part of the attention
    yield "post_attention_norm.weight", around_one(n_embd)
    yield "ffn_gate_inp.weight", normal(n_expert, n_embd, scale=2.0)
    yield "ffn_gate_inp.bias", normal(n_expert)
    for name, rows, columns in (("gate", n_ff, n_embd), ("up", n_ff, n_embd), ("down", n_embd, n_ff)):
        yield f"ffn_{name}_exps.weight", normal(n_expert, rows, columns)
        yield f"ffn_{name}_exps.bias", normal(n_expert, rows)

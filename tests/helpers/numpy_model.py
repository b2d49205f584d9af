"""A slow forward pass of the tiny GGUF models in numpy, written from the definition of the architectures.

float64 throughout, but K and V are rounded to float16 as a KV cache stores them. Layers run one after another on all
tokens, and from layer to layer tokens may be dropped: each layer remembers the K and V of the tokens that it ran on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def softmax(x: Array, sinks: Array | None = None) -> Array:
    """Over the last axis; a sink is one more logit per head (first axis) that takes its share and is dropped."""
    top = x.max(axis=-1, keepdims=True)
    rest = np.zeros_like(top)
    if sinks is not None:
        top = np.maximum(top, sinks[:, None, None])
        rest = np.exp(sinks[:, None, None] - top)
    e = np.exp(x - top)
    return np.asarray(e / (e.sum(axis=-1, keepdims=True) + rest))


def silu(x: Array) -> Array:
    return x / (1 + np.exp(-x))


def gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def swiglu_oai(gate: Array, up: Array) -> Array:
    gate, up = np.minimum(gate, 7.0), np.clip(up, -7.0, 7.0)
    return gate / (1 + np.exp(-1.702 * gate)) * (up + 1)


class NumpyModel:
    """One tiny model. Prompts run through `prefill`, then tokens one by one through `decode`."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.w = {tensor.name: np.array(tensor.data, dtype=np.float64) for tensor in reader.tensors}

        def field(name: str, default: object = None) -> object:
            value = reader.get_field(name)
            return default if value is None else value.contents()

        self.arch = arch = str(field("general.architecture"))
        number = {
            name: float(field(f"{arch}.{name}", 0))  # type: ignore[arg-type]
            for name in (
                *("block_count", "embedding_length", "expert_used_count", "rope.freq_base"),
                *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
                *("attention.layer_norm_rms_epsilon", "attention.sliding_window"),
                *("attn_logit_softcapping", "final_logit_softcapping"),
            )
        }
        self.n_layer = int(number["block_count"])
        self.n_embd = int(number["embedding_length"])
        self.n_head, self.n_head_kv = int(number["attention.head_count"]), int(number["attention.head_count_kv"])
        self.head_dim = int(number["attention.key_length"])
        self.n_swa = int(number["attention.sliding_window"])
        self.softcap, self.final_softcap = number["attn_logit_softcapping"], number["final_logit_softcapping"]
        self.n_expert_used = int(number["expert_used_count"])
        self.eps, self.rope_base = number["attention.layer_norm_rms_epsilon"], number["rope.freq_base"]
        self.is_swa = list(field(f"{arch}.attention.sliding_window_pattern", [False] * self.n_layer))  # type: ignore[call-overload]
        self.forget()

    def forget(self) -> None:
        empty = np.zeros((0, self.n_head_kv, self.head_dim))
        self.k, self.v = [empty] * self.n_layer, [empty] * self.n_layer
        self.positions = [np.zeros(0, dtype=np.int64)] * self.n_layer

    # ---- parts of a layer ---------------------------------------------------------------------------------------

    def norm(self, x: Array, name: str) -> Array:
        return np.asarray(x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + self.eps) * self.w[name])

    def linear(self, x: Array, name: str) -> Array:
        return np.asarray(x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0.0))

    def rope(self, x: Array, positions: NDArray[np.int64]) -> Array:
        """x [m, heads, head_dim]: pairs of neighbours are rotated in "llama", pairs of halves in the others."""
        half = self.head_dim // 2
        angle = positions[:, None, None] * self.rope_base ** (-np.arange(half) / half)
        cos, sin = np.cos(angle), np.sin(angle)
        neighbours = self.arch == "llama"
        a, b = (x[..., 0::2], x[..., 1::2]) if neighbours else (x[..., :half], x[..., half:])
        rotated = (a * cos - b * sin, a * sin + b * cos)
        return np.stack(rotated, axis=-1).reshape(x.shape) if neighbours else np.concatenate(rotated, axis=-1)

    def attention(self, il: int, x: Array, positions: NDArray[np.int64]) -> tuple[Array, Array]:
        """Output [m, n_embd] and attention weights [n_head, m, cells]; adds the m tokens to the layer's cells."""
        b, m = f"blk.{il}.", len(x)
        q = self.rope(self.linear(x, b + "attn_q").reshape(m, self.n_head, self.head_dim), positions)
        k = self.rope(self.linear(x, b + "attn_k").reshape(m, self.n_head_kv, self.head_dim), positions)
        v = self.linear(x, b + "attn_v").reshape(m, self.n_head_kv, self.head_dim)
        self.k[il] = np.concatenate([self.k[il], k.astype(np.float16)])
        self.v[il] = np.concatenate([self.v[il], v.astype(np.float16)])
        self.positions[il] = np.concatenate([self.positions[il], positions])

        group = self.n_head // self.n_head_kv
        keys, values = (np.repeat(cells[il], group, axis=1) for cells in (self.k, self.v))
        logits = np.einsum("qhd,khd->hqk", q, keys) / np.sqrt(self.head_dim)
        if self.softcap:
            logits = self.softcap * np.tanh(logits / self.softcap)
        distance = positions[:, None] - self.positions[il][None, :]
        hidden = distance < 0
        if self.is_swa[il]:
            hidden |= distance >= self.n_swa
        weights = softmax(np.where(hidden, -np.inf, logits), self.w.get(b + "attn_sinks.weight"))
        mixed = np.einsum("hqk,khd->qhd", weights, values).reshape(m, -1)
        return self.linear(mixed, b + "attn_output"), weights

    def expert(self, x: Array, b: str, e: int) -> Array:
        def linear(x: Array, name: str) -> Array:
            return np.asarray(self.w[f"{b}{name}_exps.weight"][e] @ x + self.w[f"{b}{name}_exps.bias"][e])

        return linear(swiglu_oai(linear(x, "ffn_gate"), linear(x, "ffn_up")), "ffn_down")

    def experts(self, x: Array, b: str) -> Array:
        router = self.linear(x, b + "ffn_gate_inp")
        out = np.zeros_like(x)
        for i, logits in enumerate(router):
            chosen = np.argsort(-logits)[: self.n_expert_used]
            for share, e in zip(softmax(logits[chosen]), chosen, strict=True):
                out[i] += share * self.expert(x[i], b, e)
        return out

    def layer(self, il: int, x: Array, positions: NDArray[np.int64]) -> tuple[Array, Array]:
        """Hidden states [m, n_embd] after layer il, and its attention weights."""
        b = f"blk.{il}."
        attended, weights = self.attention(il, self.norm(x, b + "attn_norm.weight"), positions)
        if self.arch == "gpt-oss":
            x = x + attended
            return x + self.experts(self.norm(x, b + "post_attention_norm.weight"), b), weights
        gemma = self.arch == "gemma2"
        x = x + (self.norm(attended, b + "post_attention_norm.weight") if gemma else attended)
        h = self.norm(x, b + "ffn_norm.weight")
        act = gelu if gemma else silu
        h = self.linear(act(self.linear(h, b + "ffn_gate")) * self.linear(h, b + "ffn_up"), b + "ffn_down")
        return x + (self.norm(h, b + "post_ffw_norm.weight") if gemma else h), weights

    # ---- the whole model ----------------------------------------------------------------------------------------

    def embed(self, tokens: Sequence[int] | NDArray[np.int32]) -> Array:
        scale = np.sqrt(self.n_embd) if self.arch == "gemma2" else 1.0
        return np.asarray(self.w["token_embd.weight"][np.asarray(tokens)] * scale)

    def head(self, x: Array) -> Array:
        logits = self.norm(x, "output_norm.weight") @ self.w.get("output.weight", self.w["token_embd.weight"]).T
        return np.asarray(self.final_softcap * np.tanh(logits / self.final_softcap) if self.final_softcap else logits)

    def prefill(
        self, tokens: NDArray[np.int32], window: int, keeps: Mapping[int, NDArray[np.int32]]
    ) -> tuple[dict[int, Array], Array]:
        """Window sums by layer [n_head, m], and the last token's logits.

        keeps: layer -> positions of the tokens that this layer and the deeper ones run on.
        """
        self.forget()
        x, positions, sums = self.embed(tokens), np.arange(len(tokens)), {}
        for il in range(self.n_layer):
            if il in keeps:
                kept = np.isin(positions, keeps[il])
                x, positions = x[kept], positions[kept]
            x, weights = self.layer(il, x, positions)
            sums[il] = weights[:, -window:].sum(axis=1)
        return sums, self.head(x[-1])

    def decode(self, token: int, position: int) -> Array:
        x = self.embed([token])
        for il in range(self.n_layer):
            x, _ = self.layer(il, x, np.array([position]))
        return self.head(x[-1])

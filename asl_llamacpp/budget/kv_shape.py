"""How many KV cells and bytes the engine allocates for a prompt, from the shape of the model alone. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from ..engine.binding import LayerShape

F16 = int(GGMLQuantizationType.F16)

CELLS_PAD = 256
"""Cells are allocated in multiples of this."""

RING_MARGIN = 64
"""Cells beyond a sliding window that a document's state has of its layers, so that it may end some tokens earlier."""

_ALIGNMENT = 256
"""Bytes: no backend aligns tensors more coarsely."""

_ROTATED = 64
"""llama.cpp rotates what it quantizes where a head has a multiple of so many values."""

_MAX_FLOAT_BYTES = 16 * 2**20
"""Floats that cells are quantized from at a time: see layerwise-convert.cpp."""

_QUANTIZED_ROW = 512
"""CUDA adds to a quantized tensor what its last row lacks to a multiple of so many values."""


def pad(n: int, to: int) -> int:
    """`n` rounded up to a multiple of `to`."""
    return -(-n // to) * to


def is_quantized(ggml_type: int) -> bool:
    """Whether values of a ggml type, a known one, lie in blocks with a scale."""
    return GGML_QUANT_SIZES[GGMLQuantizationType(ggml_type)][0] > 1


def _row_bytes(ggml_type: int, n_values: int) -> int:
    """Bytes of `n_values` values of a ggml type; ValueError for an unknown one, or values that do not fill blocks."""
    try:
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(ggml_type)]
    except (ValueError, KeyError):
        raise ValueError(f"there is no ggml type {ggml_type}: 1 is f16, 8 is q8_0") from None
    if n_values % block:
        name = GGMLQuantizationType(ggml_type).name.lower()
        raise ValueError(f"{n_values} values a KV cell do not fill {name}'s blocks of {block}: use f16")
    return n_values // block * size


def _tensor_bytes(ggml_type: int, n_values: int, n_cells: int) -> int:
    size = n_cells * _row_bytes(ggml_type, n_values)
    if is_quantized(ggml_type):
        size += _row_bytes(ggml_type, -n_values % _QUANTIZED_ROW)
    return pad(size, _ALIGNMENT)


@dataclass(frozen=True, kw_only=True)
class KVShape:
    """What decides the size of a context's KV cache.

    layers          every layer of the model
    n_ctx           context, tokens; llama.cpp rounds it up to a multiple of 256
    n_ubatch        tokens evaluated at once: a sliding window's ring holds them beside the window
    type_k, type_v  ggml types of K and V; 1: f16
    swa_full        sliding-window layers hold as many cells as the others (llama.cpp's default) instead of a ring
    flash_attn      without it V is transposed, and as wide in all layers as in the widest

    Raises ValueError for a type that is unknown or does not divide a layer's values.
    """

    layers: tuple[LayerShape, ...]
    n_ctx: int
    n_ubatch: int = 512
    type_k: int = F16
    type_v: int = F16
    swa_full: bool = False
    flash_attn: bool = True

    def __post_init__(self) -> None:
        for il in range(len(self.layers)):
            self.cell_bytes(il)

    @property
    def has_ring(self) -> bool:
        """Whether some layers hold only the cells of a sliding window."""
        return not self.swa_full and any(layer.n_swa > 0 for layer in self.layers)

    @property
    def is_converted(self) -> bool:
        """Whether layers run with f16, one by one, and are quantized then."""
        return self.flash_attn and (is_quantized(self.type_k) or is_quantized(self.type_v))

    @property
    def scored_layers(self) -> tuple[int, ...]:
        """The layers whose attention can be scored."""
        return tuple(il for il, layer in enumerate(self.layers) if layer.gives_scores)

    def _n_embd_v(self, il: int) -> int:
        return self.layers[il].n_embd_v if self.flash_attn else max(layer.n_embd_v for layer in self.layers)

    def cell_bytes(self, il: int) -> int:
        """Bytes of one cell of layer `il`: K and V of all its KV heads; 0 for a layer without attention."""
        return sum(self.row_bytes(il))

    def row_bytes(self, il: int) -> tuple[int, int]:
        """Bytes of K and of V of one cell of layer `il`."""
        layer = self.layers[il]
        if layer.n_embd_k == 0:
            return 0, 0
        return _row_bytes(self.type_k, layer.n_embd_k), _row_bytes(self.type_v, self._n_embd_v(il))

    def cells(self, n_tokens: int, headroom: int, il: int) -> int:
        """Cells that layer `il` allocates to hold `n_tokens` and `headroom` more."""
        layer = self.layers[il]
        if layer.n_embd_k == 0:
            return 0
        n_cells = min(pad(self.n_ctx, CELLS_PAD), pad(n_tokens + headroom, CELLS_PAD))
        if layer.n_swa == 0 or self.swa_full:
            return n_cells
        return pad(min(n_cells, layer.n_swa + self.n_ubatch), CELLS_PAD)

    def layer_bytes(self, il: int, n_cells: int) -> int:
        """Bytes of a buffer with `n_cells` cells of layer `il`: K, then V, with what a backend may add to each."""
        if n_cells == 0:
            return 0
        n_embd_k, n_embd_v = self.layers[il].n_embd_k, self._n_embd_v(il)
        return _tensor_bytes(self.type_k, n_embd_k, n_cells) + _tensor_bytes(self.type_v, n_embd_v, n_cells)

    def exact_bytes(self, il: int, n_cells: int) -> int:
        """Bytes that layer `il` takes beside its cells while it runs, if these are to be quantized then: f16 ones."""
        if not self.is_converted:
            return 0
        k, v = (F16 if is_quantized(kind) else kind for kind in (self.type_k, self.type_v))
        exact = replace(self, type_k=k, type_v=v)
        return exact.layer_bytes(il, n_cells)

    def conversion_bytes(self, il: int, n_tokens: int) -> int:
        """Bytes that quantizing so many cells of layer `il` takes beside them, or reading them back: floats."""
        most = 0
        for kind, n_embd in ((self.type_k, self.layers[il].n_embd_k), (self.type_v, self._n_embd_v(il))):
            if n_embd == 0 or not is_quantized(kind):
                continue
            head = n_embd // max(self.layers[il].n_head_kv, 1)
            floats = 4 * n_embd * min(n_tokens, max(1, _MAX_FLOAT_BYTES // (4 * n_embd)))
            most = max(most, 2 * floats + 4 * head * head if head % _ROTATED == 0 else floats)
        return most if self.flash_attn else 0


def state_bytes(shape: KVShape, n_embd: int, n_tokens: int, il: int) -> int:
    """Bytes of a document's state: the KV of `n_tokens` tokens in the first `il` layers, and their hidden states."""
    size = 0 if il == len(shape.layers) else 4 * n_embd * n_tokens
    for i, layer in enumerate(shape.layers[:il]):
        ring = layer.n_swa > 0 and not shape.swa_full
        size += shape.cell_bytes(i) * (min(n_tokens, layer.n_swa + RING_MARGIN) if ring else n_tokens)
    return size

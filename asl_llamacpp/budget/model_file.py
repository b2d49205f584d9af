"""A model file opened without its weights: what it and its contexts would take of each device, and of the host."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..engine.binding import deferred_kv
from ..engine.sizes import Run, Sizes, compute_bytes, reserved_bytes, weight_bytes
from ..engine.support import model_without_weights
from .kv_shape import KVShape
from .memory import Machine, Measure
from .model_shape import ModelShape, shape_of_model, unallocated_context


class ModelFile:
    """A model that takes no memory.

    shape    of the model
    weights  bytes by place
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.shape: ModelShape = shape_of_model(model)
        self.weights: Sizes = weight_bytes(model)

    @property
    def has_devices(self) -> bool:
        return len(self.weights) > 1

    def stock_compute(self, shape: KVShape) -> Sizes:
        """Bytes of the compute buffers, by place, of a stock context."""
        with unallocated_context(self._model, shape) as ctx:
            return reserved_bytes(self._model, ctx)

    @contextmanager
    def pruning(self, shape: KVShape) -> Iterator[tuple[Machine, Measure]]:
        """A context for policies that prune: what it takes, and what measures the compute buffers of a run."""
        with deferred_kv(), unallocated_context(self._model, shape) as ctx:
            names = *(f"device {i}" for i in range(len(self.weights) - 1)), "host"

            def measure(run: Run) -> Sizes:
                return compute_bytes(self._model, ctx, self.shape.layers, run)

            yield Machine(names, self.weights, reserved_bytes(self._model, ctx), self.shape.n_embd), measure


@contextmanager
def open_model_file(path: str | Path, n_gpu_layers: int = 0) -> Iterator[ModelFile]:
    """The GGUF model at `path`; ValueError if llama.cpp cannot load it. `n_gpu_layers`: as for `Llama`."""
    with model_without_weights(path, n_gpu_layers) as model:
        yield ModelFile(model)

"""One measured process of transformers, with or without a press of NVIDIA kvpress; the counterpart of worker.py.

    python -m benchmarks.compare.torch_worker --convert MODEL.gguf FOLDER     # the same weights, dequantized to float32
    python -m benchmarks.compare.torch_worker JSON                            # started by compare

Runs in the environment of requirements.txt and imports nothing of asl_llamacpp.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import kvpress
import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

from benchmarks.common import worker


def convert(gguf: Path, folder: Path) -> None:
    """Write the model of a GGUF file as transformers keeps it, in a process whose memory is not measured."""
    model = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    model.generation_config.pad_token_id = None  # not valid beside what the file says, and not needed here
    model.save_pretrained(folder)


class TorchModel:
    """A model with a greedy `prefill` and `step`, as compare counts them: the whole prompt in one forward pass."""

    def __init__(self, task: dict[str, Any]) -> None:
        torch.set_num_threads(task["threads"])
        self.model = AutoModelForCausalLM.from_pretrained(
            task["folder"], dtype=getattr(torch, task["dtype"]), attn_implementation="sdpa"
        ).eval()
        self.press = task["press"]
        self.compression = task["compression"]
        self.cache = DynamicCache()
        self.position = 0

    def _pressed(self) -> AbstractContextManager[Any]:
        if self.press is None:
            return nullcontext()
        press = getattr(kvpress, self.press)(compression_ratio=self.compression)
        context: AbstractContextManager[Any] = press(self.model)
        return context

    def _forward(self, tokens: list[int]) -> int:
        positions = torch.arange(self.position, self.position + len(tokens))
        out = self.model(
            input_ids=torch.tensor([tokens]),
            position_ids=positions[None],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.position += len(tokens)
        return int(out.logits[0, -1].argmax())

    @torch.inference_mode()
    def prefill(self, tokens: list[int]) -> int:
        """The first token of the answer; what an earlier prompt left is dropped."""
        self.cache, self.position = DynamicCache(), 0
        with self._pressed():
            return self._forward(tokens)

    @torch.inference_mode()
    def step(self, token: int) -> int:
        return self._forward([token])

    def sizes(self) -> dict[str, Any]:
        """Bytes of the cache's tensors and the cells that each layer holds."""
        layers = [(layer.keys, layer.values) for layer in self.cache.layers]
        return {
            "kv_bytes": sum(tensor.untyped_storage().nbytes() for pair in layers for tensor in pair),
            "cells": [int(keys.shape[2]) for keys, _ in layers],
        }


def main() -> None:
    """Convert, or load, warm up, say so, and run once for every line read."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if sys.argv[1] == "--convert":
        convert(Path(sys.argv[2]), Path(sys.argv[3]))
        return
    task = json.loads(sys.argv[1])
    task["tokens"] = json.loads(sys.stdin.readline())
    model = TorchModel(task)
    model.prefill(task["tokens"][:512])  # warm up
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(worker.measured(model, task)), flush=True)


if __name__ == "__main__":
    main()

"""What reading costs and saves, against counts by hand; and that a reader which saves nothing is refused with them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_models

from asl_llamacpp.budget.layer_work import LayerWork, read_layer_work
from asl_llamacpp.budget.model_shape import read_shape
from asl_llamacpp.budget.reader_work import check_reader_work, reader_work


def test_a_real_models_layers(smollm2_path: Path) -> None:
    """SmolLM2-135M: 576 values, 9 heads and 3 KV heads of 64, 1,536 in the feed-forward."""
    layers = read_layer_work(smollm2_path, read_shape(smollm2_path).layers)
    matrices = 576 * (9 + 3 + 3 + 9) * 64 + 3 * 576 * 1536
    assert layers == (LayerWork(matrices, 9 * (64 + 64)),) * 30


def test_layers_with_a_sliding_window(gemma_path: Path) -> None:
    """Gemma-3-270M: 640 values, 4 heads and 1 KV head of 256, 2,048 in the feed-forward, window 512."""
    layers = read_layer_work(gemma_path, read_shape(gemma_path).layers)
    matrices = 640 * (4 + 1 + 1 + 4) * 256 + 3 * 640 * 2048
    assert [layer.matrices for layer in layers] == [matrices] * 18
    assert [il for il, layer in enumerate(layers) if layer.n_swa == 0] == [5, 11, 17]
    assert {layer.pair for layer in layers} == {4 * 512}


def test_of_experts_those_that_a_token_runs_through(tmp_path: Path) -> None:
    path = tiny_models.write(tiny_models.GPT_OSS, tmp_path / "experts.gguf")
    attention, router, experts = 64 * (4 + 2 + 2 + 4) * 64, 64 * 4, 2 * 3 * 64 * 96
    found = read_layer_work(path, read_shape(path).layers)
    assert {layer.matrices for layer in found} == {attention + router + experts}


def test_work_of_a_layer() -> None:
    assert LayerWork(100, 4).of(10) == 10 * (100 + 4 * 5)
    assert LayerWork(100, 4, n_swa=3).of(10) == 10 * (100 + 4 * 3)
    assert LayerWork(100, 4, n_swa=30).of(10) == LayerWork(100, 4).of(10)


SMALL, LARGE = (LayerWork(10, 1),) * 4, (LayerWork(100, 2),) * 6


def test_work_of_a_prompt() -> None:
    work = reader_work(SMALL, LARGE, reader_latest=2, own_latest=3, n_tokens=100, select_k=20)
    assert work.reading == 3 * 100 * (10 + 50)
    assert work.answering == 6 * 20 * (100 + 20)
    assert work.alone == 4 * 100 * (100 + 100) + 2 * 20 * (100 + 20)
    assert work.share == (18_000 + 14_400) / (80_000 + 4_800)
    check_reader_work(work)


def test_a_model_that_reads_for_itself_is_refused() -> None:
    work = reader_work(LARGE, LARGE, 3, 3, 100, 20)
    with pytest.raises(ValueError, match=r"for 100 tokens 4 of the reader's 6 layers take .* Take a smaller reader"):
        check_reader_work(work)


def test_where_nothing_is_read_nothing_is_refused() -> None:
    check_reader_work(reader_work(LARGE, SMALL, 5, 3, 20, 20))
    with pytest.raises(ValueError, match="costs more than it saves"):
        check_reader_work(reader_work(LARGE, SMALL, 5, 3, 21, 20))


def test_a_missing_part_of_a_split_model_is_named(tmp_path: Path) -> None:
    first = tmp_path / "m-00001-of-00003.gguf"
    first.touch()
    with pytest.raises(FileNotFoundError, match=r"m-00002-of-00003.gguf is missing: .* first of 3 files"):
        read_layer_work(first, [])

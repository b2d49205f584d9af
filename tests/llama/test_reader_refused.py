"""Models that cannot read for another one, or that cost more than they save: refused before their weights are read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import tiny_models
from llama_fixtures import load, narrow_path
from vocabularies import released_path

from asl_llamacpp.budget.model_shape import read_shape
from asl_llamacpp.budget.reader_pair import check_pair, pair_work
from asl_llamacpp.engine.binding import UnsupportedModelError
from asl_llamacpp.policies import parse_policy

POLICY = parse_policy("asl:select_k=256")


def test_a_small_model_for_a_large_one(smollm2_path: Path) -> None:
    """The narrow model has SmolLM2's layers with few weights: the shares of both are known."""
    narrow = narrow_path()
    large, small = read_shape(smollm2_path), read_shape(narrow)
    work = pair_work(narrow, small, smollm2_path, large.layers, POLICY, 4096)
    l_max = POLICY.resolve(30).latest_layer
    assert l_max is not None and work.layers == work.own == (l_max + 1, 30)
    assert work.share < 0.5
    check_pair(narrow, smollm2_path, large.layers, POLICY, 4096)


def test_one_that_costs_more_is_refused_with_the_arithmetic(smollm2_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"costs more than it saves: for 1,024 tokens 23 of the reader's 30 layers"
    ) as e:
        load(narrow_path(), n_ctx=1024, kv_policy=POLICY, reader=smollm2_path, reader_options={"allow_slower": False})
    assert "Take a smaller reader" in str(e.value)


def test_one_that_is_wanted_whatever_it_costs() -> None:
    with closing(load(narrow_path(), n_ctx=512, kv_policy=POLICY, reader=narrow_path())) as llm:
        assert llm.reader is not None


@pytest.mark.parametrize("allowed", [False, True])
def test_a_vocabulary_alone_is_refused(allowed: bool) -> None:
    with pytest.raises(ValueError, match=r"qwen2.gguf is a vocabulary without layers.* give a whole model"):
        load(narrow_path(), reader=released_path("qwen2"), reader_options={"allow_slower": allowed})


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.gguf"
    file.write_text("no model")
    with pytest.raises(ValueError, match=r"notes.gguf is not a GGUF file"):
        load(narrow_path(), reader=file)
    with pytest.raises(FileNotFoundError, match=r"none.gguf"):
        load(narrow_path(), reader=tmp_path / "none.gguf")


@pytest.mark.parametrize("allowed", [False, True])
def test_an_architecture_that_cannot_be_run_layer_by_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    path = tiny_models.write(tiny_models.LLAMA, tmp_path / "tiny.gguf")
    monkeypatch.setattr("asl_llamacpp.budget.model_shape.unsupported_reason", lambda model: "it is recurrent")
    with pytest.raises(
        UnsupportedModelError, match=r"tiny.gguf cannot read, .*\(it is recurrent\): take another model"
    ):
        load(narrow_path(), reader=path, reader_options={"allow_slower": allowed})

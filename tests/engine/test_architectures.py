"""The list of supported architectures is what passes the proof, on a tiny random model of every architecture."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import arch_proof
import numpy as np
import pytest
from arch_models import FIRST_KEPT, N_CTX, N_PROMPT, N_UBATCH, generate
from arch_proof import NotProven, Proof, prove, stock_logits
from llama_fixtures import logits
from places import BUILD
from update_architectures import DATA, PAGE, architecture, data_text, listing, outcomes, table, with_table

from asl_llamacpp import Llama, UnsupportedModelError
from asl_llamacpp.engine.support import architecture_error, asl_unsupported_reason, proven_architectures

pytestmark = pytest.mark.slow

LISTED = sorted(proven_architectures())

# fmt: off
AT_LEAST = {
    "llama", "mistral3", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "gemma2",
    "gemma3", "phi3", "smollm3", "granite", "olmo2", "glm4", "gpt-oss",
    "command-r", "starcoder2", "deci", "ernie4_5", "exaone4", "seed_oss",
}
# fmt: on

REFUSED = {
    "mamba": "has recurrent layers",
    "jamba": "has recurrent layers",
    "qwen3next": "has recurrent layers",
    "deepseek2": "uses multi-head latent attention",
    "deepseek32": "has a sparse-attention cache of its own",
    "dream": "is a diffusion model",
    "t5": "is an encoder or an embedding model",
    "gemma3n": "reuses the KV of earlier layers",
    "plamo2": "carries more than one hidden state from layer to layer",
}


class Models:
    """The generated models, and what came of each."""

    def __init__(self, folder: Path) -> None:
        self.paths = generate(folder)
        self.outcomes = outcomes(self.paths)

    def of(self, arch: str) -> list[Path]:
        paths = [path for path in self.paths if architecture(path) == arch]
        assert paths, f"the generator makes no {arch}"
        return paths


@pytest.fixture(scope="module")
def models() -> Iterator[Models]:
    with TemporaryDirectory(dir=BUILD) as folder:
        yield Models(Path(folder))


# ---- the list -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", LISTED)
def test_listed_architecture_equals_the_unpatched_library(models: Models, arch: str) -> None:
    for path in models.of(arch):
        assert isinstance(models.outcomes[path], Proof), f"{path.stem}: {models.outcomes[path]}"


def test_list_holds_all_that_pass(models: Models) -> None:
    listed = listing(models.outcomes)
    assert DATA.read_text(encoding="utf-8") == data_text(listed), "`make architectures` writes it anew"
    page = PAGE.read_text(encoding="utf-8")
    assert page == with_table(page, listed), "`make architectures` writes the table anew"
    assert len(listed) >= 40 and listed.keys() >= AT_LEAST


def test_table_names_each_architecture_where_it_belongs() -> None:
    rows = table(json.loads(DATA.read_text(encoding="utf-8"))).splitlines()
    assert set(re.findall(r"[\w-]+", "".join(rows[2:]))) >= set(LISTED)
    full, windows = ([cell.split(", ") for cell in row.strip("| ").split(" | ")[1:]] for row in rows[2:])
    assert "llama" in full[0] and "llama" in full[1] and "gpt2" in full[0] and "qwen3moe" in full[1]
    assert "gemma3" in windows[0] and "gpt-oss" in windows[1] and "qwen3moe" not in full[0]


def test_proof_sees_a_difference(models: Models) -> None:
    """Logits that are off by one bit, or of another prompt, and scores that do not sum up."""
    path = models.of("llama")[0]
    whole, kept = stock_logits([path])[path.stem]
    assert prove(path, whole, kept)
    off = kept.copy()
    off[-1, 0] = np.nextafter(off[-1, 0], np.float32(np.inf))
    for wrong in [(whole, off), (kept, whole)]:
        with pytest.raises(NotProven, match=r"layers divided at \[0, 4\].*logits differ"):
            prove(path, *wrong)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(NotProven, match="scores of layer 0 differ"):
        patch.setattr(arch_proof, "_run", lambda *arguments: kept if arguments[-1] == FIRST_KEPT else whole)
        patch.setattr(arch_proof.Engine, "scores", lambda *_: np.full((2, N_PROMPT), 16 / N_PROMPT))
        prove(path, whole, kept)


# ---- a pruned prompt, from end to end -------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", LISTED)
def test_pruned_prompt_and_answer(models: Models, arch: str) -> None:
    """Layer 1 or the one before it has full attention in each of them."""
    for path in models.of(arch):
        policy = "asl:layer=1,l_obs=2,select_k=64,window=16"
        sizes = {"n_ctx": N_CTX, "n_ubatch": N_UBATCH, "n_threads": 1, "n_threads_batch": 1}
        llm = Llama(str(path), kv_policy=policy, verbose=False, **sizes)
        tokens = np.random.default_rng(1).integers(3, 120, N_PROMPT).tolist()
        stream = llm.generate(tokens, temp=0.0)
        answer = [next(stream) for _ in range(4)]
        stream.close()
        assert llm.last_prefill is not None
        assert (llm.last_prefill.selection_layer, llm.last_prefill.n_prompt) == (1, N_PROMPT)
        assert llm.last_prefill.cells == [N_PROMPT] * 2 + [64] * (len(llm.last_prefill.cells) - 2)
        assert all(0 <= token < llm.n_vocab() for token in answer) and np.isfinite(logits(llm)).all()
        llm.close()


# ---- all others -----------------------------------------------------------------------------------------------------


def test_all_others_are_refused_by_name_with_the_reason(models: Models) -> None:
    others = [path for path in models.paths if architecture(path) not in LISTED]
    assert others
    for path in others:
        reason = asl_unsupported_reason(str(path))
        assert reason is not None and f"architecture '{architecture(path)}' " in reason, path.stem


@pytest.mark.parametrize("arch", REFUSED)
def test_refused_when_loaded(models: Models, arch: str) -> None:
    with pytest.raises(UnsupportedModelError, match=f"architecture '{arch}' {REFUSED[arch]}.*kv_policy='full'"):
        Llama(str(models.of(arch)[0]), n_ctx=N_CTX, verbose=False)


def test_refused_when_not_on_the_list(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    path = models.of("llama")[0]
    monkeypatch.delitem(proven_architectures(), "llama")
    message = "architecture 'llama' was not proven to run layer by layer"
    assert architecture_error("llama") == asl_unsupported_reason(str(path)) == message
    with pytest.raises(UnsupportedModelError, match=f"^{message}: load it with kv_policy='full'$"):
        Llama(str(path), n_ctx=N_CTX, verbose=False)
    Llama(str(path), n_ctx=N_CTX, kv_policy="full", verbose=False).close()


@pytest.mark.parametrize("arch", ["chameleon", "plm", "graniteswitch", "no such architecture"])
def test_architecture_that_the_generator_does_not_make_is_not_listed(arch: str) -> None:
    assert architecture_error(arch) == f"architecture '{arch}' was not proven to run layer by layer"

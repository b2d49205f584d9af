"""What `Llama` refuses, with one clear error; and that the object answers afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from llama_cpp.llama_chat_format import Llava15ChatHandler
from llama_fixtures import PRUNE, WHOLE, greedy, narrow_path, prompt, prompt_logits, run_python, text
from llama_fixtures import load_narrow as load
from narrow_model import HEAD_DIM, N_EMBD, N_HEAD

# isort: split
import llama_cpp

from asl_llamacpp import Llama, UnsupportedModelError

DOCUMENT = prompt(150)


# ---- when it is made ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"kv_policy": "snapkvv"}, ValueError, "unknown policy 'snapkvv': use one of full, asl"),
        ({"kv_policy": "asl:k=3"}, ValueError, "no option 'k'"),
        ({"kv_policy": "asl:select_k=16"}, ValueError, "select_k=16 must exceed window=32"),
        ({"kv_policy": None}, TypeError, "a policy must be text such as 'asl'"),
        ({"kv_policy": "asl:layer=30"}, ValueError, "the model's 30 layers are 0 to 29"),
        ({"kv_policy": "asl:l_min=12,l_max=40"}, ValueError, "l_max=40.* 30 layers"),
        (
            {"kv_policy": "asl", "flash_attn": False},
            ValueError,
            "kv_policy='asl' needs flash attention.*kv_policy='full'",
        ),
        ({"kv_policy": "asl", "embedding": True}, ValueError, "cannot serve embeddings.*kv_policy='full'"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_refused_when_made(settings: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        load(**settings)


def test_missing_model_is_refused_as_by_the_parent(tmp_path: Path) -> None:
    messages = []
    for make in (Llama, llama_cpp.Llama):
        with pytest.raises(ValueError, match="does not exist") as caught:
            make(model_path=str(tmp_path / "none.gguf"), verbose=False)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_file_that_is_no_model_is_refused_as_by_the_parent(tmp_path: Path) -> None:
    path = tmp_path / "text.gguf"
    path.write_text("not a model")
    messages = []
    for make in (Llama, llama_cpp.Llama):
        with pytest.raises(ValueError, match="Failed to load model") as caught:
            make(model_path=str(path), verbose=False)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_embeddings_of_full_equal_the_parents() -> None:
    settings = {"n_ctx": 64, "n_threads": 1, "n_threads_batch": 1, "verbose": False, "embedding": True}
    vectors = [
        llm.create_embedding(["the sky", "is blue"])["data"]
        for llm in (load(kv_policy="full", **settings), llama_cpp.Llama(str(narrow_path()), **settings))
    ]
    assert vectors[0] == vectors[1] and len(vectors[0]) == 2


def test_embed_without_embedding_is_refused() -> None:
    with pytest.raises(RuntimeError, match="embedding=True"):
        load(kv_policy=PRUNE).embed("hello")


@pytest.mark.parametrize("kv_policy", ["full", "asl"])
def test_vocabulary_alone(kv_policy: str) -> None:
    llm = load(kv_policy=kv_policy, vocab_only=True)
    assert llm.detokenize(llm.tokenize(b"Hello there")) == b"Hello there"


def mamba(path: Path) -> Path:
    """A tiny random model of an architecture without a KV cache."""
    writer = gguf.GGUFWriter(str(path), "mamba")
    writer.add_context_length(256)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(2)
    writer.add_ssm_conv_kernel(4)
    writer.add_ssm_inner_size(64)
    writer.add_ssm_state_size(16)
    writer.add_ssm_time_step_rank(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(32)
    shapes = {
        "attn_norm.weight": (32,),
        "ssm_in.weight": (128, 32),
        "ssm_conv1d.weight": (64, 4),
        "ssm_conv1d.bias": (64,),
        "ssm_x.weight": (34, 64),
        "ssm_dt.weight": (64, 2),
        "ssm_dt.bias": (64,),
        "ssm_a": (64, 16),
        "ssm_d": (64,),
        "ssm_out.weight": (32, 64),
    }
    for name, shape in {"token_embd.weight": (32, 32), "output_norm.weight": (32,)}.items():
        writer.add_tensor(name, np.full(shape, 0.1, dtype=np.float32))
    for il in range(2):
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{il}.{name}", np.full(shape, 0.1, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_unsupported_architecture_is_named(tmp_path: Path) -> None:
    path = mamba(tmp_path / "mamba.gguf")
    with pytest.raises(UnsupportedModelError, match=r"architecture 'mamba' has recurrent layers.*kv_policy='full'"):
        load(path)
    with pytest.raises(ValueError, match="mamba"):
        load(path, kv_policy="asl:layer=1")
    llm = load(path, kv_policy="full", n_ctx=64)
    llm.eval([1, 2, 3])
    assert llm.n_tokens == 3


# ---- LoRA -----------------------------------------------------------------------------------------------------------


def lora(path: Path) -> str:
    """A small random adapter of the queries of three layers."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 4.0)
    generator = np.random.default_rng(0)
    for il in (0, 3, 20):
        for side, shape in (("a", (4, N_EMBD)), ("b", (N_HEAD * HEAD_DIM, 4))):
            values = 0.2 * generator.standard_normal(shape)
            writer.add_tensor(f"blk.{il}.attn_q.weight.lora_{side}", values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return str(path)


def test_lora_is_applied_layer_by_layer(tmp_path: Path) -> None:
    path = lora(tmp_path / "lora.gguf")
    expected = prompt_logits(load(kv_policy="full", flash_attn=True, lora_path=path), DOCUMENT)
    assert prompt_logits(load(kv_policy=WHOLE, lora_path=path), DOCUMENT).tobytes() == expected.tobytes()
    assert np.abs(expected - prompt_logits(load(kv_policy=WHOLE), DOCUMENT)).max() > 0.1
    pruned = load(kv_policy=PRUNE, lora_path=path)
    pruned.eval(DOCUMENT)
    assert pruned.last_prefill.selection_layer == 14


@pytest.mark.parametrize("kv_policy", ["full", PRUNE])
def test_missing_lora_is_refused(kv_policy: str, tmp_path: Path) -> None:
    """With the parent's words, though the parent itself takes it and crashes at the first token."""
    path = str(tmp_path / "none.gguf")
    result = run_python(f"""
try:
    load_narrow(kv_policy={kv_policy!r}, lora_path={path!r}).eval([1, 2, 3])
except (RuntimeError, ValueError) as error:
    print(error)
""")
    assert result.returncode == 0, result.stderr[-2000:]
    assert path in result.stdout


# ---- prompts that do not fit ----------------------------------------------------------------------------------------


def evaluate(llm: Llama, tokens: list[int]) -> None:
    llm.reset()
    llm.eval(tokens)


def generate(llm: Llama, tokens: list[int]) -> None:
    next(llm.generate(tokens))


def complete(llm: Llama, tokens: list[int]) -> None:
    llm(tokens, max_tokens=4)


@pytest.mark.parametrize("kv_policy", [PRUNE, "full"])
@pytest.mark.parametrize("ask", [evaluate, generate, complete], ids=lambda ask: ask.__name__)
def test_prompt_beyond_the_context_is_refused(kv_policy: str, ask: Callable[[Llama, list[int]], None]) -> None:
    llm = load(kv_policy=kv_policy, n_ctx=256)
    before = prompt_logits(llm, DOCUMENT)
    with pytest.raises(ValueError, match=r"300.*256"):
        ask(llm, prompt(300))
    assert prompt_logits(llm, DOCUMENT).argmax() == before.argmax()
    fresh = load(kv_policy=kv_policy, n_ctx=256)
    other = prompt(100, start=250)
    assert prompt_logits(llm, other).tobytes() == prompt_logits(fresh, other).tobytes()


def test_answer_beyond_the_context_ends_with_an_error() -> None:
    llm = load(kv_policy=PRUNE, n_ctx=256)
    assert llm(prompt(250), max_tokens=None, temperature=0.0, stop=[])["choices"][0]["finish_reason"] == "length"
    stream = llm.generate(prompt(250), temp=0.0)
    with pytest.raises(ValueError, match=r"257.*256"):
        for _ in range(10):
            next(stream)
    assert greedy(llm, DOCUMENT, 3) == greedy(load(kv_policy=PRUNE), DOCUMENT, 3)


@pytest.mark.parametrize("kv_policy", [PRUNE, "full"])
def test_context_that_llama_cpp_rounds_up(kv_policy: str) -> None:
    """n_ctx=300 becomes 512 cells: a prompt between the two is either served or refused with the numbers."""
    llm = load(kv_policy=kv_policy, n_ctx=300)
    try:
        answer = greedy(llm, prompt(310), 3)
    except ValueError as error:
        assert "310" in str(error) and "300" in str(error) and "broadcast" not in str(error)
    else:
        assert answer == greedy(load(kv_policy=kv_policy), prompt(310), 3)


def test_token_outside_of_the_vocabulary() -> None:
    llm = load(kv_policy=PRUNE)
    with pytest.raises(ValueError, match="token 3 is 1000000"):
        llm.eval([*DOCUMENT[:3], 1_000_000, *DOCUMENT[3:]])
    assert prompt_logits(llm, DOCUMENT).tobytes() == prompt_logits(load(kv_policy=PRUNE), DOCUMENT).tobytes()


# ---- logprobs of a pruned prompt ------------------------------------------------------------------------------------


def test_echo_with_logprobs_is_refused_for_a_pruned_prompt_only() -> None:
    llm = load(kv_policy=PRUNE, logits_all=True)
    document = llm.detokenize(DOCUMENT).decode()
    with pytest.raises(ValueError, match=r"echo=True with logprobs.*150 prompt tokens.*prunes"):
        llm(document, echo=True, logprobs=1, max_tokens=1)
    echoed = llm("The sky", echo=True, logprobs=1, max_tokens=1)["choices"][0]
    assert np.isfinite(echoed["logprobs"]["token_logprobs"][1:]).all()
    assert llm(document, echo=True, max_tokens=1)["choices"][0]["text"].startswith(document)
    assert llm(document, logprobs=1, max_tokens=1)["choices"][0]["logprobs"]["tokens"]


def test_echo_with_logprobs_is_refused_for_a_cached_pruned_prompt() -> None:
    llm = load(kv_policy=PRUNE, logits_all=True)
    document = llm.detokenize(DOCUMENT).decode()
    text(llm, document)
    with pytest.raises(ValueError, match="echo=True with logprobs"):
        llm(document, echo=True, logprobs=1, max_tokens=1)


def test_refusal_of_echo_ends_with_its_completion() -> None:
    llm = load(kv_policy=PRUNE, logits_all=True)
    llm("The sky", echo=True, logprobs=1, max_tokens=1)
    assert greedy(llm, DOCUMENT, 2) == greedy(load(kv_policy=PRUNE), DOCUMENT, 2)


def test_images_are_refused_where_the_prompt_is_pruned() -> None:
    class Handler(Llava15ChatHandler):
        def __init__(self) -> None:  # needs no projector to be refused
            pass

    llm = load(kv_policy=PRUNE, chat_handler=Handler())
    llm.eval(prompt(60))
    with pytest.raises(ValueError, match="images"):
        llm.eval(prompt(20, start=60))

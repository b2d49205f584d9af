"""Saved states, and the end of an object's life."""

from __future__ import annotations

import contextlib
import ctypes
import pickle
from pathlib import Path

import llama_fixtures
import pytest
from llama_fixtures import PRUNE, cells, greedy, logits, prompt, prompt_logits, run_python, text
from llama_fixtures import load as load_real
from llama_fixtures import load_narrow as load

# isort: split
import llama_cpp

from asl_llamacpp import Progress, StateMismatchError

DOCUMENT = prompt(150)
OTHER = prompt(110, start=250)
TURN = prompt(12, start=200)


@pytest.mark.slow
def test_state_of_a_pruned_context_goes_on_in_another_object() -> None:
    llm = load_real(kv_policy=PRUNE)
    answer = greedy(llm, DOCUMENT, 4)
    state = llm.save_state()
    expected = [*greedy(llm, DOCUMENT, 20)]
    assert expected[:4] == answer

    twin = load_real(kv_policy=PRUNE)
    greedy(twin, OTHER, 2)
    twin.load_state(state)
    assert cells(twin) == [153] * 15 + [67] * 15
    stream = twin.generate(answer[-1:], temp=0.0, reset=False)
    assert [next(stream) for _ in range(16)] == expected[4:]
    assert greedy(twin, DOCUMENT, 20) == expected
    report = twin.last_prefill
    assert report.reused == len(DOCUMENT), "the loaded prompt was prefilled anew"
    assert greedy(twin, DOCUMENT + TURN, 1) == greedy(load_real(kv_policy=PRUNE), DOCUMENT + TURN, 1)
    assert twin.last_prefill is not report


def test_report_is_of_what_the_object_holds() -> None:
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT)
    state = llm.save_state()
    llm.reset()
    llm.eval(OTHER)
    llm.load_state(state)
    assert llm.last_prefill is None or llm.last_prefill.n_prompt == 150


@pytest.mark.slow
def test_ram_cache() -> None:
    llm = load_real(kv_policy=PRUNE)
    llm.set_cache(llama_cpp.LlamaRAMCache())
    answers = [text(llm, DOCUMENT), text(llm, OTHER)]
    prefilled: list[Progress] = []
    llm.on_progress = prefilled.append
    assert [text(llm, DOCUMENT), text(llm, OTHER)] == answers
    assert not prefilled, "a cached state did not serve its prompt"
    assert text(llm, DOCUMENT + TURN) == text(load_real(kv_policy=PRUNE), DOCUMENT + TURN)
    assert prefilled


@pytest.mark.parametrize(("saved", "loaded"), [("full", PRUNE), (PRUNE, "full")], ids=("into asl", "into full"))
@pytest.mark.parametrize("n_ctx", [256, 512])
def test_state_of_another_policy_is_refused(saved: str, loaded: str, n_ctx: int) -> None:
    source = load(kv_policy=saved, n_ctx=n_ctx, flash_attn=True)
    source.eval(DOCUMENT)
    llm = load(kv_policy=loaded, flash_attn=True)
    greedy(llm, prompt(100, start=250), 2)
    n_tokens = llm.n_tokens
    with pytest.raises(StateMismatchError, match=r"another policy.*saved with"):
        llm.load_state(source.save_state())
    assert llm.n_tokens == n_tokens
    tokens = prompt(300)
    fresh = load(kv_policy=loaded, flash_attn=True)
    assert prompt_logits(llm, tokens).tobytes() == prompt_logits(fresh, tokens).tobytes()


def test_state_of_a_smaller_context() -> None:
    """It is refused, or goes on in the larger context."""
    source = load(kv_policy=PRUNE, n_ctx=256)
    answer = greedy(source, DOCUMENT, 3)
    llm = load(kv_policy=PRUNE, n_ctx=512)
    with contextlib.suppress(RuntimeError, ValueError):
        llm.load_state(source.save_state())
    assert greedy(llm, DOCUMENT, 3) == answer
    assert greedy(llm, prompt(300), 2) == greedy(load(kv_policy=PRUNE), prompt(300), 2)


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"kv_policy": "asl:layer=14,select_k=65,window=16"}, "policy"),
        ({"kv_budget": 60}, "kv_budget"),
        ({"type_k": 8, "type_v": 8}, "context settings"),
        ({"rope_freq_base": 20000.0}, "context settings"),
    ],
)
def test_state_of_other_settings_is_refused(settings: dict[str, object], what: str) -> None:
    source = load(kv_policy=PRUNE)
    source.eval(DOCUMENT)
    llm = load(**{"kv_policy": PRUNE, **settings})
    with pytest.raises(StateMismatchError, match=f"another {what}"):
        llm.load_state(source.save_state())


def test_state_of_another_model_build_or_library_is_refused(tmp_path: Path) -> None:
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT)
    state = llm.save_state()
    copy = tmp_path / "changed.gguf"
    data = bytearray(llama_fixtures.narrow_path().read_bytes())
    data[-1] ^= 1
    copy.write_bytes(data)
    with pytest.raises(StateMismatchError, match="another model"):
        load(copy, kv_policy=PRUNE).load_state(state)
    state.fingerprint = {**state.fingerprint, "build": "asl_llamacpp 0.0.1"}
    with pytest.raises(StateMismatchError, match=r"another build.*0.0.1"):
        llm.load_state(state)
    del state.fingerprint
    with pytest.raises(StateMismatchError, match="no fingerprint"):
        llm.load_state(state)
    assert cells(llm) == [150] * 15 + [64] * 15


@pytest.mark.parametrize("damage", ["cut", "empty", "other"])
def test_damaged_state_leaves_an_empty_object(damage: str) -> None:
    llm = load(kv_policy=PRUNE)
    answer = greedy(llm, DOCUMENT, 3)
    state = llm.save_state()
    size = {"cut": state.llama_state_size - 100, "empty": 0, "other": 5000}[damage]
    state.llama_state, state.llama_state_size = state.llama_state[:size], size
    if damage == "other":
        state.llama_state = bytes(5000)
    with pytest.raises(RuntimeError, match="damaged"):
        llm.load_state(state)
    assert llm.n_tokens == 0
    assert greedy(llm, DOCUMENT, 3) == answer


@pytest.mark.parametrize("kv_policy", ["full", PRUNE, "snapkv:budget=60,window=16"])
def test_pickling_keeps_the_cache(kv_policy: str) -> None:
    llm = load(kv_policy=kv_policy)
    first = greedy(llm, DOCUMENT, 1)
    twin = pickle.loads(pickle.dumps(llm))
    assert twin.n_tokens == llm.n_tokens
    streams = [one.generate(first, temp=0.0, reset=False) for one in (llm, twin)]
    answers = [[next(stream) for _ in range(32)] for stream in streams]
    assert answers[0] == answers[1]


def test_state_file_of_llama_cpp_goes_on_in_another_context(tmp_path: Path) -> None:
    """Written and read by llama.cpp's own functions."""
    llm, twin = (load(kv_policy="snapkv:budget=60,window=16") for _ in range(2))
    first = greedy(llm, DOCUMENT, 1)
    path = str(tmp_path / "state.bin").encode()
    tokens = (ctypes.c_int32 * 512)(*DOCUMENT)
    count = ctypes.c_size_t()
    assert llama_cpp.llama_state_save_file(llm._ctx.ctx, path, tokens, len(DOCUMENT))
    twin.eval(OTHER)
    assert llama_cpp.llama_state_load_file(twin._ctx.ctx, path, tokens, 512, ctypes.byref(count))
    assert list(tokens[: count.value]) == DOCUMENT
    assert cells(twin) == [60] * 30
    for one in (llm, twin):
        one.n_tokens = len(DOCUMENT)
        one.eval(first)
    assert logits(llm).tobytes() == logits(twin).tobytes()


@pytest.mark.slow
def test_saving_needs_little_more_memory_than_the_state() -> None:
    """Peak RSS while a state of more than 50 MB is saved: at most 1.3 times the state more than before."""
    result = run_python("""
import resource
llm = load_narrow(kv_policy="asl:tau=1e-9,l_max=none,select_k=64,window=16", n_ctx=1300, type_k=0, type_v=0)
tokens = prompt(400) * 3
llm.eval(tokens)
def rss(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before = rss("VmRSS")
state = llm.save_state()
grown = rss("VmHWM") - before
print(grown / state.llama_state_size, state.llama_state_size)
""")
    assert result.returncode == 0, result.stderr
    ratio, size = map(float, result.stdout.split())
    assert size > 50e6
    assert ratio < 1.3


# ---- after close ----------------------------------------------------------------------------------------------------

USES = {
    "eval": "llm.eval([1, 2, 3])",
    "completion": "llm('Hi', max_tokens=1)",
    "chat": "llm.create_chat_completion([{'role': 'user', 'content': 'Hi'}], max_tokens=1)",
    "generate": "next(llm.generate([1, 2, 3]))",
    "tokenize": "llm.tokenize(b'Hi')",
    "save_state": "llm.save_state()",
}


def test_closing_twice_is_harmless() -> None:
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT)
    llm.close()
    llm.close()
    assert llm.last_prefill.n_prompt == 150


def test_use_after_close_is_an_error_not_a_crash() -> None:
    cases = "\n".join(f"    {name!r}: lambda: {use}," for name, use in USES.items())
    code = f"""
llm = load_narrow(kv_policy={PRUNE!r})
llm.eval({DOCUMENT})
llm.close()
for name, use in {{\n{cases}\n}}.items():
    print(name, flush=True)
    try:
        use()
    except Exception as error:
        print(type(error).__name__, error, flush=True)
    else:
        print("no error")
"""
    result = run_python(code)
    assert result.returncode == 0, f"crashed in: {result.stdout.splitlines()[-1]}"
    said = result.stdout.splitlines()
    assert said[::2] == list(USES)
    assert all("closed" in line for line in said[1::2]), result.stdout


def test_failed_load_frees_what_it_took() -> None:
    """A refused policy leaves no half-made object behind that would fail again when it is collected."""
    result = run_python(f"""
import gc
for settings in ({{"kv_policy": "asl:layer=30"}}, {{"kv_policy": "nonsense"}}, {{"embedding": True}}):
    try:
        load_narrow(**settings)
    except ValueError:
        pass
gc.collect()
llm = load_narrow(kv_policy={PRUNE!r})
llm.eval({DOCUMENT})
assert np.isfinite(logits(llm)).all()
""")
    assert result.returncode == 0 and not result.stderr, result.stderr

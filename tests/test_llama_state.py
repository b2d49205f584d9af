"""Saved states, and the end of an object's life."""

from __future__ import annotations

import contextlib

import pytest
from llama_fixtures import PRUNE, cells, greedy, load, prompt, prompt_logits, run_python, text

# isort: split
import llama_cpp

from asl_llamacpp import Progress

DOCUMENT = prompt(150)
OTHER = prompt(110, start=250)
TURN = prompt(12, start=200)


def test_state_of_a_pruned_context_goes_on_in_another_object() -> None:
    llm = load(kv_policy=PRUNE)
    answer = greedy(llm, DOCUMENT, 4)
    state = llm.save_state()
    expected = [*greedy(llm, DOCUMENT, 20)]
    assert expected[:4] == answer

    twin = load(kv_policy=PRUNE)
    greedy(twin, OTHER, 2)
    twin.load_state(state)
    assert cells(twin) == [153] * 15 + [67] * 15
    report = twin.last_prefill
    stream = twin.generate(answer[-1:], temp=0.0, reset=False)
    assert [next(stream) for _ in range(16)] == expected[4:]
    assert greedy(twin, DOCUMENT, 20) == expected
    assert twin.last_prefill is report, "the loaded prompt was prefilled anew"
    assert greedy(twin, DOCUMENT + TURN, 1) == greedy(load(kv_policy=PRUNE), DOCUMENT + TURN, 1)
    assert twin.last_prefill is not report


def test_report_is_of_what_the_object_holds() -> None:
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT)
    state = llm.save_state()
    llm.reset()
    llm.eval(OTHER)
    llm.load_state(state)
    assert llm.last_prefill is None or llm.last_prefill.n_prompt == 150


def test_ram_cache() -> None:
    llm = load(kv_policy=PRUNE)
    llm.set_cache(llama_cpp.LlamaRAMCache())
    answers = [text(llm, DOCUMENT), text(llm, OTHER)]
    prefilled: list[Progress] = []
    llm.on_progress = prefilled.append
    assert [text(llm, DOCUMENT), text(llm, OTHER)] == answers
    assert not prefilled, "a cached state did not serve its prompt"
    assert text(llm, DOCUMENT + TURN) == text(load(kv_policy=PRUNE), DOCUMENT + TURN)
    assert prefilled


@pytest.mark.parametrize(("saved", "loaded"), [("full", PRUNE), (PRUNE, "full")], ids=("into asl", "into full"))
@pytest.mark.parametrize("n_ctx", [256, 512])
def test_state_of_another_policy_is_refused(saved: str, loaded: str, n_ctx: int) -> None:
    source = load(kv_policy=saved, n_ctx=n_ctx, flash_attn=True)
    source.eval(DOCUMENT)
    llm = load(kv_policy=loaded, flash_attn=True)
    greedy(llm, prompt(100, start=250), 2)
    with pytest.raises(RuntimeError, match="state"):
        llm.load_state(source.save_state())
    assert llm.n_tokens == 0
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
llm = load(kv_policy={PRUNE!r})
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
        load(**settings)
    except ValueError:
        pass
gc.collect()
llm = load(kv_policy={PRUNE!r})
llm.eval({DOCUMENT})
assert np.isfinite(logits(llm)).all()
""")
    assert result.returncode == 0 and not result.stderr, result.stderr

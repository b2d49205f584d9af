"""on_progress, and stopping a prefill: by an exception from it in any phase, or by Ctrl-C."""

from __future__ import annotations

from itertools import pairwise

import pytest
from llama_fixtures import PRUNE, prompt, prompt_logits, run_python, text
from llama_fixtures import load_narrow as load

from asl_llamacpp import Llama, Progress
from asl_llamacpp.selection.rule import Selector

DOCUMENT = prompt(150)
UBATCH = 32
SETTINGS = {"n_ubatch": UBATCH, "n_batch": 64}


def records(kv_policy: str, tokens: list[int]) -> tuple[list[Progress], Llama]:
    found: list[Progress] = []
    llm = load(kv_policy=kv_policy, on_progress=found.append, **SETTINGS)
    llm.eval(tokens)
    return found, llm


def check_monotone(found: list[Progress]) -> None:
    assert all(isinstance(record, Progress) for record in found)
    assert all(0 <= record.layer < record.layers == 30 for record in found)
    assert all(0 <= record.tokens < record.n_tokens for record in found)
    for one, next_one in pairwise(found):
        assert one.layer <= next_one.layer
        assert next_one.tokens > one.tokens or next_one.tokens == 0
        assert next_one.tokens - one.tokens <= UBATCH or one.phase == "full"


def test_records_of_a_pruned_prompt() -> None:
    found, llm = records("asl:l_min=10,l_max=12,select_k=64,window=16", DOCUMENT)
    check_monotone(found)
    selected_at = llm.last_prefill.selection_layer
    assert 10 <= selected_at <= 12
    phases = [record.phase for record in found]
    assert phases == sorted(phases, key=["shallow", "selection", "deep"].index)
    shallow = [record for record in found if record.phase == "shallow"]
    deep = [record for record in found if record.phase == "deep"]
    assert {record.n_tokens for record in shallow} == {150}
    assert {record.n_tokens for record in deep} == {64}
    assert max(record.layer for record in shallow) == selected_at
    assert min(record.layer for record in deep) == selected_at + 1
    assert len(found) == (len(shallow) // 5) * 5 + 64 // UBATCH  # before every ubatch of every run


@pytest.mark.parametrize(("kv_policy", "tokens"), [(PRUNE, DOCUMENT[:60]), ("full", DOCUMENT)], ids=("short", "full"))
def test_records_of_a_whole_prompt(kv_policy: str, tokens: list[int]) -> None:
    found, _ = records(kv_policy, tokens)
    check_monotone(found)
    assert [record.tokens for record in found] == list(range(0, len(tokens), 64))
    assert {(record.n_tokens, record.phase) for record in found} == {(len(tokens), "full")}


def test_it_can_be_set_later_and_taken_away() -> None:
    llm = load(kv_policy=PRUNE)
    assert llm.on_progress is None
    text(llm, DOCUMENT)
    found: list[Progress] = []
    llm.on_progress = found.append
    text(llm, DOCUMENT)
    assert found == [], "decoding and a cached prompt report nothing"
    text(llm, DOCUMENT[:100])
    assert found
    found.clear()
    llm.on_progress = None
    text(llm, DOCUMENT)
    assert found == []


def test_decoding_reports_nothing() -> None:
    found, llm = records(PRUNE, DOCUMENT)
    n_prefill = len(found)
    text(llm, DOCUMENT, max_tokens=6)
    assert len(found) == n_prefill


class Stop(Exception):
    pass


class StopAt:
    """Raises at one record and counts those after it: none should come."""

    def __init__(self, index: int, error: type[BaseException] = Stop) -> None:
        self.index, self.error, self.seen = index, error, 0

    def __call__(self, record: Progress) -> None:
        self.seen += 1
        if self.seen > self.index:
            raise self.error(f"stopped at {record}")


def test_exception_at_any_record_stops_at_once() -> None:
    """At every ubatch of every run: the lower layers, the layers with scores, the deep ones."""
    policy = "asl:l_min=10,l_max=12,select_k=64,window=16"
    found, llm = records(policy, DOCUMENT)
    expected = prompt_logits(llm, DOCUMENT).argmax()
    first_of = {record.phase: index for index, record in reversed(list(enumerate(found)))}
    last_shallow = first_of["deep"] - 1
    for index in (0, 1, 5, 10, last_shallow, first_of["deep"], len(found) - 1):
        llm.reset()
        stop = llm.on_progress = StopAt(index)
        with pytest.raises(Stop, match="stopped at"):
            llm.eval(DOCUMENT)
        assert stop.seen == index + 1, "the prefill went on"
        assert llm.n_tokens == 0 and llm.last_prefill is None
        assert llm._engine.info().kv_bytes == 0
    llm.on_progress = None
    fresh = load(kv_policy=policy, **SETTINGS)
    assert prompt_logits(llm, DOCUMENT).tobytes() == prompt_logits(fresh, DOCUMENT).tobytes()
    assert prompt_logits(llm, DOCUMENT).argmax() == expected


def test_exception_in_the_middle_of_a_chunked_prompt_forgets_its_beginning() -> None:
    """The first chunk's cells are gone with the prefill that was to replace them."""
    llm = load(kv_policy=PRUNE, **SETTINGS)
    llm.eval(DOCUMENT[:50])
    llm.on_progress = StopAt(2)
    with pytest.raises(Stop):
        llm.eval(DOCUMENT[50:])
    assert llm.n_tokens == 0
    llm.on_progress = None
    llm.eval(DOCUMENT)
    assert llm.n_tokens == 150 and llm.last_prefill.n_prompt == 150


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_exception_while_python_decides(monkeypatch: pytest.MonkeyPatch, error: type[BaseException]) -> None:
    """In the phase between two runs, where no callback of the engine sees it."""
    llm = load(kv_policy=PRUNE)

    def interrupted(*_: object) -> None:
        raise error("while deciding")

    with monkeypatch.context() as patch:
        patch.setattr(Selector, "observe", interrupted)
        with pytest.raises(error, match="while deciding"):
            llm.eval(DOCUMENT)
    assert llm.n_tokens == 0 and llm.last_prefill is None
    assert llm._engine.info().kv_bytes == 0
    assert prompt_logits(llm, DOCUMENT).tobytes() == prompt_logits(load(kv_policy=PRUNE), DOCUMENT).tobytes()


@pytest.mark.parametrize("kv_policy", [PRUNE, "full"])
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_exception_comes_out_of_a_completion(kv_policy: str, error: type[BaseException]) -> None:
    llm = load(kv_policy=kv_policy, on_progress=StopAt(2, error), **SETTINGS)
    with pytest.raises(error, match="stopped at"):
        text(llm, DOCUMENT)
    llm.on_progress = None
    fresh = load(kv_policy=kv_policy, **SETTINGS)
    assert text(llm, DOCUMENT) == text(fresh, DOCUMENT)
    assert llm.last_prefill.n_prompt == 150


@pytest.mark.slow
@pytest.mark.parametrize("kv_policy", [PRUNE, "full"])
def test_ctrl_c_leaves_the_object_usable(kv_policy: str) -> None:
    """A real SIGINT, sent while C code runs."""
    result = run_python(f"""
import signal, threading, time
llm = load(kv_policy={kv_policy!r}, n_ubatch=32, n_batch=64)
tokens = prompt(400)
llm.on_progress = lambda record: started.set()
started, sent = threading.Event(), []

def interrupt():
    started.wait()
    time.sleep(0.05)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
begin = time.monotonic()
try:
    llm.eval(tokens)
except KeyboardInterrupt:
    stopped_after = time.monotonic() - sent[0]
else:
    raise SystemExit("it was not interrupted")
llm.on_progress = None
begin = time.monotonic()
answer = greedy(llm, tokens, 4)
assert stopped_after < 0.5 * (time.monotonic() - begin), "it went on for most of the prefill"
assert answer == greedy(load(kv_policy={kv_policy!r}, n_ubatch=32, n_batch=64), tokens, 4)
assert llm.last_prefill.n_prompt == 400
print("fine")
""")
    assert (result.returncode, result.stdout.strip()) == (0, "fine"), result.stderr[-2000:]

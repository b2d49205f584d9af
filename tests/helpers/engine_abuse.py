"""Script: misuse of the engine that might bring the process down, so the tests run it in one of its own.

    python engine_abuse.py MODEL.gguf CASE [SEED]

Prints what went wrong and exits with 1, or exits with 0.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from asl_llamacpp.engine.binding import Engine, PrefillAborted, UnsupportedModelError
from asl_llamacpp.engine.kinds import Reduction

from llama_cpp import llama_cpp as C  # isort: skip
from pruned_prefill import KEPT, N_CTX, N_SHALLOW, WINDOW, Logits, N, Prefill, untouched_answer  # isort: skip
from raw_llama import F16, Q8_0, Model  # isort: skip

N_STEPS = 300


class Stopped(Exception):
    """Raised by a progress callback."""


class Bench(Prefill):
    """A prefill to spoil, and what a correct one gives."""

    def __init__(self, path: Path, flash_attn: bool = True, kv_type: int = F16, n_ctx: int = N_CTX) -> None:
        super().__init__(Model(path), flash_attn, kv_type, n_ctx)
        self.flash_attn = flash_attn
        self.want = untouched_answer(self.model, flash_attn, kv_type)

    @property
    def memory(self) -> object:
        return C.llama_get_memory(self.context.pointer)

    def begin_and_run(self, n_layers: int) -> None:
        self.engine.progress = None
        self.go_to("begun")
        if n_layers:
            self.engine.run(0, n_layers)

    def call_within_run(self, call: Action) -> None:
        """Let the progress callback make `call` in the next run."""

        def progress(_begin: int, _end: int, done: int, n_tokens: int) -> None:
            if done == 64 or n_tokens <= 64:
                call(self)

        self.engine.progress = progress

    def check_usable(self) -> None:
        self.engine.abort()
        self.engine.progress = None
        assert self.answer().tobytes() == self.want.tobytes(), "a correct prefill gives other logits afterwards"


Action = Callable[[Bench], object]


# ---- calls from within the progress callback ------------------------------------------------------------------------


def reenter(bench: Bench, call: Action, expected: type[Exception]) -> None:
    """`call` in the middle of each run: the run ends with `expected`, the context is empty and usable."""
    for begin, end in [(0, 2), (2, 4), (2, bench.model.n_layer)]:
        bench.begin_and_run(begin)
        bench.call_within_run(call)
        raised: type[Exception] | None = None
        try:
            bench.engine.run(begin, end)
        except Exception as error:
            raised = type(error)
        assert raised is expected, f"run({begin}, {end}) raised {raised}, not {expected}"
        bench.assert_empty()
        bench.check_usable()


REENTER: dict[str, tuple[Action, type[Exception]]] = {
    "abort": (lambda b: b.engine.abort(), PrefillAborted),
    "begin": (lambda b: b.engine.begin(b.tokens[:50], 1, 0), ValueError),
    "abort and begin": (lambda b: [b.engine.abort(), b.engine.begin(b.tokens[:50], 1, 0)], ValueError),
    "keep": (lambda b: b.engine.keep(KEPT), ValueError),
    "end": (lambda b: b.engine.end(), ValueError),
    "check": (lambda b: b.engine.check(), ValueError),
}


# ---- llama.cpp's own memory functions while a prefill is in progress ------------------------------------------------


def set_own_state(bench: Bench) -> None:
    size = C.llama_state_get_size(bench.context.pointer)
    data = (ctypes.c_uint8 * size)()
    C.llama_state_get_data(bench.context.pointer, data, size)
    C.llama_state_set_data(bench.context.pointer, data, size)


MEDDLE: dict[str, Action] = {
    "clear": lambda b: C.llama_memory_clear(b.memory, True),
    "remove all": lambda b: C.llama_memory_seq_rm(b.memory, 0, -1, -1),
    "remove some": lambda b: C.llama_memory_seq_rm(b.memory, 0, 10, -1),
    "shift": lambda b: C.llama_memory_seq_add(b.memory, 0, 10, -1, 5),
    "state": set_own_state,
    "decode": lambda b: b.context.try_decode([5], N),
}


def meddle(bench: Bench, call: Action) -> None:
    """`call` between two runs, or within one: then either an error, or the right logits; no crash."""
    for phase, within_run in [
        ("begun", False),
        ("shallow", False),
        ("kept", False),
        ("ran", False),
        ("begun", True),
        ("kept", True),
    ]:
        bench.engine.progress = None
        bench.go_to(phase)
        got: Logits | None = None
        try:
            if within_run:
                bench.call_within_run(call)
            else:
                call(bench)
            got = bench.answer(since=phase)
        except (ValueError, PrefillAborted):
            pass
        assert got is None or got.tobytes() == bench.want.tobytes(), f"wrong logits: {phase}, {within_run=}"
        bench.check_usable()


def second_engine(bench: Bench) -> None:
    """An engine on the same context that comes and goes: the first one still works and reports its progress."""
    Engine(bench.context.pointer, progress=lambda *_: None).check()
    gc.collect()
    calls: list[int] = []
    bench.engine.progress = lambda _begin, _end, done, _n: calls.append(done)
    bench.answer()
    assert calls, "the first engine's progress is not called any more"
    bench.check_usable()


def polled(bench: Bench) -> None:
    """Two progress displays ask all the time, while prompts are prefilled, answered, and dropped."""
    done = threading.Event()

    def poll() -> int:
        n = 0
        while not done.is_set():
            info = bench.engine.info()
            layers = [bench.engine.layer(il) for il in range(info.n_layer)]
            assert all(0 <= layer.n_cells <= layer.n_cells_max <= N_CTX for layer in layers)
            n += 1
        return n

    with ThreadPoolExecutor(2) as pool:
        polls = [pool.submit(poll) for _ in range(2)]
        try:
            for _ in range(15):
                assert bench.answer().tobytes() == bench.want.tobytes(), "asking changed the logits"
                bench.context.clear()
                bench.context.decode(bench.tokens[:N])
                bench.engine.abort()
        finally:
            done.set()
        assert all(result.result() > 100 for result in polls), "nothing was asked"
    bench.check_usable()


def out_of_memory(bench: Bench) -> None:
    """KV for the whole context is asked for, and the process may not have it: in the first and in the deep layers."""
    import resource

    roomy = Bench(bench.model.path, n_ctx=1 << 18)
    n_headroom = (1 << 18) - 2 * N  # 134 MB a layer
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for n_layers in (0, N_SHALLOW):
        roomy.engine.begin(roomy.tokens[:N], WINDOW, n_headroom)
        allowed = used + (n_layers * 135 + 67) * 1_000_000
        resource.setrlimit(resource.RLIMIT_AS, (allowed, resource.RLIM_INFINITY))
        try:
            if n_layers:
                roomy.engine.run(0, n_layers)
            roomy.engine.run(n_layers, roomy.model.n_layer)
        except MemoryError:
            pass
        else:
            raise AssertionError("no MemoryError")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        roomy.assert_empty()
        roomy.check_usable()


# ---- random calls ---------------------------------------------------------------------------------------------------


class Fuzz:
    """Random calls with random arguments; whatever they do, after an abort a correct prefill is right."""

    def __init__(self, bench: Bench, seed: int) -> None:
        self.bench, self.engine = bench, bench.engine
        self.random = np.random.default_rng(seed)
        self.n_ok = self.n_refused = 0
        self.window = 1  # of the last prefill

    def integer(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def chance(self, p: float) -> bool:
        return bool(self.random.random() < p)

    def begin(self) -> None:
        n = self.integer(0, 150) if self.chance(0.9) else 600
        tokens = self.bench.model.tokens(n, seed=self.integer(0, 5))
        if n and self.chance(0.05):
            tokens[self.integer(0, n - 1)] = self.integer(-3, 400)
        window = self.integer(-1, 40)
        self.engine.begin(tokens, window, self.integer(-1, 300))
        self.window = window

    def run(self) -> None:
        il = self.engine.info().il_next if self.chance(0.8) else self.integer(-1, 7)
        stop_at = self.integer(0, 2) * 64 if self.chance(0.1) else None

        def progress(_begin: int, _end: int, done: int, _n: int) -> None:
            if done == stop_at:
                raise Stopped

        self.engine.progress = progress
        self.engine.run(il, il + self.integer(0, 3), self.asked())

    def asked(self) -> bool | Reduction:
        if self.chance(0.5):
            return self.chance(0.5)
        heads = tuple(int(head) for head in np.flatnonzero(self.random.random(4) < 0.5)) if self.chance(0.5) else ()
        combining = ("each", "sum", "max")[self.integer(0, 2)]
        return Reduction(combining, self.integer(0, 9), heads, self.chance(0.3))  # type: ignore[arg-type]

    def positions(self) -> NDArray[np.int32]:
        n = self.engine.info().n_tokens
        window = self.window if self.chance(0.8) else self.integer(0, 40)
        past = np.flatnonzero(self.random.random(max(n - window, 0)) < 0.5)
        positions = np.concatenate([past, np.arange(max(n - window, 0), n)]).astype(np.int32)
        if self.chance(0.1):
            self.random.shuffle(positions)
        if self.chance(0.1):
            positions = positions + self.integer(-2, 2)
        return positions.astype(np.int32)

    def keep(self) -> None:
        self.engine.keep(self.positions())

    def evict(self) -> None:
        try:
            self.engine.evict(self.positions(), keep_held=self.chance(0.5))
        except UnsupportedModelError:
            assert not self.bench.flash_attn

    def release(self) -> None:
        """And refill it nearly always, or the prefill cannot end."""
        il = self.engine.info().il_next - 1 if self.chance(0.9) else self.integer(-2, 8)
        layer = self.engine.layer(il)
        self.engine.release(il)
        kept = self.positions()
        n = len(kept) if self.chance(0.9) else self.integer(0, 150)
        if self.chance(0.9):
            k, v = (np.zeros((n, size), dtype=np.uint8) for size in (layer.k_bytes, layer.v_bytes))
            self.engine.refill(il if self.chance(0.9) else self.integer(-2, 8), kept, k, v)

    def compress(self) -> None:
        info = self.engine.info()
        m, window = info.n_kept, min(self.window if self.chance(0.9) else self.integer(0, 40), info.n_kept)
        budget = self.integer(window, m)
        n_rows = 2 if self.chance(0.9) else self.integer(0, 4)
        rows = [np.sort(self.random.permutation(m - window)[: budget - window]) for _ in range(n_rows)]
        cells = np.array([[*row, *range(m - window, m)] for row in rows], dtype=np.int64).reshape(n_rows, budget)
        if cells.size and self.chance(0.1):
            cells.flat[self.integer(0, cells.size - 1)] = self.integer(-2, m + 1)
        try:
            self.engine.compress(info.il_next - 1 if self.chance(0.9) else self.integer(-2, 8), cells)
        except UnsupportedModelError:
            assert not self.bench.flash_attn

    def state(self) -> None:
        """Save, damage in half of the cases, and set: an error unless it is whole and of no unfinished prefill."""
        context = self.bench.context.pointer
        data = np.zeros(int(C.llama_state_get_size(context)), dtype=np.uint8)
        address = data.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        assert C.llama_state_get_data(context, address, len(data)) == len(data)
        size, damaged = len(data), self.chance(0.5)
        if damaged and self.chance(0.5):
            size = self.integer(0, len(data) - 1)
        elif damaged:
            # not the first four bytes: llama.cpp allocates what they say, before our part begins
            data[self.integer(4, len(data) - 1)] ^= 1 << self.integer(0, 7)
        finished = self.engine.info().n_tokens == 0
        got = int(C.llama_state_set_data(context, address, size))
        assert got == (len(data) if finished and not damaged else 0) or not (finished or damaged), (got, damaged)

    def scores(self) -> None:
        il = self.integer(-1, 7)
        sums = self.engine.scores(il)
        assert np.isfinite(sums).all()

    def end(self) -> None:
        self.engine.end()

    def decode(self) -> None:
        busy = self.engine.info().n_tokens > 0
        memory = self.bench.memory
        position = int(C.llama_memory_seq_pos_max(memory, 0)) + 1
        status = self.bench.context.try_decode(self.bench.tokens[: self.integer(1, 80)], position)
        assert status == 1 if busy else status in (0, 1), f"llama_decode returned {status}, {busy=}"

    def look(self) -> None:
        info = self.engine.info()
        layers = [self.engine.layer(il) for il in range(info.n_layer)]
        assert info.kv_bytes == sum(layer.bytes for layer in layers) <= info.kv_bytes_peak or info.n_groups
        assert all(
            layer.is_compressed or len(self.engine.positions(il)) == layer.n_cells for il, layer in enumerate(layers)
        )
        self.engine.layer(self.integer(-2, 8))

    def hold(self) -> None:
        self.engine.hold(self.integer(1, self.engine.info().n_tokens) if self.chance(0.9) else self.integer(-2, 900))

    def resume(self) -> None:
        info = self.engine.info()
        n_held = max(info.n_held - self.integer(0, 3), 0) if self.chance(0.9) else self.integer(-2, 900)
        n = self.integer(WINDOW, 90) if self.chance(0.9) else self.integer(0, 900)
        self.engine.resume(n_held, self.bench.model.tokens(n), min(WINDOW, n), self.integer(0, 20))
        self.window = min(WINDOW, n)
        if self.chance(0.9):
            self.engine.run(0, info.il_held, self.asked())

    def step(self) -> None:
        calls = [self.begin, self.run, self.run, self.keep, self.compress, self.compress, self.scores, self.end]
        calls += [self.decode, self.look, self.state, self.hold, self.resume, self.evict, self.release]
        call = calls[self.integer(0, len(calls) - 1)] if self.chance(0.97) else self.engine.abort
        try:
            call()
            self.n_ok += 1
        except (ValueError, Stopped):
            self.n_refused += 1

    def __call__(self, n_steps: int) -> None:
        for i in range(n_steps):
            self.step()
            if i % 50 == 49:
                self.bench.check_usable()
        assert self.n_ok > n_steps // 8 and self.n_refused > n_steps // 8, (self.n_ok, self.n_refused)


CASES: dict[str, Action] = {
    **{f"reenter {name}": lambda b, case=case: reenter(b, *case) for name, case in REENTER.items()},  # type: ignore[misc]
    **{f"meddle {name}": lambda b, call=call: meddle(b, call) for name, call in MEDDLE.items()},  # type: ignore[misc]
    "second engine": second_engine,
    "polled": polled,
    **({"out of memory": out_of_memory} if sys.platform == "linux" else {}),
}


def main(path: str, case: str, seed: str = "0") -> None:
    faulthandler.enable()
    if case == "fuzz":
        layouts = [(True, F16), (True, Q8_0), (False, F16)]
        Fuzz(Bench(Path(path), *layouts[int(seed) % 3]), int(seed))(N_STEPS)
    else:
        CASES[case](Bench(Path(path)))


if __name__ == "__main__":
    main(*sys.argv[1:])

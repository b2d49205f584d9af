"""Script: let every allocation of a prefill fail, one after the other; run with failing_malloc.c preloaded.

    python alloc_failures.py MODEL.gguf POLICY MIN_SIZE KV_TYPE

Prints what went wrong and exits with 1, or exits with 0.
"""

from __future__ import annotations

import ctypes
import faulthandler
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from llama_fixtures import load, logits  # isort: skip
from asl_llamacpp import Llama

N_PROMPT = 200
FOREVER = 1 << 40

libc = ctypes.CDLL(None)
libc.n_allocations.restype = ctypes.c_long
libc.fail_allocations.argtypes = [ctypes.c_size_t, ctypes.c_long, ctypes.c_long]


@contextmanager
def failing(min_size: int, first: int, n: int) -> Iterator[None]:
    """Inside, allocations of at least `min_size` bytes fail, n of them from number `first` on."""
    libc.fail_allocations(min_size, first, n)
    try:
        yield
    finally:
        libc.fail_allocations((1 << 63) - 1, 0, 0)


def prefill(llm: Llama) -> bytes:
    """The logits after the same prompt each time, evaluated anew."""
    llm.reset()
    llm.eval([3 + 7 * i % 250 for i in range(N_PROMPT)])
    return logits(llm).tobytes()


def main(path: str, policy: str, min_size: str, kv_type: str) -> None:
    faulthandler.enable()
    size = int(min_size)
    settings = {"kv_policy": policy, "kv_budget": 64 if policy.startswith("snapkv") else None}
    settings |= {"type_k": int(kv_type), "type_v": int(kv_type)}

    def fresh() -> Llama:
        return load(Path(path), n_batch=64, **settings)

    llm = fresh()
    with failing(size, FOREVER, 0):
        want = prefill(llm)
        n_allocations = libc.n_allocations()
    outcomes: Counter[str] = Counter()
    for n_failing in (1, FOREVER):
        for first in range(n_allocations):
            print(f"allocation {first} of {n_allocations}, {n_failing} failing", file=sys.stderr, flush=True)
            if n_failing == 1:
                llm.close()
                llm = fresh()  # its buffers have not grown yet
            try:
                with failing(size, first, n_failing):
                    got = prefill(llm)
                outcome = "answered" if got == want else "wrong answer"
            except Exception as error:
                outcome = "MemoryError" if isinstance(error, MemoryError) else repr(error)
            outcomes[outcome] += 1
            assert prefill(llm) == want, f"another answer after {outcome}, allocation {first} of {n_allocations}"
    for outcome, count in outcomes.items():
        print(count, outcome)
    assert outcomes.keys() <= {"answered", "MemoryError"}, "another error than MemoryError"
    # what only makes something faster may be done without, but that is not all
    assert outcomes["answered"] < outcomes.total() // 3, "hardly any allocation failed"


if __name__ == "__main__":
    main(*sys.argv[1:])

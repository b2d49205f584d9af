"""Turns: one caller at a time, streams keep theirs, and nobody waits for himself. No model is needed."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Generator

import pytest

from asl_llamacpp.engine.turn import Turn


def counting(n: int = 3) -> Generator[int, None, None]:
    yield from range(n)


def in_thread(call: object) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_calls_come_one_after_another_in_the_order_in_which_they_asked() -> None:
    turn, order, inside = Turn(), [], [0]

    def work(i: int) -> None:
        with turn.hold():
            inside[0] += 1
            assert inside[0] == 1
            order.append(i)
            time.sleep(0.01)
            inside[0] -= 1

    with turn.hold():
        threads = []
        for i in range(6):
            threads.append(in_thread(lambda i=i: work(i)))
            while len(turn._waiting) <= i:
                time.sleep(0.001)
    for thread in threads:
        thread.join(5)
    assert order == list(range(6))


def test_a_call_within_a_turn_belongs_to_it() -> None:
    turn = Turn()
    with turn.hold(), turn.hold(), turn.hold(beside=True):
        assert list(turn.stream(counting())) == [0, 1, 2]
    assert turn._holder is None and turn._running is None


def test_a_stream_has_the_turn_until_it_is_through() -> None:
    turn, done = Turn(), threading.Event()
    stream = turn.stream(counting())
    next(stream)

    def work() -> None:
        with turn.hold():
            done.set()

    thread = in_thread(work)
    assert not done.wait(0.3)
    assert list(stream) == [1, 2]
    assert done.wait(5)
    thread.join(5)


@pytest.mark.parametrize("end", ["close", "forget", "fail"])
def test_a_stream_that_ends_otherwise_gives_the_turn_back(end: str) -> None:
    turn = Turn()

    def pieces() -> Generator[int, None, None]:
        yield 1
        raise ZeroDivisionError

    stream = turn.stream(pieces())
    next(stream)
    if end == "close":
        stream.close()
    elif end == "forget":
        del stream
        gc.collect()
    else:
        with pytest.raises(ZeroDivisionError):
            next(stream)
    done = threading.Event()
    in_thread(lambda: turn.poll(done.set, None))
    assert done.wait(5)


def test_a_stream_that_never_began_holds_nothing() -> None:
    turn = Turn()
    first, second = turn.stream(counting()), turn.stream(counting())
    assert list(second) == list(first) == [0, 1, 2]
    turn.stream(counting()).close()
    assert turn._holder is None


def test_waiting_for_ones_own_stream_is_an_error_that_says_what_to_do() -> None:
    turn = Turn()
    stream = turn.stream(counting())
    next(stream)
    with pytest.raises(RuntimeError, match=r"close\(\)"), turn.hold():
        raise AssertionError
    with pytest.raises(RuntimeError, match=r"close\(\)"):
        next(turn.stream(counting()))
    with turn.hold(beside=True):
        pass
    assert list(stream) == [1, 2]


def test_a_shared_stream_lets_its_own_thread_do_other_things() -> None:
    turn, done = Turn(), threading.Event()
    one, two = turn.stream(counting(), shared=True), turn.stream(counting(), shared=True)
    pieces = [next(one), next(two)]
    with turn.hold():
        pass
    in_thread(lambda: (next(turn.stream(counting())), done.set()))
    assert not done.wait(0.3)
    one.close()
    pieces += list(two)
    assert pieces == [0, 0, 1, 2] and done.wait(5)


def test_a_stream_may_change_hands() -> None:
    turn, pieces = Turn(), []
    stream = turn.stream(counting(100))
    threads = [in_thread(lambda: pieces.extend(stream)) for _ in range(3)]
    for thread in threads:
        thread.join(5)
    assert sorted(pieces) == list(range(100)) and turn._holder is None


def test_polling_never_waits() -> None:
    turn, seen = Turn(), []
    with turn.hold():
        thread = in_thread(lambda: seen.append(turn.poll(lambda: "now", "before")))
        thread.join(5)
        assert turn.poll(lambda: "mine", "before") == "mine"
    assert seen == ["before"] and turn.poll(lambda: "now", "before") == "now"
    stream = turn.stream(counting())
    next(stream)
    thread = in_thread(lambda: seen.append(turn.poll(lambda: "now", "before")))
    thread.join(5)
    assert seen[1:] == ["before"] and turn.poll(lambda: "mine", "before") == "mine"


def test_an_interrupted_wait_leaves_the_queue() -> None:
    turn = Turn()
    stream = turn.stream(counting())
    thread = in_thread(lambda: next(stream))
    thread.join(5)
    failed = []

    def wait() -> None:
        original = turn._changed.wait

        def interrupted(timeout: float) -> bool:
            turn._changed.wait = original  # type: ignore[method-assign]
            raise KeyboardInterrupt

        turn._changed.wait = interrupted  # type: ignore[method-assign]
        try:
            with turn.hold():
                pass
        except KeyboardInterrupt:
            failed.append(1)

    in_thread(wait).join(5)
    assert failed == [1] and not turn._waiting
    stream.close()
    with turn.hold():
        pass

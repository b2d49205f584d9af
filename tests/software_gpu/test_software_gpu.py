"""The software GPU itself: it finds what it is there to find, and counts what happens."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from ggml_device import Device, context, ffi, graph_of, lib, new_tensor
from places import HELPERS
from software_gpu import SoftwareGpu


@pytest.fixture
def gpu() -> Iterator[SoftwareGpu]:
    with SoftwareGpu(count=True, devices=2) as gpu:
        yield gpu


@pytest.fixture
def device(gpu: SoftwareGpu) -> Iterator[Device]:
    with Device() as device:
        yield device


def races(gpu: SoftwareGpu) -> list[str]:
    return gpu.counters(0).race_messages + gpu.counters(1).race_messages


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_the_host_can_touch_shared_memory() -> None:
    with SoftwareGpu(memory="shared"), Device() as device:
        data = lib.ggml_get_data(device.tensor("a", fill=7))
        assert (np.frombuffer(ffi.buffer(data, 256), np.uint8) == 7).all()


def test_memory_that_was_never_written_is_no_number(device: Device) -> None:
    assert np.isnan(device.get(device.tensor("a", fill=None)).view(np.float32)).all()


def test_data_comes_and_goes(device: Device) -> None:
    a, b = device.tensor("a"), device.tensor("b")
    values = np.arange(64, dtype=np.float32)
    device.set(a, values)
    device.queue_copy(a, b)
    device.synchronize()
    np.testing.assert_array_equal(device.get(b).view(np.float32), values)

    values += 1
    out = np.zeros(64, dtype=np.float32)
    device.set(a, values, queued=True)
    device.queue_copy(a, b)
    device.queue_get(b, out)
    device.synchronize()
    np.testing.assert_array_equal(out, values)


def test_memory_runs_out() -> None:
    with SoftwareGpu(bytes=1000, count=True), Device() as device:
        device.tensor("a")
        ctx = context()
        new_tensor(ctx, "b", 1000)
        assert lib.ggml_backend_alloc_ctx_tensors(ctx, device.backend) == ffi.NULL
        lib.ggml_free(ctx)


def test_what_is_left_is_noticed() -> None:
    with pytest.raises(AssertionError, match="256 bytes of device and pinned memory were never freed"), SoftwareGpu():
        Device().tensor("a")


# ---- errors ---------------------------------------------------------------------------------------------------------

TOUCH = "np.frombuffer(ffi.buffer(data, 8), np.uint8).copy()"
TWO_VIEWS = (
    "a = device.tensor('a', 64, 4)\n"
    "v, w = (lib.ggml_view_2d(context(), a, 64, 2, 256, offset) for offset in (0, 256))\n"
    "lib.ggml_backend_view_init(v); lib.ggml_backend_view_init(w)\n"
)
SHARED = {"memory": "shared"}
LATE = {"devices": 2, "delay": 2000}

ERRORS: dict[str, tuple[dict[str, object], str, str]] = {
    "touched by the host": (
        {},
        f"b = device.tensor('b'); a = device.tensor('cache_k_l3'); data = lib.ggml_get_data(a); {TOUCH}",
        "the host touches device memory, 'cache_k_l3', byte 0 of buffer 1 of SGPU0",
    ),
    "touched when freed": (
        {},
        f"a = device.tensor('a'); data = lib.ggml_get_data(a); device.free(a); {TOUCH}",
        "byte 0 of buffer 0 of SGPU0, 256 bytes, which was freed",
    ),
    "shared, touched when freed": (
        SHARED,
        f"a = device.tensor('a'); data = lib.ggml_get_data(a); device.free(a); {TOUCH}",
        "byte 0 of buffer 0 of SGPU0, 256 bytes, which was freed",
    ),
    "outside": (
        {},
        "a = device.tensor('a'); words = np.frombuffer(ffi.buffer(a, 256), np.uintp)\n"
        "words[words == int(ffi.cast('uintptr_t', lib.ggml_get_data(a)))] += 4096; device.get(a)",
        "bytes 0 to 256 of 'a' do not lie in its buffer: buffer 0 of SGPU0, 256 bytes",
    ),
    "unaligned": (
        {},
        "a = device.tensor('a'); device.get(a, 3, 8)",
        "unaligned copy: bytes 3 to 11 of 'a', whose elements take 4",
    ),
    "overlapping": (
        {},
        TWO_VIEWS + "lib.ggml_backend_tensor_copy(v, w)",
        "overlapping copy: 'a (view)' to 'a (view)'",
    ),
    "overlapping in a graph": (
        {},
        TWO_VIEWS + "device.queue_copy(v, w)",
        "(CPY) overwrites 'a (view)', which it reads",
    ),
    "host memory": (
        {},
        "cpu = Device('CPU'); a = device.tensor('a'); b = cpu.tensor('b'); device.queue_copy(b, a)",
        "reads 'b', which lies in no memory of this device, or in a buffer that was freed (SGPU0)",
    ),
    "other device": (
        LATE,
        "other = Device('SGPU1'); a = device.tensor('a'); b = other.tensor('b'); device.queue_copy(a, b)",
        "writes 'b (copy of a)', which lies in buffer 1 of SGPU1, 256 bytes (SGPU0)",
    ),
    "freed": (
        {},
        "a = device.tensor('a'); b = device.tensor('b'); device.free(a); device.queue_copy(a, b)",
        "reads 'a', which lies in no memory of this device, or in a buffer that was freed (SGPU0)",
    ),
    "freed too early": (
        LATE,
        "a = device.tensor('a'); b = device.tensor('b'); device.queue_copy(a, b); device.free(a)",
        "race: freeing buffer 0 of SGPU0, 256 bytes writes 'all of it' while a graph of 1 nodes",
    ),
    "changed": (
        LATE,
        "a = device.tensor('a'); data = np.zeros(64, np.float32); device.set(a, data, queued=True)\n"
        "data += 1; device.synchronize()",
        "a queued copy of 'a' from the host: the host has changed the data before the device read it",
    ),
    "race": (
        LATE,
        "a = device.tensor('a'); b = device.tensor('b'); device.queue_copy(a, b); device.get(b)",
        "race: a copy to the host reads 'b' while a graph of 1 nodes from 'b (copy of a)' to 'b (copy of a)' on SGPU0, "
        "queued before and not waited for, writes 'b (copy of a)'",
    ),
    "unsupported": (
        {"accept": "cuda"},
        "ctx = context(graph=True); k = device.tensor('k', 33, 32); q = device.tensor('q', 33, 1)\n"
        "out = lib.ggml_flash_attn_ext(ctx, q, k, k, ffi.NULL, 1.0, 0.0, 0.0)\n"
        "lib.ggml_backend_alloc_ctx_tensors(ctx, device.backend)\n"
        "lib.ggml_backend_graph_compute_async(device.backend, graph_of(ctx, out))",
        "(FLASH_ATTN_EXT) is no operation that SGPU0 supports",
    ),
}


@pytest.fixture(scope="module")
def ends() -> dict[str, tuple[int, str]]:
    """How the process of each of ERRORS ended: status, stderr."""
    cases = json.dumps({name: (options, code) for name, (options, code, _) in ERRORS.items()})
    command = [sys.executable, str(HELPERS / "gpu_errors.py")]
    result = subprocess.run(command, input=cases, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("case", ERRORS)
def test_errors_end_the_process(ends: dict[str, tuple[int, str]], case: str) -> None:
    status, text = ends[case]
    assert ERRORS[case][2] in text
    assert -status == (signal.SIGSEGV if "touched" in case else signal.SIGABRT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memry": 1}, "no option 'memry'"),
        ({"memory": "x"}, "memory cannot be 'x'"),
        ({"delay": "1s"}, "not '1s'"),
        ({"linear": -1}, "must be a rate, not '-1'"),
        ({"linear": 100}, "go together, and with compute=0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftwareGpu(**options).__enter__()


# ---- what has happened before what ----------------------------------------------------------------------------------


def test_a_race_is_one_however_it_went(gpu: SoftwareGpu, device: Device) -> None:
    """Not by luck: what was long done is unfinished for a host that did not wait."""
    a, b = device.tensor("a"), device.tensor("b")
    device.queue_copy(a, b)
    time.sleep(0.05)
    device.get(a)  # both read it
    assert races(gpu) == []
    device.get(b)
    assert len(races(gpu)) == 1 and "a copy to the host reads 'b'" in races(gpu)[0]
    device.set(a, np.zeros(64, np.float32))
    assert len(races(gpu)) == 2 and "a copy from the host writes 'a'" in races(gpu)[1]


def test_waiting_is_enough(gpu: SoftwareGpu, device: Device) -> None:
    a, b = device.tensor("a"), device.tensor("b")
    device.queue_copy(a, b)
    device.synchronize()
    device.get(b)
    device.free(a)
    assert races(gpu) == []


def test_queues_race_too(gpu: SoftwareGpu, device: Device) -> None:
    a, b, c = (device.tensor(name) for name in "abc")
    with Device() as second:
        device.queue_copy(a, b)
        second.queue_copy(b, c)
        assert len(races(gpu)) == 1 and "reads 'b'" in races(gpu)[0]


def test_events_order_queues(gpu: SoftwareGpu, device: Device) -> None:
    a, b, c = (device.tensor(name) for name in "abc")
    event = lib.ggml_backend_event_new(device.device)
    with Device() as second:
        device.set(a, np.arange(64, dtype=np.float32))
        device.queue_copy(a, b)
        lib.ggml_backend_event_record(event, device.backend)
        lib.ggml_backend_event_wait(second.backend, event)
        second.queue_copy(b, c)
        second.synchronize()
        assert device.get(c).view(np.float32)[63] == 63
        # the second queue came after the first, so the host has waited for both
        device.get(b)
        assert races(gpu) == []

        # not what was queued after the event
        device.queue_copy(b, a)
        lib.ggml_backend_event_synchronize(event)
        device.set(b, np.zeros(64, np.float32))
        assert len(races(gpu)) == 1
    lib.ggml_backend_event_free(event)


def test_copies_between_devices_are_ordered(gpu: SoftwareGpu, device: Device) -> None:
    with Device("SGPU1") as other:
        a, b, c = device.tensor("a"), other.tensor("b"), other.tensor("c")
        device.set(a, np.arange(64, dtype=np.float32))
        other.queue_copy(b, c)  # which reads what is overwritten
        lib.ggml_backend_tensor_copy_async(device.backend, other.backend, a, b)
        other.queue_copy(b, c)
        other.synchronize()
        assert other.get(c).view(np.float32)[63] == 63
        assert races(gpu) == []
        assert gpu.counters(1).across == {"b": (1, 256)}


# ---- counters -------------------------------------------------------------------------------------------------------


def test_copies_are_counted_by_tensor(gpu: SoftwareGpu, device: Device) -> None:
    a, b = device.tensor("a"), device.tensor("b", 16)
    device.set(a, np.zeros(64, np.float32))
    device.set(a, np.zeros(2, np.float32))
    device.set(b, np.zeros(16, np.float32), queued=True)
    device.synchronize()
    device.get(b)
    counted = gpu.counters()
    assert counted.up == {"a": (2, 264), "b": (1, 64)} and counted.bytes_up == 328
    assert counted.down == {"b": (1, 64)} and counted.blocking_copies == 3


def test_memory_is_counted(gpu: SoftwareGpu, device: Device) -> None:
    a = device.tensor("a", 1024)
    device.tensor("b", 64)
    device.free(a)
    counted = gpu.counters()
    assert (counted.allocations, counted.bytes_live, counted.bytes_peak) == (2, 256, 4096 + 256)
    gpu.reset()
    assert (gpu.counters().allocations, gpu.counters().bytes_peak) == (0, 256)


def test_graphs_and_synchronizations_are_counted(gpu: SoftwareGpu, device: Device) -> None:
    a, b = device.tensor("a"), device.tensor("b")
    device.queue_copy(a, b)
    device.queue_copy(b, a)
    device.synchronize()
    device.synchronize()
    counted = gpu.counters()
    assert (counted.graphs, counted.nodes, counted.synchronizations, counted.waits) == (2, 2, 2, 1)
    assert counted.seconds_waiting > 0 and counted.seconds_computing > 0 and counted.seconds_bookkeeping > 0


@pytest.fixture
def scheduler(device: Device) -> Iterator[tuple[object, object]]:
    """A scheduler over the device and the CPU, and a weight on the device."""
    with Device("CPU") as cpu:
        backends = ffi.new("void *[]", [device.backend, cpu.backend])
        sched = lib.ggml_backend_sched_new(backends, ffi.NULL, 2, 64, False, False)
        yield sched, device.tensor("weight", 64, 64)
        lib.ggml_backend_sched_free(sched)


def test_reservations_are_counted(gpu: SoftwareGpu, scheduler: tuple[object, object]) -> None:
    """Those that a scheduler is told to make, and those that it makes because a graph does not fit."""
    sched, weight = scheduler

    def build(n_tokens: int, n_products: int = 1) -> object:
        ctx = context(graph=True)
        x = new_tensor(ctx, "x", 64, n_tokens)
        lib.ggml_set_input(x)
        for _ in range(n_products):
            x = lib.ggml_mul_mat(ctx, weight, x)
        return graph_of(ctx, x)

    def compute(graph: object) -> int:
        gpu.reset()
        lib.ggml_backend_sched_reset(sched)
        assert lib.ggml_backend_sched_alloc_graph(sched, graph)
        assert lib.ggml_backend_sched_graph_compute_async(sched, graph) == 0
        return gpu.counters().reservations

    gpu.reset()
    assert lib.ggml_backend_sched_reserve(sched, build(8))
    assert lib.ggml_backend_sched_reserve(sched, build(16))
    assert gpu.counters().reservations == 2
    assert [compute(build(n)) for n in (16, 8, 16)] == [0, 0, 0]
    assert [compute(build(n)) for n in (32, 32, 16)] == [1, 0, 0]
    assert [compute(build(8, n)) for n in (2, 2, 1)] == [1, 0, 1]
    lib.ggml_backend_sched_synchronize(sched)


def test_null_compute() -> None:
    """Nothing is copied or computed, and what is read is noise, other one each time."""
    with SoftwareGpu(compute=False) as gpu, Device() as device:
        a, b = device.tensor("a", 1000), device.tensor("b", 1000)
        device.set(a, np.zeros(1000, np.float32))
        device.queue_copy(a, b)
        device.synchronize()
        first, second = (device.get(b).view(np.float32) for _ in range(2))
        assert ((first >= 0) & (first <= 1)).all() and 0.4 < first.mean() < 0.6 and (first != second).any()
        assert gpu.counters().up == {"a": (1, 4000)} and gpu.counters().seconds_computing == 0


def test_a_card_of_given_rates() -> None:
    """A product of 1e9 operations at 0.01 TFLOP/s takes 0.1 s, and a copy of 1 MB over 0.02 GB/s half of that."""
    rates = {"linear": 0.01, "attention": 1, "memory_gb": 100, "bus_gb": 0.02}
    with SoftwareGpu(compute=False, delay=0, **rates) as gpu, Device() as device:
        a, b, c = (device.tensor(name, 512, n) for name, n in (("a", 512), ("b", 1907), ("c", 488)))
        ctx = context(graph=True)
        graph = graph_of(ctx, lib.ggml_mul_mat(ctx, a, b))
        product = lib.ggml_backend_alloc_ctx_tensors(ctx, device.backend)
        start = time.perf_counter()
        assert lib.ggml_backend_graph_compute_async(device.backend, graph) == 0
        device.set(c, np.zeros((488, 512), np.float32))
        assert time.perf_counter() - start >= 0.04
        device.synchronize()
        assert time.perf_counter() - start >= 0.0999
        assert 0.0999 < gpu.counters().seconds_computing < 0.1001
        lib.ggml_backend_buffer_free(product)

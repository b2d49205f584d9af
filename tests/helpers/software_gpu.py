"""Loads the software GPU into this process: `with SoftwareGpu() as gpu: ... gpu.counters()`."""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from llama_cpp import llama_cpp  # with its library, in which the devices are registered
from places import BUILD

VARIABLE = "ASL_SOFTWARE_GPU"
"""Environment variable with the path of the library, where it is not in build/native."""

DEFAULT = BUILD / "native" / "software_gpu" / "libsoftware-gpu.so"

Copies = dict[str, tuple[int, int]]
"""By tensor: number of copies, and their bytes together."""


@dataclass(frozen=True)
class Counters:
    """What one device has counted since it was opened or reset."""

    graphs: int
    nodes: int  # without views
    reservations: int  # of compute buffers by a scheduler; each made the host wait for the device
    synchronizations: int  # by the host
    waits: int  # of these, those that found unfinished work
    blocking_copies: int
    allocations: int  # of device memory
    races: int
    bytes_live: int  # device memory
    bytes_peak: int
    bytes_host_live: int  # pinned host memory
    bytes_host_peak: int
    seconds_computing: float  # of the device
    seconds_device_cpu: float  # CPU time of its threads
    seconds_waiting: float  # of the host, for the device
    seconds_bookkeeping: float  # CPU time that the host spent in the software GPU itself
    up: Copies
    down: Copies
    across: Copies
    race_messages: list[str]

    @property
    def bytes_up(self) -> int:
        return sum(n for _, n in self.up.values())

    @property
    def bytes_down(self) -> int:
        return sum(n for _, n in self.down.values())


def library() -> ctypes.CDLL:
    """The loaded library.

    Raises:
        FileNotFoundError: it was never built.
    """
    assert llama_cpp is not None
    path = Path(os.environ.get(VARIABLE, DEFAULT))
    if not path.is_file():
        raise FileNotFoundError(f"no software GPU at {path}: 'make test' builds it; or name another in {VARIABLE}")
    lib = ctypes.CDLL(str(path))
    lib.software_gpu_open.restype = ctypes.c_void_p
    lib.software_gpu_open.argtypes = [ctypes.c_char_p]
    lib.software_gpu_close.restype = ctypes.c_size_t
    lib.software_gpu_close.argtypes = [ctypes.c_void_p]
    lib.software_gpu_error.restype = ctypes.c_char_p
    lib.software_gpu_counters.restype = ctypes.c_char_p
    lib.software_gpu_counters.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    lib.software_gpu_reset.argtypes = [ctypes.c_void_p]
    lib.software_gpu_accepts.restype = ctypes.c_bool
    lib.software_gpu_accepts.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
    return lib


def accepts(backend: str, operation: int) -> bool:
    """Whether "cuda" or "metal" of the source accepts an operation, a `ggml_tensor *`."""
    return bool(library().software_gpu_accepts(backend.encode(), operation))


ALL_LAYERS = 999


class SoftwareGpu:
    """Devices that models find from `__enter__` to `__exit__`.

    Args:
        devices: how many.
        options: those of options.h, such as memory="shared", accept="cuda", compute=False, delay=0.

    Raises:
        ValueError: an option that does not exist, or a wrong value.
        AssertionError: on exit, if device memory was never freed.
    """

    def __init__(self, devices: int = 1, **options: Any) -> None:
        self.devices = devices
        values = {"devices": devices, **options}
        text = ",".join(f"{key}={int(value) if isinstance(value, bool) else value}" for key, value in values.items())
        self._options = text.encode()
        self._lib = library()
        self._backend: int | None = None

    def __enter__(self) -> SoftwareGpu:
        self._backend = self._lib.software_gpu_open(self._options)
        if self._backend is None:
            raise ValueError(self._lib.software_gpu_error().decode())
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        left = self._lib.software_gpu_close(self._backend)
        self._backend = None
        assert kind is not None or left == 0, f"{left} bytes of device and pinned memory were never freed"

    def counters(self, device: int = 0) -> Counters:
        values = json.loads(self._lib.software_gpu_counters(self._backend, device))
        for name in ("up", "down", "across"):
            values[name] = {tensor: tuple(copies) for tensor, copies in values[name].items()}
        return Counters(**{field.name: values[field.name] for field in fields(Counters)})

    def reset(self) -> None:
        """Count from zero again, on all devices."""
        self._lib.software_gpu_reset(self._backend)


@contextmanager
def for_every_model(text: str) -> Iterator[SoftwareGpu]:
    """Devices for all models that would otherwise stay on the CPU.

    Args:
        text: options as C takes them, "devices=2,memory=shared"; layers=N beside them: how many lie on the devices.
    """
    import pytest

    options = dict(part.split("=", 1) for part in text.split(",") if part)
    n_layers = int(options.pop("layers", ALL_LAYERS))
    devices = int(options.pop("devices", 1))
    load = llama_cpp.llama_model_load_from_file

    def load_on_gpu(path: bytes, params: Any) -> Any:
        params.n_gpu_layers = params.n_gpu_layers or n_layers
        return load(path, params)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(llama_cpp, "llama_model_load_from_file", load_on_gpu)
        gpu = SoftwareGpu(devices, **options)
        yield gpu.__enter__()  # models that are never closed outlive it

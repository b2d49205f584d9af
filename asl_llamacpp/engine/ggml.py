"""cffi binding of what ggml says about devices: the local ones, and those of llama.cpp's RPC servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cffi import FFI

from .library import open_library

Device = Any
"""A `ggml_backend_dev_t`; it lives as long as the process."""

_CPU, _GPU, _INTEGRATED_GPU, _ACCELERATOR = range(4)

ffi = FFI()
ffi.cdef("""
    void llama_backend_init(void);

    typedef struct ggml_backend_reg    * ggml_backend_reg_t;
    typedef struct ggml_backend_device * ggml_backend_dev_t;

    size_t             ggml_backend_dev_count(void);
    ggml_backend_dev_t ggml_backend_dev_get(size_t index);
    int                ggml_backend_dev_type(ggml_backend_dev_t device);
    ggml_backend_reg_t ggml_backend_dev_backend_reg(ggml_backend_dev_t device);

    ggml_backend_reg_t ggml_backend_reg_by_name(const char * name);
    size_t             ggml_backend_reg_dev_count(ggml_backend_reg_t reg);
    ggml_backend_dev_t ggml_backend_reg_dev_get(ggml_backend_reg_t reg, size_t index);
    void *             ggml_backend_reg_get_proc_address(ggml_backend_reg_t reg, const char * name);
""")
lib: Any = open_library(ffi)


def _devices() -> list[Device]:
    lib.llama_backend_init()  # a wheel's backends are files of their own, which this loads
    return [lib.ggml_backend_dev_get(i) for i in range(lib.ggml_backend_dev_count())]


def local_gpus() -> list[Device]:
    """This machine's GPUs, integrated ones where there is no other; of one backend, as each would list them anew."""
    devices = _devices()
    for kind in (_GPU, _INTEGRATED_GPU):
        if found := [device for device in devices if lib.ggml_backend_dev_type(device) == kind]:
            backend = lib.ggml_backend_dev_backend_reg(found[0])
            return [device for device in found if lib.ggml_backend_dev_backend_reg(device) == backend]
    return []


def devices_to_serve() -> list[Device]:
    """What a server offers: this machine's GPUs, the CPU where there is none."""
    return local_gpus() or [device for device in _devices() if lib.ggml_backend_dev_type(device) == _CPU]


def _rpc_function(name: str, signature: str) -> Any:
    """A function of the RPC backend, which llama.cpp's programs look up like this too.

    Raises:
        RuntimeError: the library was built without that backend.
    """
    lib.llama_backend_init()
    backend = lib.ggml_backend_reg_by_name(b"RPC")
    address = ffi.NULL if backend == ffi.NULL else lib.ggml_backend_reg_get_proc_address(backend, name.encode())
    if address == ffi.NULL:
        raise RuntimeError(
            'this asl_llamacpp was built without RPC: install it again with CMAKE_ARGS="-DGGML_RPC=on ..."'
        )
    return ffi.cast(signature, address)


def check_rpc() -> None:
    """RuntimeError if the library was built without the RPC backend."""
    _rpc_function("ggml_backend_rpc_add_server", "void *")


def rpc_devices(address: str) -> list[Device]:
    """The devices of the server at `address`. If it cannot be reached the process ends: ask `rpc.greet` first."""
    add_server = _rpc_function("ggml_backend_rpc_add_server", "ggml_backend_reg_t (*)(const char *)")
    server = add_server(address.encode())
    if server == ffi.NULL:
        return []
    return [lib.ggml_backend_reg_dev_get(server, i) for i in range(lib.ggml_backend_reg_dev_count(server))]


def run_rpc_server(address: str, threads: int, cache: str | None) -> None:
    """Serve this machine's devices until the process ends; returns only if `address` cannot be listened on."""
    signature = "void (*)(const char *, const char *, size_t, size_t, ggml_backend_dev_t *)"
    start_server = _rpc_function("ggml_backend_rpc_start_server", signature)
    devices = devices_to_serve()
    folder = ffi.NULL if cache is None else ffi.new("char[]", cache.encode())
    start_server(address.encode(), folder, threads, len(devices), ffi.new("ggml_backend_dev_t[]", devices))


def device_array(devices: Sequence[Device]) -> Any:
    """The devices as llama.cpp takes them: a C array that ends with NULL."""
    return ffi.new("ggml_backend_dev_t[]", [*devices, ffi.NULL])


def address_of(array: Any) -> int:
    """The address of a C array, for ctypes; the array must outlive its use."""
    return int(ffi.cast("uintptr_t", array))

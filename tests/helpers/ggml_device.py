"""One ggml device by its name: tensors on it, copies, graphs, events and a scheduler, a few lines each."""

from __future__ import annotations

from typing import Any

import numpy as np
from cffi import FFI
from numpy.typing import NDArray

from asl_llamacpp.engine.library import library_path

F32, F16, Q8_0, I32 = 0, 1, 8, 26  # ggml's types

Pointer = Any

ffi = FFI()
ffi.cdef("""
    struct ggml_init_params { size_t mem_size; void * mem_buffer; bool no_alloc; };

    void * ggml_init(struct ggml_init_params params);
    void   ggml_free(void * ctx);

    void *  ggml_new_tensor_2d(void * ctx, int type, int64_t ne0, int64_t ne1);
    void *  ggml_set_name(void * tensor, const char * name);
    void *  ggml_get_data(void * tensor);
    size_t  ggml_nbytes(void * tensor);
    void    ggml_set_input(void * tensor);
    void *  ggml_view_2d(void * ctx, void * a, int64_t ne0, int64_t ne1, size_t nb1, size_t offset);

    void * ggml_add(void * ctx, void * a, void * b);
    void * ggml_cpy(void * ctx, void * a, void * b);
    void * ggml_mul_mat(void * ctx, void * a, void * b);
    void * ggml_get_rows(void * ctx, void * a, void * b);
    void * ggml_flash_attn_ext(void * ctx, void * q, void * k, void * v, void * mask, float scale, float bias,
        float softcap);

    void * ggml_new_graph(void * ctx);
    void   ggml_build_forward_expand(void * graph, void * tensor);
    size_t ggml_tensor_overhead(void);
    size_t ggml_graph_overhead(void);

    void * ggml_backend_dev_by_name(const char * name);
    void * ggml_backend_dev_init(void * dev, const char * params);
    bool   ggml_backend_dev_supports_op(void * dev, void * op);
    void   ggml_backend_free(void * backend);
    int    ggml_backend_view_init(void * tensor);

    void * ggml_backend_alloc_ctx_tensors(void * ctx, void * backend);
    void   ggml_backend_buffer_free(void * buffer);
    void   ggml_backend_buffer_clear(void * buffer, uint8_t value);

    void ggml_backend_tensor_set(void * tensor, const void * data, size_t offset, size_t size);
    void ggml_backend_tensor_get(void * tensor, void * data, size_t offset, size_t size);
    void ggml_backend_tensor_set_async(void * backend, void * tensor, const void * data, size_t offset, size_t size);
    void ggml_backend_tensor_get_async(void * backend, void * tensor, void * data, size_t offset, size_t size);
    void ggml_backend_tensor_copy(void * src, void * dst);
    void ggml_backend_tensor_copy_async(void * backend_src, void * backend_dst, void * src, void * dst);

    int  ggml_backend_graph_compute_async(void * backend, void * graph);
    void ggml_backend_synchronize(void * backend);

    void * ggml_backend_event_new(void * dev);
    void   ggml_backend_event_free(void * event);
    void   ggml_backend_event_record(void * event, void * backend);
    void   ggml_backend_event_wait(void * backend, void * event);
    void   ggml_backend_event_synchronize(void * event);

    void * ggml_backend_sched_new(void ** backends, void ** bufts, int n, size_t graph_size, bool parallel,
        bool offload);
    void   ggml_backend_sched_free(void * sched);
    bool   ggml_backend_sched_reserve(void * sched, void * graph);
    void   ggml_backend_sched_reset(void * sched);
    bool   ggml_backend_sched_alloc_graph(void * sched, void * graph);
    int    ggml_backend_sched_graph_compute_async(void * sched, void * graph);
    void   ggml_backend_sched_synchronize(void * sched);
""")
lib: Any = ffi.dlopen(str(library_path()))


def context(n_tensors: int = 64, graph: bool = False) -> Pointer:
    """A ggml context without memory for data."""
    size = n_tensors * lib.ggml_tensor_overhead() + graph * lib.ggml_graph_overhead()
    return lib.ggml_init({"mem_size": size, "mem_buffer": ffi.NULL, "no_alloc": True})


def new_tensor(ctx: Pointer, name: str, ne0: int, ne1: int = 1, kind: int = F32) -> Pointer:
    return lib.ggml_set_name(lib.ggml_new_tensor_2d(ctx, kind, ne0, ne1), name.encode())


def graph_of(ctx: Pointer, *tensors: Pointer) -> Pointer:
    graph = lib.ggml_new_graph(ctx)
    for tensor in tensors:
        lib.ggml_build_forward_expand(graph, tensor)
    return graph


class Device:
    """A stream of operations on the device `name`; what it allocates is freed by `close`."""

    def __init__(self, name: str = "SGPU0") -> None:
        self.device = lib.ggml_backend_dev_by_name(name.encode())
        self.backend = lib.ggml_backend_dev_init(self.device, ffi.NULL)
        self.buffers: dict[Pointer, Pointer] = {}  # by tensor
        self._contexts: list[Pointer] = []

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.synchronize()
        for buffer in set(self.buffers.values()):
            lib.ggml_backend_buffer_free(buffer)
        for ctx in self._contexts:
            lib.ggml_free(ctx)
        lib.ggml_backend_free(self.backend)

    def tensor(self, name: str, ne0: int = 64, ne1: int = 1, kind: int = F32, fill: int | None = 0) -> Pointer:
        """In a buffer of its own. `fill`: the byte that it is filled with; None: with nothing."""
        self._contexts.append(context())
        tensor = new_tensor(self._contexts[-1], name, ne0, ne1, kind)
        self.buffers[tensor] = lib.ggml_backend_alloc_ctx_tensors(self._contexts[-1], self.backend)
        if fill is not None:
            lib.ggml_backend_buffer_clear(self.buffers[tensor], fill)
        return tensor

    def free(self, tensor: Pointer) -> None:
        lib.ggml_backend_buffer_free(self.buffers.pop(tensor))

    def queue_copy(self, src: Pointer, dst: Pointer) -> None:
        """A graph that copies one tensor onto another."""
        ctx = context(graph=True)
        self._contexts.append(ctx)
        assert lib.ggml_backend_graph_compute_async(self.backend, graph_of(ctx, lib.ggml_cpy(ctx, src, dst))) == 0

    def synchronize(self) -> None:
        lib.ggml_backend_synchronize(self.backend)

    def set(self, tensor: Pointer, data: NDArray[Any], offset: int = 0, queued: bool = False) -> None:
        arguments = (tensor, ffi.from_buffer(data), offset, data.nbytes)
        if queued:
            lib.ggml_backend_tensor_set_async(self.backend, *arguments)
        else:
            lib.ggml_backend_tensor_set(*arguments)

    def get(self, tensor: Pointer, offset: int = 0, size: int | None = None) -> NDArray[np.uint8]:
        """Bytes of a tensor."""
        out = np.empty(lib.ggml_nbytes(tensor) - offset if size is None else size, dtype=np.uint8)
        lib.ggml_backend_tensor_get(tensor, ffi.from_buffer(out), offset, out.nbytes)
        return out

    def queue_get(self, tensor: Pointer, out: NDArray[Any]) -> None:
        lib.ggml_backend_tensor_get_async(self.backend, tensor, ffi.from_buffer(out), 0, out.nbytes)

"""Devices: those of other machines, for `Llama(rpc_servers=...)`, and what a GPU gets at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import llama_cpp

from . import ggml, rpc

GPU_UBATCH = 1024
"""With 512 a prefill has twice the graphs and waits; 2048 spares the host little more, for three times the memory."""


def batch_sizes(given: Mapping[str, Any]) -> dict[str, int]:
    """`n_batch` and `n_ubatch` for a pruned prefill on a GPU, if the arguments of a `Llama` leave the latter open.

    None where no layer is on a device: llama-cpp-python's default is right for a CPU.
    """
    if not given.get("n_gpu_layers") or "n_ubatch" in given or not ggml.local_gpus():
        return {}
    n_batch = int(given.get("n_batch", GPU_UBATCH))
    return {"n_batch": n_batch, "n_ubatch": min(n_batch, GPU_UBATCH)}


class RemoteDevices:
    """The devices for one model: those of the servers in the order given, then this machine's GPUs.

    They are handed to that model alone; other models of the process stay where they are. A server takes one model at a
    time, of one process: where two share it, llama.cpp ends the process when the first of them is closed.

    Raises:
        ValueError, ConnectionError, RuntimeError: as `remote_devices`.
    """

    def __init__(self, servers: str) -> None:
        addresses = rpc.parse_addresses(servers)
        ggml.check_rpc()
        for address in addresses:
            rpc.greet(address)
        devices = [device for address in addresses for device in ggml.rpc_devices(address)] + ggml.local_gpus()
        # llama.cpp runs one more backend, the CPU's, and ends the process if they are too many
        limit = llama_cpp.llama_max_devices() - 1
        if not 0 < len(devices) <= limit:
            raise ValueError(f"rpc_servers={servers!r} makes {len(devices)} devices; a model takes 1 to {limit}")
        self._array = ggml.device_array(devices)

    @property
    def pointer(self) -> int:
        """For `llama_model_params.devices`; valid as long as this object."""
        return ggml.address_of(self._array)


def remote_devices(servers: str | None) -> RemoteDevices | None:
    """The devices of the RPC servers "host:port,host:port" and of this machine; None for None.

    Raises:
        ValueError: a malformed address, or more devices than a model takes.
        ConnectionError: a server that cannot be reached, is busy with another model, or is of another version.
        RuntimeError: the library was built without RPC.
    """
    return None if servers is None else RemoteDevices(servers)


class OnDevices:
    """Lets a `llama_cpp.Llama`, which has no argument for it, load its model onto `_devices`."""

    _devices: RemoteDevices | None = None
    _model_params: Any = None

    @property
    def model_params(self) -> Any:
        """The parent's parameters; it makes them anew before it loads the model."""
        return self._model_params

    @model_params.setter
    def model_params(self, params: Any) -> None:
        if self._devices is not None:
            params.devices = self._devices.pointer
        self._model_params = params

"""RPC servers for tests: real ones in processes of their own, and impostors that say what they are told."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from places import ROOT

from asl_llamacpp.engine import rpc


def free_port() -> int:
    """Each of pytest-xdist's workers has ports of its own: none may take what another has found, but not yet bound."""
    worker, n_workers = os.environ.get("PYTEST_XDIST_WORKER", "gw0"), os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port // 2 % int(n_workers) == int(worker.removeprefix("gw")):  # Linux gives odd ones first
            return port


class Server:
    """`asl-llamacpp rpc-server` on 127.0.0.1 with one thread; it answers when this returns."""

    def __init__(self) -> None:
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        command = [sys.executable, "-m", "asl_llamacpp.cli", "rpc-server", "--port", str(port), "--threads", "1"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                rpc.greet(self.address)
                return
            except ConnectionError:
                assert self.process.poll() is None and time.monotonic() < deadline, "the server does not start"
                time.sleep(0.05)

    def megabytes(self) -> float:
        """Resident memory, 10^6 bytes."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6

    def idles(self, megabytes: float, seconds: float = 10) -> bool:
        """Whether the memory sinks below this; it is freed shortly after the connection has ended."""
        deadline = time.monotonic() + seconds
        while self.megabytes() >= megabytes:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def impostor(answer: bytes | None) -> Iterator[str]:
    """The address of something that takes a connection and sends `answer`; None: it says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                if answer is not None:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                while connection.recv(1024):
                    pass

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)

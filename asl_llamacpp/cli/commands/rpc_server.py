"""`asl-llamacpp rpc-server`: lend this machine's devices to another one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...engine import rpc
from ..errors import one_line_errors


def rpc_server(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = rpc.DEFAULT_HOST,
    port: Annotated[int, typer.Option(min=1, max=65535)] = rpc.DEFAULT_PORT,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="half of the CPU count")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Keep large tensors in this folder.", show_default="no cache", file_okay=False)
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the devices, and a line for each connection.")
    ] = False,
) -> None:
    """Lend this machine's GPUs, or its CPU, to `ask --rpc` and `Llama(rpc_servers=...)` on another one.

    Nobody is asked for a password, and nothing is encrypted: for trusted networks only. Ctrl-C ends it.
    """
    with one_line_errors():
        if host not in ("127.0.0.1", "localhost"):
            typer.echo(f"warning: whoever can reach {host}:{port} can use this machine, without a password", err=True)
        if not verbose:
            typer.echo(f"lending this machine at {host}:{port}, until Ctrl-C", err=True)
        rpc.serve(host, port, threads, cache, verbose)

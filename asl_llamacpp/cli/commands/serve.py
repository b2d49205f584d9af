"""`asl-llamacpp serve`: a page to ask documents in, and OpenAI's API, on this machine."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import platformdirs
import typer

from ...llama import models
from ...policies import parse_policy
from ...server.settings import ModelSettings, ServerSettings
from ..errors import one_line_errors
from ..options import (
    Budget,
    GpuLayers,
    HiddenPlace,
    Model,
    OnOverflow,
    Overflow,
    Place,
    PolicySpec,
    Positions,
    Reader,
    ReaderGpuLayers,
    ReaderThreads,
    Rpc,
    Sections,
    Threads,
    UbatchOfDevice,
    WithPositions,
    budget_of,
    how_to_overflow,
    llama_options,
    reader_arguments,
    size_of,
)

MOST_CONTEXT = 32768
"""An automatic context is no larger, whatever the model was trained for."""


def serve(
    documents: Annotated[
        list[Path] | None, typer.Argument(metavar="[DOC...]", help="Files to bring along.", show_default=False)
    ] = None,
    model: Model = None,
    reader: Reader = None,
    reader_n_gpu_layers: ReaderGpuLayers = None,
    reader_threads: ReaderThreads = None,
    positions: WithPositions = Positions.original,
    host: Annotated[str, typer.Option(help="Address to listen at. One beyond this machine needs a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0: any that is free.")] = 8080,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    policy: PolicySpec = "asl",
    budget: Budget = None,
    n_ctx: Annotated[
        int | None,
        typer.Option(min=1, help="Context, tokens.", show_default=f"the model's, at most {MOST_CONTEXT}"),
    ] = None,
    overflow: Overflow = OnOverflow.error,
    sections: Sections = False,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer where a request names none, tokens.")] = 1024,
    n_gpu_layers: GpuLayers = -1,
    rpc: Rpc = None,
    hidden: HiddenPlace = Place.device,
    threads: Threads = None,
    ubatch: UbatchOfDevice = None,
    logprobs: Annotated[bool, typer.Option("--logprobs", help="Keep all logits, so that logprobs can be had.")] = False,
    folder: Annotated[
        Path | None,
        typer.Option(help="Where documents and their states are kept.", show_default="the user's data folder"),
    ] = None,
    store_limit: Annotated[str, typer.Option(help="The most that they may take.")] = "16GiB",
    max_upload: Annotated[str, typer.Option(help="The most that one upload may bring.")] = "256MiB",
    api_key: Annotated[
        str | None,
        typer.Option(envvar="ASL_API_KEY", help="Requests must have it.", show_default="none", show_envvar=True),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let everybody on the network ask, without a key.")
    ] = False,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another name of this server.", show_default=False)
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Another site whose pages may ask (CORS).", show_default=False),
    ] = None,
) -> None:
    """Serve a page to ask documents in, and OpenAI's API, at http://127.0.0.1:8080."""
    with one_line_errors():
        parse_policy(policy)
        server = _server()
        path = models.find_model(model)
        local = _is_loopback(host)
        if not local and not api_key and not no_auth:
            raise ValueError(f"--host {host} can be reached by others: give --api-key KEY, or --no-auth to do without")
        for file in documents or ():
            if not file.is_file():
                raise FileNotFoundError(f"no such document: {file}")
        llama = {**llama_options(n_gpu_layers, threads, ubatch), "hidden": hidden.value}
        reads = reader_arguments(reader, positions, reader_n_gpu_layers, reader_threads, llama)
        options: dict[str, Any] = {
            "n_ctx": n_ctx or _context(path),
            **llama,
            **reads,
            "rpc_servers": rpc,
            "kv_budget": budget_of(budget),
            "logits_all": logprobs,
        }
        names = {"localhost", "127.0.0.1", "::1"} if local else {host, socket.gethostname().lower(), "localhost"}
        settings = ServerSettings(
            folder=folder or _default_folder(),
            store_limit=size_of("--store-limit", store_limit),
            max_upload=size_of("--max-upload", max_upload),
            max_tokens=max_tokens,
            api_key=api_key,
            hosts=frozenset(name.lower() for name in (*names, *(allow_host or ()))),
            any_address=not local,
            origins=frozenset(allow_origin or ()),
        )
        overflows = how_to_overflow(overflow, sections)
        listener = server.bind(host, port)
        app = server.make_app(ModelSettings(path, policy, overflows, options), settings)
        for file in documents or ():
            app.state.house.library.add(file.read_bytes(), file.name)
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"

        def ready() -> None:
            typer.echo(f"{path.stem} at {url} (Ctrl-C ends it)", err=True)
            if open_:
                typer.launch(url)

        server.serve_app(app, listener, ready)


def _server() -> ModuleType:
    """The server's wing, which needs the extra `server`."""
    try:
        from ...server import running
    except ModuleNotFoundError as error:
        raise ImportError(f"serve needs {error.name}: pip install 'asl-llamacpp[server]'") from None
    return running


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _context(path: Path) -> int:
    with closing(models.open_model(path, vocab_only=True, kv_policy="full", n_gpu_layers=0)) as vocabulary:
        return min(models.trained_context(vocabulary) or MOST_CONTEXT, MOST_CONTEXT)


def _default_folder() -> Path:
    return platformdirs.user_data_path("asl-llamacpp") / "server"

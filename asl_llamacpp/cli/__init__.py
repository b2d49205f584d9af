"""The command line `asl-llamacpp`: one module a command."""

from __future__ import annotations

import typer

from . import ask, calibrate, chat, demo, eval, info, plan, rpc_server, version

app = typer.Typer(
    name="asl-llamacpp",
    help="Questions about long documents, answered on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.callback()(version.program)
app.command("ask")(ask.ask)
app.command("calibrate")(calibrate.calibrate)
app.command("chat")(chat.chat)
app.command("demo")(demo.demo)
app.command("eval")(eval.evaluate)
app.command("info")(info.info)
app.command("plan")(plan.plan)
app.command("rpc-server")(rpc_server.rpc_server)


def main() -> None:
    """Entry point of `asl-llamacpp`."""
    app()


__all__ = ["app", "main"]

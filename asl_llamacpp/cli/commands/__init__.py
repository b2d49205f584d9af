"""One file a command: `rpc_server.py` holds the function `rpc_server`, which is `asl-llamacpp rpc-server`."""

"""Long documents on your own machine: llama-cpp-python's Llama with layer-wise, pruned prefill (ASL).

from asl_llamacpp import Llama
llm = Llama("model.gguf", n_ctx=8192)
answer = llm.read("contract.pdf").ask("Who may end the contract, and when?")

The public names stand in `__init__.pyi`. Each is imported at its first use: what needs no model need not wait for it.
"""

import lazy_loader

from .engine.library import use_patched_library
from .engine.version import __version__  # noqa: F401

use_patched_library()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

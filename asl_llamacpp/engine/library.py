"""Makes llama-cpp-python load the patched libllama that this package carries."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cffi import FFI

LIB_DIR = Path(__file__).resolve().parent.parent / "lib"

_FILE_NAMES = {"darwin": "lib{}.dylib", "win32": "{}.dll"}


def library_path(name: str = "llama") -> Path:
    """Path of the patched libllama, or of one of the ggml libraries, which lie beside it.

    Raises:
        ImportError: the package was imported from a source tree that was never built.
    """
    path = LIB_DIR / _FILE_NAMES.get(sys.platform, "lib{}.so").format(name)
    if not path.exists():
        raise ImportError(
            f"asl_llamacpp has no {path.name} in {LIB_DIR}: build it with 'pip install .' (or 'make test') first"
        )
    return path


def use_patched_library() -> None:
    """Point llama_cpp at the patched library; must run before llama_cpp is first imported.

    Raises:
        ImportError: llama_cpp was imported earlier and holds another library, or the library was never built.
    """
    path = library_path()
    loaded = sys.modules.get("llama_cpp.llama_cpp")
    if loaded is not None and Path(loaded._base_path).resolve() != path.parent:
        raise ImportError(
            f"llama_cpp is already imported with the library in {loaded._base_path}, which cannot prune: "
            "import asl_llamacpp before llama_cpp"
        )
    os.environ["LLAMA_CPP_LIB_PATH"] = str(path.parent)


def open_library(ffi: FFI) -> Any:
    """The patched libllama for cffi, with the functions that `ffi` declares; its ggml libraries come with it."""
    if sys.platform == "win32":
        import llama_cpp  # noqa: F401 -- it tells Windows where the ggml libraries lie

    return ffi.dlopen(str(library_path()))

"""Long documents on your own machine: llama-cpp-python's Llama with layer-wise, pruned prefill (ASL).

from asl_llamacpp import Llama
llm = Llama("model.gguf", n_ctx=8192)
answer = llm.read("contract.pdf").ask("Who may end the contract, and when?")

Each public name is imported at its first use: what needs no model need not wait for it.
"""

from typing import TYPE_CHECKING

import lazy_loader

from .engine.library import use_patched_library
from .engine.version import __version__ as __version__

use_patched_library()

if TYPE_CHECKING:
    from . import evals as evals, policies as policies
    from .budget.text import BudgetError as BudgetError
    from .documents.answer import Answer as Answer, AnswerStream as AnswerStream
    from .documents.document import ContextOverflow as ContextOverflow, Document as Document
    from .documents.evidence import Span as Span
    from .documents.turns import Turn as Turn
    from .engine.binding import (
        EngineError as EngineError,
        PrefillAborted as PrefillAborted,
        UnsupportedModelError as UnsupportedModelError,
    )
    from .files.asldoc import DocumentFileError as DocumentFileError, DocumentMismatchError as DocumentMismatchError
    from .files.fingerprint import StateMismatchError as StateMismatchError
    from .llama.llama import Llama as Llama
    from .llama.opening import EXAMPLE as EXAMPLE
    from .policies import (
        ASL as ASL,
        ASL2Pass as ASL2Pass,
        FastKV as FastKV,
        Full as Full,
        GemFilter as GemFilter,
        Policy as Policy,
        SnapKV as SnapKV,
        parse_policy as parse_policy,
    )
    from .prefill.report import PrefillReport as PrefillReport, Progress as Progress
    from .store.entry import KnownDocument as KnownDocument

_NAMES = {
    "budget.text": ["BudgetError"],
    "documents.answer": ["Answer", "AnswerStream"],
    "documents.document": ["ContextOverflow", "Document"],
    "documents.evidence": ["Span"],
    "documents.turns": ["Turn"],
    "engine.binding": ["EngineError", "PrefillAborted", "UnsupportedModelError"],
    "files.asldoc": ["DocumentFileError", "DocumentMismatchError"],
    "files.fingerprint": ["StateMismatchError"],
    "llama.llama": ["Llama"],
    "llama.opening": ["EXAMPLE"],
    "policies": ["ASL", "ASL2Pass", "FastKV", "Full", "GemFilter", "Policy", "SnapKV", "parse_policy"],
    "prefill.report": ["PrefillReport", "Progress"],
    "store.entry": ["KnownDocument"],
}
"""What the block above says, for whoever imports at run time: a test compares the two."""

__getattr__, _, __all__ = lazy_loader.attach(__name__, ["evals", "policies"], _NAMES)
__all__ += ["__version__"]


def __dir__() -> list[str]:
    return sorted(__all__)

"""Long documents on your own machine: llama-cpp-python's Llama with layer-wise, pruned prefill (ASL).

from asl_llamacpp import Llama
llm = Llama("model.gguf", n_ctx=8192)
answer = llm.read("contract.pdf").ask("Who may end the contract, and when?")
"""

from .engine.library import use_patched_library

use_patched_library()

from .budget.text import BudgetError  # noqa: E402
from .documents.answer import Answer, AnswerStream  # noqa: E402
from .documents.chat_prompt import Turn  # noqa: E402
from .documents.document import ContextOverflow, Document  # noqa: E402
from .documents.evidence import Span  # noqa: E402
from .engine.binding import EngineError, PrefillAborted, UnsupportedModelError  # noqa: E402
from .files.asldoc import DocumentFileError, DocumentMismatchError  # noqa: E402
from .files.fingerprint import StateMismatchError  # noqa: E402
from .llama.llama import Llama  # noqa: E402
from .opening.document import EXAMPLE  # noqa: E402
from .policies import ASL, ASL2Pass, FastKV, Full, GemFilter, Policy, SnapKV, parse_policy  # noqa: E402
from .prefill.report import PrefillReport, Progress  # noqa: E402
from .store.entry import KnownDocument  # noqa: E402
from .version import __version__  # noqa: E402

__all__ = [
    "ASL",
    "EXAMPLE",
    "ASL2Pass",
    "Answer",
    "AnswerStream",
    "BudgetError",
    "ContextOverflow",
    "Document",
    "DocumentFileError",
    "DocumentMismatchError",
    "EngineError",
    "FastKV",
    "Full",
    "GemFilter",
    "KnownDocument",
    "Llama",
    "Policy",
    "PrefillAborted",
    "PrefillReport",
    "Progress",
    "SnapKV",
    "Span",
    "StateMismatchError",
    "Turn",
    "UnsupportedModelError",
    "__version__",
    "parse_policy",
]

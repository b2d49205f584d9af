# The public names and where they come from: __init__.py imports each at its first use.

from . import evals, policies
from .budget.text import BudgetError
from .documents.answer import Answer, AnswerStream
from .documents.document import ContextOverflow, Document
from .documents.evidence import Span
from .documents.turns import Turn
from .engine.binding import EngineError, PrefillAborted, UnsupportedModelError
from .engine.version import __version__
from .files.asldoc import DocumentFileError, DocumentMismatchError
from .files.fingerprint import StateMismatchError
from .llama.llama import Llama
from .llama.opening import EXAMPLE
from .policies import ASL, ASL2Pass, FastKV, Full, GemFilter, Policy, SnapKV, parse_policy
from .prefill.report import PrefillReport, Progress
from .store.entry import KnownDocument

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
    "evals",
    "parse_policy",
    "policies",
]

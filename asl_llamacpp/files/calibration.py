"""What `asl-llamacpp calibrate` found for a model: a small TOML file, which `Llama(kv_policy="asl")` finds.

    policy = "asl:l_max=20,heads=max"

    [model]
    file = "model.gguf"
    fingerprint = "0123456789abcdef"

The rest tells how it was measured. The file lies beside the model, its name ending in .asl.toml instead of .gguf, or,
if that folder cannot be written to, in the user's configuration folder, named by the fingerprint; that one comes first.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import platformdirs
import tomli_w

from ..files.fingerprint import model_fingerprint
from ..policies import ASL, Policy, parse_policy, split_spec
from .replace_file import replacing

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SUFFIX = ".asl.toml"
NOT_OF_THE_RULE = ("select_k", "decide_every", "keep")
OF_THE_RULE = frozenset(field.name for field in fields(ASL)) - {*NOT_OF_THE_RULE}
"""Options whose mention in a policy's text means that the constants are chosen by hand."""


@dataclass(frozen=True)
class Calibration:
    """`policy`: the rule for this model; its select_k and decide_every are not part of what was found.

    `facts`: the rest of the file.
    """

    path: Path
    policy: ASL
    fingerprint: str
    facts: dict[str, Any]


def calibrated(
    spec: str | Policy, model: str | Path, where: str | os.PathLike[str] | Literal["auto"] | None = "auto"
) -> tuple[Policy, Path | None]:
    """The policy that `spec` means for `model`, and the file that its constants come from; None: from no file.

    Only the text "asl", with or without a select_k, a decide_every and a keep, takes them from a file: `where`, or the
    one that is found ("auto"), or none (None).

    Raises:
        ValueError: a bad spec; a damaged file; `where` is for another model, or `spec` takes nothing from a file.
        FileNotFoundError: there is no file at `where`.
    """
    policy = parse_policy(spec)
    if where is None:
        return policy, None
    if not isinstance(spec, str) or type(policy) is not ASL or _names_the_rule(spec):
        if where != "auto":
            raise ValueError(
                f"calibration={os.fspath(where)!r} has constants for kv_policy='asl' alone, and kv_policy is "
                f"{str(spec)!r}: leave one of them out"
            )
        return policy, None
    found = _found(Path(model)) if where == "auto" else read(where)
    if found is None:
        return policy, None
    if where != "auto" and found.fingerprint != model_fingerprint(model):
        raise ValueError(f"{found.path} was made for another model than {model}: {_AGAIN}")
    return replace(found.policy, **{name: getattr(policy, name) for name in NOT_OF_THE_RULE}), found.path


_AGAIN = "run asl-llamacpp calibrate again, or remove it"


def read(path: str | os.PathLike[str]) -> Calibration:
    """The file at `path`. FileNotFoundError; ValueError, with what to do, if it is not a calibration."""
    path = Path(path)
    try:
        facts = tomllib.loads(path.read_text(encoding="utf-8"))
        policy = parse_policy(facts.pop("policy"))
        fingerprint = facts["model"]["fingerprint"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a calibration ({type(error).__name__}: {error}): {_AGAIN}") from None
    if type(policy) is not ASL or not isinstance(fingerprint, str):
        raise ValueError(f"{path} is not a calibration (it needs a policy asl and a fingerprint): {_AGAIN}")
    return Calibration(path, policy, fingerprint, facts)


def write(model: str | Path, policy: ASL, facts: Mapping[str, Any], path: str | os.PathLike[str] | None = None) -> Path:
    """Write what was found for `model`, to `path` or where it will be looked for; the path.

    Raises:
        OSError: it can be written at neither place.
    """
    model = Path(model)
    named = {"file": model.name, "fingerprint": model_fingerprint(model)}
    text = _HEAD + tomli_w.dumps({"policy": str(policy), "model": named, **facts})
    found = place(model) if path is None else Path(path)
    with replacing(found) as file:
        file.write(text.encode())
    if found == _beside(model):
        _of_user(named["fingerprint"]).unlink(missing_ok=True)  # which would come first
    return found


def place(model: str | Path) -> Path:
    """Where the file of `model` is to be written; the folder is there, and can be written to.

    Raises:
        OSError: there is no such place.
    """
    model = Path(model)
    beside = _beside(model)
    if os.access(beside.parent, os.W_OK):
        return beside
    path = _of_user(model_fingerprint(model))
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


_HEAD = """\
# Written by `asl-llamacpp calibrate`. Llama(kv_policy="asl") takes its constants from here and names this file in
# its report. Remove it to go back to the paper's.
"""


def _found(model: Path) -> Calibration | None:
    """The calibration of this very file, where one is; a warning if one is for another."""
    beside = _beside(model)
    if not model.is_file() or not (beside.is_file() or _of_user("").parent.is_dir()):
        return None
    fingerprint = model_fingerprint(model)
    of_user = _of_user(fingerprint)
    if of_user.is_file():
        return read(of_user)
    if not beside.is_file():
        return None
    calibration = read(beside)
    if calibration.fingerprint == fingerprint:
        return calibration
    warnings.warn(f"{beside} was made for another file of this name and is not used: {_AGAIN}", stacklevel=4)
    return None


def _beside(model: Path) -> Path:
    name = model.name
    return model.with_name((name[: -len(".gguf")] if name.lower().endswith(".gguf") else name) + SUFFIX)


def _of_user(fingerprint: str) -> Path:
    return platformdirs.user_config_path("asl_llamacpp", appauthor=False) / f"{fingerprint}{SUFFIX}"


def _names_the_rule(spec: str) -> bool:
    return any(key in OF_THE_RULE for key, *_ in split_spec(spec)[1])

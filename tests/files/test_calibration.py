"""The calibration file: where it is looked for, what it replaces, what is refused, and that the report names it."""

from __future__ import annotations

import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import load, prompt

from asl_llamacpp import ASL
from asl_llamacpp.files import calibration
from asl_llamacpp.files.calibration import calibrated, read, write
from asl_llamacpp.files.fingerprint import model_fingerprint

RULE = ASL(tau=0.5, l_min=9, l_max=18, reference="peak", heads="max", score_layers=4)
FACTS: dict[str, Any] = {"measured": {"lengths": [1024]}}


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user"
    monkeypatch.setattr(calibration.platformdirs, "user_config_path", lambda *_, **__: folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a model.gguf"
    path.write_bytes(b"weights")
    return path


def test_is_found_beside_the_model(model: Path) -> None:
    path = write(model, RULE, FACTS)
    assert path == model.with_name("a model.asl.toml")
    assert calibrated("asl", model) == (RULE, path)
    assert read(path).facts == {"model": {"file": model.name, "fingerprint": model_fingerprint(model)}, **FACTS}


def test_is_found_in_the_users_folder(model: Path, user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    path = write(model, RULE, FACTS)
    assert path.parent == user_folder and calibrated("asl", model) == (RULE, path)


def test_the_users_folder_comes_first(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file beside a model that cannot be replaced, damaged or old, does not hide a new one."""
    beside = write(model, RULE, FACTS)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        path = write(model, ASL(layer=3), FACTS)
    assert calibrated("asl", model) == (ASL(layer=3), path)
    beside.write_text("damaged")
    assert calibrated("asl", model) == (ASL(layer=3), path)
    assert write(model, RULE, FACTS) == beside and not path.exists()
    assert calibrated("asl", model) == (RULE, beside)


def test_of_a_model_that_is_not_there(tmp_path: Path, user_folder: Path) -> None:
    user_folder.mkdir()
    assert calibrated("asl", tmp_path / "none.gguf") == (ASL(), None)


def test_without_one_the_constants_are_the_papers(model: Path) -> None:
    assert calibrated("asl", model) == (ASL(), None)


def test_select_k_is_the_users(model: Path) -> None:
    write(model, RULE, FACTS)
    policy, path = calibrated(" ASL: select_k=100", model)
    assert policy == ASL(**{**vars(RULE), "select_k": 100}) and path is not None


def test_how_often_to_decide_is_the_users(model: Path) -> None:
    """It is about speed, and the constants are as good with it as without."""
    write(model, RULE, FACTS)
    policy, path = calibrated("asl:decide_every=4", model)
    assert policy == ASL(**{**vars(RULE), "decide_every": 4}) and path is not None


@pytest.mark.parametrize("spec", ["asl:tau=0.3", "asl:l_max=none,select_k=100", "asl-2pass", "fastkv", "full", ASL()])
def test_constants_chosen_by_hand_and_other_policies_stay(spec: Any, model: Path) -> None:
    write(model, RULE, FACTS)
    policy, path = calibrated(spec, model)
    assert path is None and (policy != RULE)
    with pytest.raises(ValueError, match=r"has constants for kv_policy='asl' alone, and kv_policy is '.*leave one"):
        calibrated(spec, model, model.with_name("a model.asl.toml"))


def test_can_be_turned_off_and_named(model: Path, tmp_path: Path) -> None:
    elsewhere = write(model, RULE, FACTS, tmp_path / "elsewhere.toml")
    assert calibrated("asl", model) == (ASL(), None)
    assert calibrated("asl", model, elsewhere) == (RULE, elsewhere)
    beside = write(model, ASL(layer=3), FACTS)
    assert calibrated("asl", model, None) == (ASL(), None)
    assert calibrated("asl", model) == (ASL(layer=3), beside)


def test_of_another_file_with_the_same_name(model: Path, tmp_path: Path) -> None:
    path = write(model, RULE, FACTS)
    model.write_bytes(b"other weights")
    with pytest.warns(UserWarning, match="made for another file of this name and is not used: run asl-llamacpp"):
        assert calibrated("asl", model) == (ASL(), None)
    with pytest.raises(ValueError, match="made for another model"):
        calibrated("asl", model, path)
    with pytest.raises(FileNotFoundError):
        calibrated("asl", model, tmp_path / "none.toml")


@pytest.mark.parametrize(
    "text",
    ["", "policy = 3", 'policy = "asl:tau=-1"', "policy =", 'policy = "asl"', "\0", 'policy = "asl"\nmodel = 3',
     'policy = "fastkv"\n[model]\nfingerprint = "a"', 'policy = "asl"\n[model]\nfingerprint = 1'],
)  # fmt: skip
def test_damaged(text: str, model: Path) -> None:
    model.with_name("a model.asl.toml").write_text(text)
    with pytest.raises(ValueError, match=r"a model\.asl\.toml is not a calibration .*: run asl-llamacpp cal"):
        calibrated("asl", model)
    assert calibrated("asl:tau=0.3", model)[1] is None


def test_the_report_names_it(tmp_path: Path, smollm2_path: Path) -> None:
    model = tmp_path / "linked.gguf"
    model.symlink_to(smollm2_path)
    path = write(model, ASL(layer=12, heads="max", score_layers=3), FACTS)
    llm = load(model, kv_policy="asl:select_k=64", calibration="auto")
    llm.eval(prompt(200))
    report = llm.last_prefill
    assert report is not None
    assert (report.selection_layer, report.calibration, llm.calibration) == (12, str(path), path)
    assert report.policy == "asl:select_k=64,layer=12,heads=max,score_layers=3"
    assert f"calibrated by {path}" in str(report) and report.to_dict()["calibration"] == str(path)
    llm.reset()
    llm.eval(prompt(40))
    assert llm.last_prefill is not None and llm.last_prefill.calibration == str(path)
    twin = pickle.loads(pickle.dumps(llm))
    assert (twin.kv_policy, twin.calibration) == (llm.kv_policy, path)
    assert twin.last_prefill.calibration == str(path)
    twin.close()
    llm.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plain = load(model, kv_policy="asl:select_k=64", calibration=None)
        plain.eval(prompt(40))
        assert plain.last_prefill is not None and plain.last_prefill.calibration is None
        plain.close()

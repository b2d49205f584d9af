from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from asl_llamacpp.policies import ASL, POLICIES, Full, parse_policy


def test_defaults_are_the_papers() -> None:
    policy = ASL()
    assert (policy.tau, policy.l_obs, policy.window, policy.kernel, policy.select_k) == (0.3, 8, 32, 7, 2048)
    assert (policy.l_min, policy.l_max, policy.layer) == ("auto", "auto", None)
    assert (policy.name, policy.prunes) == ("asl", True)
    assert (Full().name, Full().prunes) == ("full", False)


def test_policies_cannot_change_after_they_were_checked() -> None:
    with pytest.raises(FrozenInstanceError):
        ASL().tau = 0.5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"tau": 0}, "tau must be finite and greater than 0"),
        ({"tau": -0.1}, "tau must be"),
        ({"tau": float("nan")}, "tau must be finite"),
        ({"tau": float("inf")}, "tau must be finite"),
        ({"l_obs": 1}, "l_obs must be at least 2"),
        ({"score_layers": 0}, "score_layers must be at least 1"),
        ({"reference": "last"}, "reference must be 'first' or 'peak', not 'last'"),
        ({"heads": None}, "heads must be 'sum' or 'max', not None"),
        ({"window": 0}, "window must be at least 1"),
        ({"kernel": 0}, "kernel must be at least 1"),
        ({"kernel": 6}, "kernel=6 must be odd.*use 7"),
        ({"select_k": 32}, "select_k=32 must exceed window=32"),
        ({"select_k": 16}, "select_k=16 must exceed window=32"),
        ({"select_k": 0}, "select_k must be at least 1"),
        ({"layer": -1}, "layer must be at least 0"),
        ({"l_min": -1}, "l_min must be at least 0"),
        ({"l_max": -1}, "l_max must be at least 0"),
        ({"l_min": 6}, "l_min=6 is too early.*l_min >= 7, or l_obs <= 7"),
        ({"l_min": 12, "l_max": 11}, "l_max=11 lies before l_min=12.*layer=11"),
        ({"l_min": "first"}, "l_min must be an integer or 'auto'"),
        ({"l_max": "last"}, "l_max must be an integer or 'auto' or None"),
        ({"layer": "auto"}, "layer must be an integer or None"),
    ],
)
def test_bad_values_are_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ASL(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["l_min", "l_max", "l_obs", "window", "kernel", "select_k", "layer"])
@pytest.mark.parametrize("value", [True, False, 8.0, np.float32(8), [8]])
def test_integers_must_be_integers(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        ASL(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("tau", [True, "0.3", None, 0.3j])
def test_tau_must_be_a_number(tau: object) -> None:
    with pytest.raises(TypeError, match="tau must be a number"):
        ASL(tau=tau)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["l_min", "l_obs", "window", "kernel", "select_k"])
def test_none_is_only_for_l_max_and_layer(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} must be an integer"):
        ASL(**{name: None})  # type: ignore[arg-type]
    assert ASL(l_max=None, layer=None).l_max is None


def test_numpy_numbers_become_plain() -> None:
    policy = ASL(tau=np.float64(0.5), select_k=np.int64(512), layer=np.int32(3))  # type: ignore[arg-type]
    assert policy == ASL(tau=0.5, select_k=512, layer=3)
    assert [type(value) for value in (policy.tau, policy.select_k, policy.layer)] == [float, int, int]


@pytest.mark.parametrize(
    ("n_layer", "l_min", "l_max"),
    [(32, 10, 24), (30, 9, 22), (28, 9, 21), (18, 7, 14), (62, 19, 46), (80, 25, 60), (9, 7, 7), (8, 7, 7)],
)
def test_auto_layers(n_layer: int, l_min: int, l_max: int) -> None:
    resolved = ASL().resolve(n_layer)
    assert (resolved.l_min, resolved.l_max) == (l_min, l_max)
    assert resolved.resolve(n_layer) == resolved


def test_auto_layers_follow_l_obs() -> None:
    assert ASL(l_obs=2).resolve(4).l_min == 1
    assert ASL(l_obs=2).resolve(4).l_max == 3
    assert ASL(l_obs=16).resolve(30).l_min == 15
    assert ASL(l_min=25).resolve(30).l_max == 25


@pytest.mark.parametrize("n_layer", [1, 2, 7])
def test_too_few_layers_never_fire(n_layer: int) -> None:
    resolved = ASL().resolve(n_layer)
    assert resolved.l_max is None
    assert isinstance(resolved.l_min, int)
    assert resolved.l_min >= n_layer
    assert ASL(layer=0).resolve(n_layer).layer == 0


@pytest.mark.parametrize("name", ["layer", "l_min", "l_max"])
def test_layers_must_be_in_the_model(name: str) -> None:
    policy = ASL(**{name: 30})
    assert policy.resolve(31)
    with pytest.raises(ValueError, match=f"{name}=30: .*30 layers are 0 to 29"):
        policy.resolve(30)


def test_l_max_before_an_auto_l_min_is_refused() -> None:
    with pytest.raises(ValueError, match="l_max=5 lies before l_min=9"):
        ASL(l_max=5).resolve(30)


def test_resolving_needs_layers() -> None:
    with pytest.raises(ValueError, match="n_layer must be at least 1"):
        ASL().resolve(0)


@pytest.mark.parametrize(
    ("spec", "policy"),
    [
        ("full", Full()),
        ("asl", ASL()),
        ("ASL", ASL()),
        (" Asl ", ASL()),
        ("asl:", ASL()),
        ("asl:tau=0.4,select_k=1024", ASL(tau=0.4, select_k=1024)),
        ("asl: Tau = .5 , L_MAX = None", ASL(tau=0.5, l_max=None)),
        ("asl:l_max=none,layer=14", ASL(l_max=None, layer=14)),
        ("asl:l_min=auto,l_max=AUTO,layer=none", ASL()),
        ("asl:tau=1", ASL(tau=1.0)),
    ],
)
def test_parsing(spec: str, policy: Full | ASL) -> None:
    assert parse_policy(spec) == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "unknown policy '': use one of full, asl"),
        ("snap", "unknown policy 'snap': use one of full, asl"),
        ("asl:budget=3", "no option 'budget': it takes tau, l_min, .*, select_k, layer"),
        ("full:tau=1", "policy 'full' has no option 'tau': it takes none"),
        ("asl:name=full", "no option 'name'"),
        ("asl:tau", "give tau once, as tau=value"),
        ("asl:tau=0.3,tau=0.4", "give tau once"),
        ("asl:tau=0.3,", "no option ''"),
        ("asl:tau=low", "asl:tau=low.*tau must be a number"),
        ("asl:tau=nan", "tau must be finite"),
        ("asl:l_obs=2.5", "l_obs must be an integer"),
        ("asl:select_k=none", "select_k must be an integer"),
        ("asl:select_k=16", "select_k=16 must exceed window=32"),
        ("asl:l_min=", "l_min must be an integer or 'auto'"),
    ],
)
def test_bad_text_is_refused(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_policy(spec)


@pytest.mark.parametrize("spec", [None, 3, ASL, b"asl"])
def test_only_text_and_policies_are_parsed(spec: object) -> None:
    with pytest.raises(TypeError, match="must be text such as 'asl' or a policy object"):
        parse_policy(spec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "text"),
    [
        (Full(), "full"),
        (ASL(), "asl"),
        (ASL(tau=0.4, select_k=1024), "asl:tau=0.4,select_k=1024"),
        (ASL(l_max=None, layer=14), "asl:l_max=none,layer=14"),
        (ASL(tau=1e-7).resolve(30), "asl:tau=1e-07,l_min=9,l_max=22"),
    ],
)
def test_text_form_reads_back(policy: Full | ASL, text: str) -> None:
    assert str(policy) == text
    assert parse_policy(text) == policy
    assert parse_policy(policy) is policy


def test_every_policy_is_known_by_its_name() -> None:
    assert list(POLICIES) == ["full", "asl", "fastkv", "snapkv", "gemfilter", "asl-2pass"]
    assert all(parse_policy(name) == policy() for name, policy in POLICIES.items())


@pytest.mark.parametrize("n_layer", [1, 2, 6, 7, 8, 12, 30, 80])
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "full"])
def test_resolving_twice_changes_nothing(name: str, n_layer: int) -> None:
    resolved = parse_policy(name).resolve(n_layer)  # type: ignore[union-attr]
    assert resolved.resolve(n_layer) == resolved
    assert "auto" not in str(resolved)

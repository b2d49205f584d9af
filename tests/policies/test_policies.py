from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from asl_llamacpp.policies import ASL, POLICIES, ASL2Pass, FastKV, Full, GemFilter, Policy, parse_policy
from asl_llamacpp.policies.answers import Prompt


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
        ({"decide_every": 0}, "decide_every must be at least 1"),
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


@pytest.mark.parametrize("name", ["l_min", "l_max", "l_obs", "window", "kernel", "select_k", "layer", "decide_every"])
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
    assert list(POLICIES) == ["full", "asl", "fastkv", "snapkv", "gemfilter", "asl-2pass", "pyramidinfer"]
    assert all(parse_policy(name) == policy() for name, policy in POLICIES.items())


@pytest.mark.parametrize("n_layer", [1, 2, 6, 7, 8, 12, 30, 80])
@pytest.mark.parametrize("name", [name for name in POLICIES if name != "full"])
def test_resolving_twice_changes_nothing(name: str, n_layer: int) -> None:
    resolved = parse_policy(name).resolve(n_layer)  # type: ignore[union-attr]
    assert resolved.resolve(n_layer) == resolved
    assert "auto" not in str(resolved)


@pytest.mark.parametrize("policy", [ASL, ASL2Pass, FastKV, GemFilter])
def test_units_of_every_policy_that_selects(policy: type[Policy]) -> None:
    assert policy().units == "tokens"  # type: ignore[attr-defined]
    made = parse_policy(f"{policy.name}:units=sentences,select_k=64")
    assert made == policy(units="sentences", select_k=64)  # type: ignore[call-arg]
    assert str(made) == f"{policy.name}:select_k=64,units=sentences"
    assert parse_policy(str(made)) == made
    for wrong in ("words", 3, None):
        with pytest.raises(ValueError, match="units must be 'tokens' or 'sentences', not "):
            policy(units=wrong)  # type: ignore[call-arg]
    for n_tokens, prunes in ((64, False), (65, True)):
        assert made.selector(Prompt(n_tokens, 30, range(30))).prunes is prunes


@pytest.mark.parametrize("policy", [ASL, FastKV])
def test_how_attention_is_combined(policy: type[ASL] | type[FastKV]) -> None:
    """One that selects at one layer takes each token's maximum over heads and layers, however it is called."""
    sums = np.random.default_rng(0).random((12, 4, 200), dtype=np.float32)
    made = policy(layer=11, kernel=1, select_k=64, heads="max", score_layers=3)
    selector = made.selector(Prompt(200, 30, range(30)))
    assert selector.first_scored_layer == 9
    for il in range(9):
        selector.observe(il)
    decision = [selector.observe(il, sums[il]) for il in (9, 10, 11)][-1]
    assert decision is not None
    np.testing.assert_array_equal(decision.scores, sums[9:12, :, :168].max(axis=(0, 1)))


def test_sentences_need_the_prompts_texts() -> None:
    """And they are asked for once, when the set is made."""
    policy, sums = parse_policy("fastkv:layer=0,window=2,kernel=1,select_k=5,units=sentences"), np.zeros((1, 12))
    sums[0, 6:8] = 1, 2
    texts = [b"One", b" two", b".", b" Six", b" ten", b".", b" Red", b" ink", b".", b" Why", b"?", b"!"]
    calls: list[int] = []
    prompt = Prompt(12, 30, range(30), lambda: calls.append(1) or texts)  # type: ignore[func-returns-value]
    selector = policy.selector(prompt)
    assert not calls
    decision = selector.observe(0, sums.astype(np.float32))
    assert decision is not None and decision.positions.tolist() == [6, 7, 8, 10, 11]
    assert prompt.unit_starts.tolist() == [0, 3, 6, 9] and len(calls) == 1
    with pytest.raises(ValueError, match="needs the texts of the prompt's tokens"):
        policy.selector(Prompt(12, 30, range(30))).observe(0, sums.astype(np.float32))

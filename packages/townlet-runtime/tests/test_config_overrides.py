import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_runtime.config.overrides import Override, apply_overrides, parse_override
from townlet_runtime.errors import ConfigError

NAMES = st.sampled_from(["a", "b", "c"])
TREES = st.recursive(st.integers(), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)


def test_key_and_value_are_read() -> None:
    parsed = parse_override("town.local_window = 9")
    assert (parsed.path, parsed.value, parsed.label) == (("town", "local_window"), 9, "--set town.local_window = 9")
    assert parse_override("a.b=[1, x]").value == [1, "x"]
    assert parse_override("a=x=y").value == "x=y"
    assert parse_override("a=").value is None


@pytest.mark.parametrize("text", ["a", "=3", "a..b=3", ".a=3"])
def test_what_is_no_override_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(ConfigError, match=r"expected KEY=VALUE") as caught:
        parse_override(text)
    assert text in str(caught.value)


def test_the_last_one_wins_and_the_original_stays() -> None:
    content = {"a": {"b": 1, "c": 2}, "d": None}
    changed = apply_overrides(content, [parse_override("a.b=5"), parse_override("d.e=1"), parse_override("a.b=6")])
    assert changed == {"a": {"b": 6, "c": 2}, "d": {"e": 1}}
    assert content == {"a": {"b": 1, "c": 2}, "d": None}


def test_below_a_value_nothing_can_be_set() -> None:
    with pytest.raises(ConfigError, match=r"`a.b` is no section"):
        apply_overrides({"a": {"b": 3}}, [parse_override("a.b.c=1")])


@pytest.mark.property
@given(st.dictionaries(NAMES, TREES, max_size=3), st.lists(NAMES, min_size=1, max_size=3), st.integers())
def test_an_override_changes_its_key_and_no_other(content: dict[str, object], path: list[str], value: int) -> None:
    override = Override(path=tuple(path), value=value, label="x")
    try:
        changed = apply_overrides(content, [override])  # type: ignore[arg-type]
    except ConfigError:
        return
    found: object = changed
    for name in path:
        assert isinstance(found, dict)
        found = found[name]
    assert found == value
    assert {k: v for k, v in changed.items() if k != path[0]} == {k: v for k, v in content.items() if k != path[0]}
    assert apply_overrides(changed, [override]) == changed

"""Names of agent groups, and tensors of several groups in one mapping."""

from dataclasses import replace

import pytest
from corridor import SPEC
from hypothesis import given
from hypothesis import strategies as st

from townlet_training.errors import ConfigError, ShapeError
from townlet_training.groups import join_groups, require_groups, split_groups

GROUP = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,8}", fullmatch=True)


@pytest.mark.parametrize("name", ["agents", "adversary_0", "a.b-c", "x" * 64])
def test_a_name_that_can_be_part_of_a_file_name_is_taken(name: str) -> None:
    require_groups({name: SPEC, "other": replace(SPEC, world="w")})


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "-r", "a b", "ä", "x" * 65, "a\n"])
def test_any_other_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="the name of an agent group must be"):
        require_groups({name: SPEC})


def test_a_run_without_a_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least one agent group"):
        require_groups({})


def test_the_names_of_one_group_stay_as_they_are() -> None:
    assert join_groups({"agents": {"policy.0.weight": 1}}) == {"policy.0.weight": 1}
    assert split_groups({"policy.0.weight": 1}, ("agents",)) == {"agents": {"policy.0.weight": 1}}


def test_the_names_of_several_groups_begin_with_the_group() -> None:
    by_group = {"speaker": {"generator": 1}, "listener": {"generator": 2}}
    assert join_groups(by_group) == {"speaker/generator": 1, "listener/generator": 2}


@given(st.dictionaries(GROUP, st.dictionaries(st.text(min_size=1, max_size=5), st.integers()), min_size=1, max_size=4))
def test_parting_undoes_joining(by_group: dict[str, dict[str, int]]) -> None:
    assert split_groups(join_groups(by_group), tuple(by_group)) == by_group


def test_what_is_of_no_group_is_refused() -> None:
    with pytest.raises(ShapeError, match="`c/x` is of none of the agent groups a, b"):
        split_groups({"a/x": 1, "c/x": 2}, ("a", "b"))

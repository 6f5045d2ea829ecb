from dataclasses import replace

from boats import Boats

from townlet_behavior import ActionVocabulary
from townlet_runtime.simulation.spec_entries import spec_differences, spec_entries
from townlet_runtime.testing import Corridor
from townlet_trajectory.storage.json import canonical_json, parse_object

SPEC = Corridor().spec


def test_what_a_policy_does_not_see_is_left_out() -> None:
    noted = spec_entries(SPEC)
    assert noted == spec_entries(replace(SPEC, num_worlds=1, capacity=9, episode_ticks=7, event_names=()))
    assert noted["option_ticks"] == {"move": 1, "start": 3, "wait": 0}
    assert spec_entries(replace(SPEC, option_ticks={}))["option_ticks"] == {"move": 0, "start": 0, "wait": 0}


def test_entries_are_the_same_after_a_file() -> None:
    noted = parse_object(canonical_json(spec_entries(SPEC)), "begun.json")
    assert spec_differences(noted, SPEC) == []


def test_each_entry_that_differs_is_named_with_both_values() -> None:
    actions = ActionVocabulary(keys=("wait", "left"), kinds=("wait", "move"))
    other = replace(SPEC, name="lane", vocabulary=actions, option_ticks={}, commitment_columns=None)
    assert spec_differences(spec_entries(SPEC), other) == [
        "`actions` was ['wait', 'left', 'right', 'rest'], is ['wait', 'left']",
        "`kinds` was ['wait', 'move', 'move', 'start'], is ['wait', 'move']",
        "`name` was corridor, is lane",
        "`option_ticks` was {'move': 1, 'start': 3, 'wait': 0}, is {'move': 0, 'wait': 0}",
    ]
    assert spec_differences({**spec_entries(SPEC), "height": 3}, SPEC) == ["`height` was 3, is None"]


def test_long_values_are_cut() -> None:
    noted = {**spec_entries(SPEC), "name": "x" * 500}
    assert spec_differences(noted, SPEC) == [f"`name` was {'x' * 200}..., is corridor"]


def test_what_only_some_worlds_have_is_noted_there() -> None:
    noted = spec_entries(Boats("numbers").spec)
    assert noted["array_actions"] == {"names": ["east", "north"], "low": [-0.5, -0.25], "high": [0.5, 0.5]}
    assert noted["critic_observations"] == {"state": [9]}
    assert noted["observation_kinds"] == {"boats": "entities", "pond": "image"}
    assert not {"array_actions", "critic_observations", "observation_kinds"} & spec_entries(SPEC).keys()
    assert spec_differences(noted, Boats("numbers", num_worlds=5).spec) == []
    (difference,) = spec_differences(noted, Boats("parts").spec)
    assert difference.startswith("`array_actions` was {'names': ['east', 'north'], ")

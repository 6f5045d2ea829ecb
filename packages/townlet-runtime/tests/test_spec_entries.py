from dataclasses import replace

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

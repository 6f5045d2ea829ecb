"""What a policy is for: one kind of actions, observations of its own, and a document that reads back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from kinds import CENTRAL_SEEING, KINDS, NUMBERS, PARTS, PLAIN
from pydantic import TypeAdapter

from townlet_training.errors import ConfigError
from townlet_training.network.gaussian import distribution_of
from townlet_training.network.spec import PolicySpec


@pytest.mark.parametrize("kind", KINDS)
def test_a_spec_reads_back_from_its_document(kind: str) -> None:
    specs = TypeAdapter(Mapping[str, PolicySpec])
    spec, _ = KINDS[kind]
    read = specs.validate_json(specs.dump_json({"all": spec}))["all"]
    assert read == spec
    if spec.actions is not None:
        assert read.actions is not None and read.actions.digest == spec.actions.digest
    assert distribution_of(read).num_outputs == spec.num_outputs


def test_outputs_are_one_for_each_action_or_those_of_array_actions() -> None:
    # 3 actions; 3 + 2 values of two parts; two means and two deviations.
    for actions, distribution, expected in ((None, "", 3), (PARTS, "", 5), (NUMBERS, "squashed", 4)):
        vocabulary = PLAIN.vocabulary if actions is None else ()
        spec = replace(PLAIN, vocabulary=vocabulary, actions=actions, distribution=distribution)
        assert spec.num_outputs == expected
        assert distribution_of(spec).name == distribution


def test_specs_that_contradict_themselves_are_refused() -> None:
    for changes, message in (
        ({"world": ""}, "`world` must be a name"),
        ({"actions": PARTS}, "a policy has `vocabulary` or `actions`, got both"),
        ({"vocabulary": ()}, "`vocabulary` must hold distinct keys, at least one"),
        ({"vocabulary": ("a", "a")}, "`vocabulary` must hold distinct keys"),
        ({"vocabulary": (), "actions": NUMBERS}, "`distribution` is of a Box, and a Box has one, got ''"),
        ({"distribution": "clipped"}, "`distribution` is of a Box"),
        ({"critic_shapes": {"self": (3,)}}, r"`critic_shapes` must be of observations of their own, got \['self'\]"),
        ({"critic_shapes": {"action_mask": (3,)}}, "`critic_shapes` must be of observations of their own"),
        ({"observation_shapes": {}}, "`observation_shapes` must name at least one observation"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(PLAIN, **changes)
    assert CENTRAL_SEEING.critic_shapes.keys() == {"whole", "time"}

"""What both foundations define for themselves is the same in both."""

from __future__ import annotations

import townlet_behavior as behavior
import townlet_trajectory as trajectory
from townlet_behavior.testing import plain_view

KEYS = ("wait", "move:north", 'say "grüß dich"', "start/σ")


def test_codes_of_kind_and_source() -> None:
    assert {kind.name: kind.value for kind in behavior.Kind} == {kind.name: kind.value for kind in trajectory.Kind}
    assert {s.name: s.value for s in behavior.Source} == {s.name: s.value for s in trajectory.Source}


def test_digest_of_a_vocabulary() -> None:
    vocabulary = behavior.ActionVocabulary(keys=KEYS, kinds=("wait", "move", "chat", "start"))
    schema = trajectory.TrajectorySchema(
        observations={"features": trajectory.ArraySpec("float32", (2,))},
        decisions=trajectory.default_decision_columns(),
        vocabulary=KEYS,
    )
    assert vocabulary.digest == schema.vocabulary_digest
    # worked out by hand: SHA-256 of ["wait","move:north","say \"gr\u00fc\u00df dich\"","start/\u03c3"]
    assert vocabulary.digest == "69931e5bb884b4aa8c71dbf9dff22e703a1206d5e8882aef1111b11c432f1755"


def test_digests_and_defaults_of_array_actions() -> None:
    parts = {"move": ("stay", "north"), "hand": ("open", "closed", "grüß")}
    assert behavior.MultiDiscrete(parts=parts).digest == trajectory.MultiDiscrete(parts=parts).digest
    for low, high in (((-1, 0), (1, 2)), ((-1.0, -0.0), (1.0, 2.0))):
        bounds = {"names": ("steer", "throttle"), "low": low, "high": high}
        ours, theirs = behavior.Box(**bounds), trajectory.Box(**bounds)
        assert ours.digest == theirs.digest == trajectory.Box(**bounds | {"low": (-1.0, 0.0)}).digest
        assert (ours.dtype.name, ours.num_outputs, ours.shape) == (theirs.dtype, theirs.num_outputs, (2,))


def test_the_columns_of_a_decision_are_those_a_recorder_keeps() -> None:
    vocabulary = behavior.ActionVocabulary(keys=("wait", "go"), kinds=("wait", "move"))
    bridge = behavior.BehaviorBridge(
        vocabulary, behavior.IdleController(wait=0), capacity=2, config=behavior.BridgeConfig(), seed=0
    )
    columns = bridge.decide(plain_view(["a", "b"]), tick=0).columns()
    expected = trajectory.default_decision_columns()
    assert {name: (column.dtype.name, column.shape[1:]) for name, column in columns.items()} == {
        name: (spec.dtype, spec.shape) for name, spec in expected.items()
    }

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from garden import IDS, SPEC, Garden
from hypothesis import given, settings
from numpy.typing import NDArray
from strategies import corridor_configs, seeds

from townlet_behavior import SavedState, draw_keys
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.intake import Intake, KnownIds
from townlet_runtime.simulation.interface import AGENTS, Observed, Stepped
from townlet_runtime.simulation.one_group import OneGroup
from townlet_runtime.testing import Corridor, CorridorConfig

SEEDS = np.array([3, 4])
ACTIONS = {AGENTS: np.array([1, 1, 0, 1])}


def begun(garden: Garden) -> Observed:
    return OneGroup(garden).reset(seeds=SEEDS)[AGENTS]


def stepped(garden: Garden, ticks: int = 1) -> Stepped:
    worlds = OneGroup(garden)
    worlds.reset(seeds=SEEDS)
    for _ in range(ticks):
        outcome = worlds.step(ACTIONS)[AGENTS]
    return outcome


def dtypes(record: object) -> dict[str, str]:
    return {name: str(value.dtype) for name, value in vars(record).items() if isinstance(value, np.ndarray)}


def test_a_view_is_completed_and_cast() -> None:
    observed = begun(Garden())
    assert dtypes(observed) == {
        "slots": "int64",
        "agent_ids": "object",
        "keys": "uint64",
        "worlds": "int64",
        "episodes": "int64",
        "option_done": "bool",
    }
    assert observed.observations["soil"].dtype == np.float32 and observed.observations["soil"].shape == (4, 1)
    # two gardeners a world: slots 0 and 1 are in world 0, of seed 3
    assert observed.worlds.tolist() == observed.episodes.tolist() == [0, 0, 1, 1]
    assert observed.keys.tolist() == [draw_keys(seed, one) for seed, one in zip((3, 3, 4, 4), IDS, strict=True)]
    assert not observed.option_done.any() and observed.action_mask is None


def test_an_outcome_is_completed_and_cast() -> None:
    outcome = stepped(Garden())
    assert dtypes(outcome) == {
        "rewards": "float32",
        "terminated": "bool",
        "truncated": "bool",
        "final_rows": "int64",
        "final_option_done": "bool",
        "events": "int64",
    }
    assert not outcome.truncated.any() and outcome.events.shape == (2, 0)
    assert outcome.final_observations["soil"].shape == (0, 1)


def test_final_rows_and_episodes_follow_from_the_ends() -> None:
    last = stepped(Garden(), ticks=5)
    assert last.final_rows.tolist() == [0, 1, 2, 3] and last.final_option_done.tolist() == [False] * 4
    # W = 2: the second episode of world w is w + 1 · 2
    assert last.observed.episodes.tolist() == [2, 2, 3, 3]


def test_an_episode_goes_on_while_an_agent_of_its_world_does() -> None:
    def end_three(answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "terminated": [1, 0, 1, 1], "final_observations": {"soil": [[0], [0], [0]]}}

    assert stepped(Garden(bend=end_three)).observed.episodes.tolist() == [0, 0, 3, 3]


def test_arrays_that_are_right_are_handed_on() -> None:
    corridor = Corridor(num_worlds=2)
    answers: list[Any] = []

    class Watched(Corridor):
        def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
            answers.append(corridor.reset(seeds=seeds))
            return answers[-1]

        def step(self, actions: NDArray[np.int64]) -> Stepped:
            answers.append(corridor.step(actions))
            return answers[-1]

    worlds = OneGroup(Watched(num_worlds=2))
    observed = worlds.reset(seeds=SEEDS)[AGENTS]
    assert observed is answers[-1]
    for _ in range(45):
        outcome = worlds.step({AGENTS: np.zeros(len(observed.slots), np.int64)})[AGENTS]
        observed = outcome.observed
        assert outcome is answers[-1]


CASTS = {
    "rewards": ([1, 0, 2, 1], [True, False, True, False], np.array([0.5, 1, 1, 1]), np.array([1, 2, 3, 4], np.int8)),
    "terminated": ([0, 0, 0, 0], [0.0, 0.0, 0.0, 0.0], np.zeros(4, np.uint8)),
    "reward_terms": ({"dig": [1, 2, 3, 4]}, {"dig": np.ones(4)}),
    "events": ([[1], [2]], [[0.5], [2]], np.ones((2, 1), np.int32)),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in CASTS.items() for value in values])
def test_near_dtypes_of_outcomes_are_cast(name: str, value: Any) -> None:
    names: dict[str, Any] = {"event_names": ("digs",), "reward_terms": ("dig",)}
    given = {"events": [[0], [0]], "reward_terms": {"dig": [0, 0, 0, 0]}, name: value}
    outcome = stepped(Garden(bend=lambda answer: answer | given, **names))
    cast = getattr(outcome, name)
    if name == "reward_terms":
        cast, value = cast["dig"], value["dig"]
    np.testing.assert_array_equal(cast, np.asarray(value, cast.dtype))


VIEWS = {
    "slots": (np.arange(4, dtype=np.int32), [0.0, 1.0, 2.0, 3.0]),
    "agent_ids": (np.array(IDS), IDS),
    "worlds": ([0, 0, 1, 1], np.array([0, 0, 1, 1], np.uint8)),
    "episodes": ([7, 7, 9, 9],),
    "option_done": ([0, 1, 0, 0], np.array([0.0, 1.0, 0.0, 0.0])),
    "action_mask": ([[1, 0]] * 4, np.ones((4, 2), np.int8), np.ones((4, 2))),
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VIEWS.items() for value in values])
def test_near_dtypes_of_views_are_cast(name: str, value: Any) -> None:
    cast = getattr(begun(Garden(bend_view=lambda answer: answer | {name: value})), name)
    np.testing.assert_array_equal(cast, np.asarray(value, cast.dtype))


REFUSED_VIEWS = [
    ({"slots": [0, 1, 2, 2]}, "`garden`, tick 0: expected strictly ascending `slots`"),
    ({"slots": [0, 1, 2, 4]}, r"`slots` in \[0, 4\)"),
    ({"slots": [0, 1, 2, 2.5]}, "expected int64 `slots`, got 2.5"),
    ({"slots": [0, 1, 2]}, r"expected object \[3\] `agent_ids`, got object \[4\]"),
    ({"worlds": [0, 1, 1, 1]}, "world 1, agent 'bob', tick 0: expected `worlds` of the slots, got 1"),
    ({"agent_ids": ["ann", "ann", "ann", "bob"]}, "world 0, agent 'ann', tick 0: .* unique in a world, got one twice"),
    ({"agent_ids": ["ann", "", "ann", "bob"]}, "world 0, agent '', tick 0: .* texts and not empty, got ''"),
    ({"agent_ids": [1, 2, 1, 2]}, "`agent_ids` that are texts and not empty, got 1"),
    ({"keys": [1, 2, 3, 4]}, r"world 0, agent 'ann', tick 0: expected the key \d+, `draw_keys` of seed and id, got 1"),
    ({"keys": [1, 2, 3, -4]}, "world 1, agent 'bob', tick 0: expected uint64 `keys`, got -4"),
    ({"option_done": [0, 2, 0, 0]}, "world 0, agent 'bob', tick 0: expected bool `option_done`, got 2"),
    ({"action_mask": [[1, 0.5]] * 4}, "world 0, agent 'ann', tick 0: expected bool `action_mask`, got 0.5"),
    ({"action_mask": [[1]] * 4}, r"expected bool \[4, 2\] `action_mask`, got int64 \[4, 1\]"),
    ({"observations": {}}, r"expected `observations` named \['soil'\], got \[\]"),
    ({"observations": {"soil": [[1], [2], [3], [1e39]]}}, r"world 1, agent 'bob', .* float32 `soil`, got 1e\+39"),
    ({"observations": {"soil": [[1], [2], [float("nan")], [1]]}}, "world 1, agent 'ann', .* float32 `soil`, got nan"),
    ({"observations": {"soil": [[1], [2], [3, 4], [1]]}}, r"expected float32 \[4, 1\] `soil`, got .*inhomogeneous"),
    ({"observations": {"soil": [["x"]] * 4}}, r"expected float32 \[4, 1\] `soil`, got <U1 \[4, 1\]"),
    ({"observations": {"soil": [[2**60 + 1]] * 4}}, "expected float32 `soil`, got 1152921504606846977"),
]


@pytest.mark.parametrize(("change", "complaint"), REFUSED_VIEWS)
def test_a_view_that_would_lose_something_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SimulationError, match=complaint):
        begun(Garden(bend_view=lambda answer: answer | change))


REFUSED_OUTCOMES = [
    ({"rewards": [1, 2, 3]}, r"`garden`, tick 0: expected float32 \[4\] `rewards`, got int64 \[3\]"),
    ({"rewards": [1, 2, float("nan"), 3]}, "world 1, agent 'ann', tick 0: expected float32 `rewards`, got nan"),
    ({"rewards": np.float32([1, 2, 3, np.inf])}, "world 1, agent 'bob', tick 0: expected finite `rewards`, got inf"),
    ({"terminated": [0, 0, 1, 0]}, r"`final_observations` named \['soil'\], got \[\]"),
    ({"terminated": [0, 0, 1, 0], "final_rows": [3], "final_observations": {"soil": [[1]]}}, r"`final_rows` \[2\]"),
    ({"final_rows": [1], "final_observations": {"soil": [[1]]}}, r"expected int64 \[0\] `final_rows`, got int64 \[1\]"),
    ({"events": [[1, 2]]}, r"expected int64 \[2, 0\] `events`"),
    ({"reward_terms": {"dig": [1, 2, 3, 4]}}, r"expected `reward_terms` named \[\], got \['dig'\]"),
]


@pytest.mark.parametrize(("change", "complaint"), REFUSED_OUTCOMES)
def test_an_outcome_that_would_lose_something_is_refused(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SimulationError, match=complaint):
        stepped(Garden(bend=lambda answer: answer | change))


class Listed(Corridor):
    """A corridor that answers in lists, and leaves out what follows from the rest."""

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        return listed(super().reset(seeds=seeds))

    def restore(self, state: SavedState) -> Observed:
        return listed(super().restore(state))

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        stepped = super().step(actions)
        finals = {name: array.tolist() for name, array in stepped.final_observations.items()}
        return Stepped(
            rewards=stepped.rewards.tolist(),
            terminated=stepped.terminated.astype(np.int8),
            truncated=stepped.truncated.astype(float),
            final_option_done=stepped.final_option_done.tolist(),
            final_observations=finals if len(stepped.final_rows) else {},
            events=stepped.events.tolist(),
            observed=listed(stepped.observed),
        )


def listed(observed: Observed) -> Observed:
    mask = observed.action_mask
    return Observed(
        slots=observed.slots.tolist(),
        agent_ids=observed.agent_ids.tolist(),
        observations={name: array.tolist() for name, array in observed.observations.items()},
        episodes=observed.episodes.astype(np.int16),
        action_mask=None if mask is None else mask.astype(np.uint8),
        option_done=observed.option_done.tolist(),
    )


@given(corridor_configs, seeds)
@settings(max_examples=25)
def test_a_corridor_that_answers_in_lists_is_that_corridor(config: CorridorConfig, seed: int) -> None:
    one, other = OneGroup(Corridor(config, num_worlds=2)), OneGroup(Listed(config, num_worlds=2))
    seen = [worlds.reset(seeds=SEEDS + seed)[AGENTS] for worlds in (one, other)]
    generator = np.random.default_rng(seed)
    for _ in range(30):
        assert_equal_records(*seen)
        mask = seen[0].action_mask
        likely = generator.random((len(seen[0].slots), 4))
        actions = (likely if mask is None else np.where(mask, likely, -1.0)).argmax(axis=1)
        stepped = [worlds.step({AGENTS: actions})[AGENTS] for worlds in (one, other)]
        assert_equal_records(*stepped)
        seen = [outcome.observed for outcome in stepped]


def assert_equal_records(one: Observed | Stepped, other: Observed | Stepped) -> None:
    """Every array is the same, dtype included."""
    for name, value in vars(one).items():
        if name == "observed":
            continue
        pairs = (
            [(value, vars(other)[name])]
            if not isinstance(value, dict)
            else list(zip(value.values(), vars(other)[name].values(), strict=True))
        )
        for array, same in pairs:
            np.testing.assert_array_equal(array, same, err_msg=name, strict=True)


def test_a_missing_name_is_refused() -> None:
    with pytest.raises(SimulationError, match=r"expected `reward_terms` named \['dig'\], got \[\]"):
        stepped(Garden(reward_terms=("dig",)))
    with pytest.raises(SimulationError, match=r"expected int64 \[2, 1\] `events`"):
        stepped(Garden(event_names=("digs",)))
    infinite = np.array([[1.0], [np.inf]])
    with pytest.raises(SimulationError, match="expected finite `events`"):
        stepped(Garden(event_names=("digs",), bend=lambda answer: answer | {"events": infinite}))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"slots": [0, 1, 2], "agent_ids": IDS[:3]}, "agent 'bob' to stay in slot 3 until it ends, got a view without"),
        ({"agent_ids": ["ann", "eve", "ann", "bob"]}, "agent 'eve', tick 1: expected agent 'bob' to stay in slot 1"),
    ],
)
def test_an_agent_that_leaves_without_an_end_is_named(change: dict[str, Any], complaint: str) -> None:
    def change_later(answer: dict[str, Any]) -> dict[str, Any]:
        views.append(answer)
        later = answer | change
        later["observations"] = {"soil": answer["observations"]["soil"][: len(later["slots"])]}
        return answer if len(views) == 1 else later

    views: list[Any] = []
    with pytest.raises(SimulationError, match=complaint):
        stepped(Garden(bend_view=change_later))


def test_an_answer_of_another_type_is_named() -> None:
    class Silent(Garden):
        def step(self, actions: NDArray[np.int64]) -> Any:
            return None

    with pytest.raises(SimulationError, match="`garden`, tick 0: expected a `Stepped` of `step`, got None"):
        stepped(Silent())
    with pytest.raises(SimulationError, match="`garden`, tick 0: expected an `Observed`, got None"):
        Intake(SPEC).begin(None, seeds=SEEDS)
    with pytest.raises(SimulationError, match="`garden`: `reset` must come before `step`"):
        Intake(SPEC).step(stepped(Garden()))


def test_ids_are_compared_by_their_letters() -> None:
    def spell_anew(answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {"agent_ids": ["".join(letters) for letters in zip("abab", "nono", "nbnb", strict=True)]}

    assert stepped(Garden(bend_view=spell_anew), ticks=3).observed.agent_ids.tolist() == list(IDS)


def test_a_newcomer_gets_the_key_of_its_id() -> None:
    class Keyless(Corridor):
        def step(self, actions: NDArray[np.int64]) -> Stepped:
            outcome = super().step(actions)
            return replace(outcome, observed=replace(outcome.observed, keys=np.empty(0, np.uint64)))

    corridor = OneGroup(Keyless(CorridorConfig(masked=False, length=3), num_worlds=2))
    observed = corridor.reset(seeds=SEEDS)[AGENTS]
    first = set(observed.agent_ids)
    for _ in range(20):
        observed = corridor.step({AGENTS: np.full(len(observed.slots), 2)})[AGENTS].observed
    assert len(observed.slots) and not first & set(observed.agent_ids)
    seen = zip(SEEDS[observed.worlds].tolist(), observed.agent_ids, strict=True)
    assert observed.keys.tolist() == [draw_keys(seed, one) for seed, one in seen]


def named(slots: list[int], ids: str) -> Observed:
    worlds = np.zeros(len(slots), np.int64)
    names = np.array(list(ids), object)
    keys = np.array([draw_keys(5, name) for name in ids], np.uint64)
    return Observed(slots=np.array(slots), agent_ids=names, observations={}, keys=keys, worlds=worlds)


def test_ids_are_looked_at_where_a_slot_has_another_one() -> None:
    known = KnownIds(4)
    known.check(named([0, 1, 3], "abc"), tick=0)
    known.check(named([1, 3], "bc"), tick=1)
    known.check(named([0, 1, 3], "abc"), tick=2)
    # `a` is gone, and may be in another slot; with both it would be there twice.
    known.check(named([1, 2], "ba"), tick=3)
    with pytest.raises(SimulationError, match="world 0, tick 4: 2 agents are named 'a'"):
        known.check(named([0, 1, 2], "aba"), tick=4)
    with pytest.raises(SimulationError, match="world 0, tick 5: 2 agents are named 'b'"):
        known.check(named([1, 3], "bb"), tick=5)

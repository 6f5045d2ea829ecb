from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from beginnings import begun
from boats import Boats
from boats import Kind as Kinds
from crossing import Crossing
from garden import Garden
from hypothesis import given, settings
from numpy.typing import NDArray
from strategies import corridor_configs, seeds

from townlet_behavior import BatchController, Guardrail, SavedState
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS, CommitmentColumns, Observed, SimulationSpec, Stepped
from townlet_runtime.simulation.recorded import Room
from townlet_runtime.testing import Corridor, CorridorConfig, check_grouped_simulation, check_simulation

WAIT, LEFT, RIGHT, REST = range(4)
ALONE = CorridorConfig(places=1, length=4, slip=0.0, episode_ticks=20, max_absence=1)


def walk(corridor: Corridor, *actions: int) -> list[Stepped]:
    return [corridor.step(np.array([action])) for action in actions]


@given(corridor_configs, seeds)
@settings(max_examples=25)
def test_corridors_keep_their_promises(config: CorridorConfig, seed: int) -> None:
    check_simulation(Corridor(config, num_worlds=2), seed=seed, ticks=40)


@given(seeds)
@settings(max_examples=10)
def test_groups_side_by_side_keep_their_promises(seed: int) -> None:
    check_grouped_simulation(Crossing(2), seed=seed, ticks=45)


def test_a_world_that_cannot_be_saved_keeps_its_promises() -> None:
    check_grouped_simulation(Crossing(1, savable=False), seed=1, ticks=30)


def test_a_walk_by_hand() -> None:
    corridor = Corridor(ALONE)
    first = begun(corridor, 0)
    assert first.agent_ids.tolist() == ["visitor_0_1"]
    # the exit is cell 3: three steps, each 0.25 fatigue; the third terminates and is worth 1
    steps = walk(corridor, RIGHT, RIGHT, RIGHT)
    assert [float(step.rewards[0]) for step in steps] == pytest.approx([-0.01, -0.01, 1.0])
    assert [bool(step.terminated[0]) for step in steps] == [False, False, True]
    final = steps[-1].final_observations["features"][0]
    assert final[:3].tolist() == pytest.approx([3 / 4, 0.75, 3 / 20])
    assert steps[-1].events.tolist() == [[1, 0]]
    # absence of one tick: the newcomer is there at once, in the same place, under another name
    assert steps[-1].observed.agent_ids.tolist() == ["visitor_0_2"]
    assert steps[-1].observed.observations["features"][0, :2].tolist() == [0.0, 0.0]


def test_a_rest_is_done_when_the_fatigue_is_gone() -> None:
    corridor = Corridor(ALONE)
    begun(corridor, 0)
    # 0.25 · 3 of fatigue (one step back), two rests of 0.5
    *_, tired, rested = walk(corridor, RIGHT, RIGHT, LEFT, REST, REST)
    assert not tired.observed.option_done[0] and rested.observed.option_done[0]
    assert not walk(corridor, WAIT)[0].observed.option_done[0]
    assert rested.events.tolist() == [[0, 1]]
    assert rested.observed.action_mask is not None
    assert rested.observed.action_mask.tolist() == [[True, True, True, False]]


def test_who_is_too_tired_cannot_walk() -> None:
    corridor = Corridor(replace(ALONE, length=9))
    begun(corridor, 0)
    steps = walk(corridor, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT)
    positions = [float(step.observed.observations["features"][0, 0]) * 9 for step in steps]
    assert positions == pytest.approx([1, 2, 3, 4, 4])


def test_everybody_is_truncated_at_the_end_of_an_episode() -> None:
    corridor = Corridor(replace(ALONE, episode_ticks=2), num_worlds=2)
    assert begun(corridor, 0).episodes.tolist() == [0, 1]
    corridor.step(np.array([WAIT, WAIT]))
    last = corridor.step(np.array([WAIT, WAIT]))
    assert last.truncated.tolist() == [True, True] and not last.terminated.any()
    assert last.final_observations["features"][:, 2].tolist() == [1.0, 1.0]
    assert last.observed.episodes.tolist() == [2, 3]
    assert last.observed.observations["features"][:, 2].tolist() == [0.0, 0.0]


def test_scripts_live_as_they_are_described() -> None:
    corridor = Corridor(replace(ALONE, length=9))
    begun(corridor, 0)
    (tired,) = walk(corridor, RIGHT)
    assert corridor.scripted("scripted").propose(tired.observed).tolist() == [RIGHT]
    assert corridor.scripted("nearest").propose(tired.observed).tolist() == [REST]
    assert corridor.scripted("idle").propose(tired.observed).tolist() == [WAIT]
    *_, exhausted = walk(corridor, RIGHT, RIGHT, RIGHT)
    assert corridor.scripted("scripted").propose(exhausted.observed).tolist() == [REST]
    with pytest.raises(SimulationError, match="`idle`, got 'wise'"):
        corridor.scripted("wise")


@pytest.mark.parametrize("actions", [[4], [-1], [RIGHT, RIGHT], [LEFT]])
def test_actions_that_cannot_be_carried_out_are_refused(actions: list[int]) -> None:
    corridor = Corridor(ALONE)
    begun(corridor, 0)
    with pytest.raises(SimulationError, match="expected"):
        corridor.step(np.array(actions))


def test_a_corridor_without_cells_is_refused() -> None:
    with pytest.raises(SimulationError, match="sizes must be positive"):
        CorridorConfig(length=0)


class Broken:
    """A corridor whose answers are bent before anybody sees them."""

    def __init__(
        self,
        *,
        spec: Callable[[SimulationSpec], SimulationSpec] = lambda spec: spec,
        observed: Callable[[Observed], Observed] = lambda observed: observed,
        stepped: Callable[[Stepped], Stepped] = lambda stepped: stepped,
    ) -> None:
        self._corridor = Corridor(CorridorConfig(length=3, places=2, episode_ticks=9), num_worlds=2)
        self._observed = observed
        self._stepped = stepped
        self.spec = spec(self._corridor.spec)

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        return self._observed(self._corridor.reset(seeds=seeds))

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        stepped = self._corridor.step(actions)
        return self._stepped(replace(stepped, observed=self._observed(stepped.observed)))

    @property
    def behaviors(self) -> tuple[str, ...]:
        return self._corridor.behaviors

    def scripted(self, name: str) -> BatchController:
        return self._corridor.scripted(name)

    def close(self) -> None: ...

    def guardrails(self) -> Sequence[Guardrail]:
        return ()

    def save_state(self) -> SavedState | None:
        return self._corridor.save_state()

    def restore(self, state: SavedState) -> Observed:
        return self._observed(self._corridor.restore(state))


def with_features(observed: Observed, column: int, value: float | NDArray[np.int64]) -> Observed:
    features = observed.observations["features"].copy()
    features[:, column] = value
    return replace(observed, observations={**observed.observations, "features": features})


SHIFTED = CommitmentColumns(observation="features", start=4, max_ticks=3)
BENT_SPECS = {
    "at least one world": lambda spec: replace(spec, num_worlds=0),
    "a capacity that 2 worlds share evenly": lambda spec: replace(spec, capacity=5),
    "a positive `episode_ticks`": lambda spec: replace(spec, episode_ticks=0),
    r"`option_ticks` of kinds \['move', 'start', 'wait'\], got \['jump'\]": lambda spec: replace(
        spec, option_ticks={"wait": 0, "jump": 1}
    ),
    "`event_names` that differ": lambda spec: replace(spec, event_names=("exits", "exits")),
    "`reward_terms` that differ": lambda spec: replace(spec, reward_terms=("time", "time")),
    "a name for each feature": lambda spec: replace(spec, feature_names=("position",)),
    "5 commitment columns from 4 in `features`": lambda spec: replace(spec, commitment_columns=SHIFTED),
}
BENT_OBSERVED = {
    "strictly ascending `slots`": lambda seen: replace(seen, slots=seen.slots[::-1].copy()),
    r"`slots` in \[0, 4\)": lambda seen: replace(seen, slots=seen.slots + 3),
    "`worlds` of the slots": lambda seen: replace(seen, worlds=seen.worlds[::-1].copy()),
    "the key .*`draw_keys` of seed and id": lambda seen: replace(seen, keys=seen.keys + np.uint64(1)),
    r"int64 \[\d\] `episodes`": lambda seen: replace(seen, episodes=seen.episodes[:1]),
    "unique over all worlds": lambda seen: replace(seen, episodes=np.zeros_like(seen.episodes)),
    "bool `option_done`, got 2": lambda seen: replace(seen, option_done=seen.option_done + np.int8(2)),
    r"`observations` named \['features', 'map'\], got \['map'\]": lambda seen: replace(
        seen, observations={"map": seen.observations["map"]}
    ),
    r"float32 \[\d, 1, 1, 3\] `map`, got float32": lambda seen: replace(
        seen, observations={**seen.observations, "map": seen.observations["map"][:, 0]}
    ),
    r"expected float32 `map`, got 1e\+300": lambda seen: replace(
        seen, observations={**seen.observations, "map": seen.observations["map"] + np.float64(1e300)}
    ),
    "finite `features`": lambda seen: with_features(seen, 0, np.nan),
    "commitment columns left to the runtime": lambda seen: with_features(seen, 5, 1.0),
    r"bool \[\d, 4\] `action_mask`": lambda seen: replace(seen, action_mask=np.ones((len(seen.slots), 3), np.bool_)),
    "a mask that allows every agent something": lambda seen: replace(
        seen, action_mask=np.zeros((len(seen.slots), 4), np.bool_)
    ),
}
BENT_OBSERVED["agent 'x', tick .*: expected `agent_ids` that are unique in a world"] = lambda seen: replace(
    seen, agent_ids=np.array(["x"] * len(seen.slots), np.object_), keys=seen.keys[:0]
)
BENT_STEPPED = {
    r"float32 \[\d\] `rewards`": lambda step: replace(step, rewards=step.rewards[:, None]),
    "world 0, agent 'visitor_0_1', tick 0: expected finite `rewards`, got -inf": lambda step: replace(
        step, rewards=step.rewards * np.float32(np.inf)
    ),
    r"bool \[\d\] `terminated`": lambda step: replace(step, terminated=np.zeros(9, np.bool_)),
    "bool `truncated`, got 2": lambda step: replace(step, truncated=step.truncated + np.int8(2)),
    "`reward_terms` named .*, got .*'time'": lambda step: replace(step, reward_terms={"time": step.rewards}),
    "`final_rows` .*, those that ended": lambda step: replace(step, truncated=np.zeros_like(step.truncated)),
    r"bool \[\d\] `final_option_done`": lambda step: replace(step, final_option_done=np.zeros(9, np.bool_)),
    "`final_observations` named": lambda step: replace(step, final_observations={}),
    r"int64 \[2, 2\] `events`": lambda step: replace(step, events=step.events[:1]),
    "agent .* to stay in slot": lambda step: replace(
        step, observed=replace(step.observed, agent_ids=np.array(["x"] * 9, np.object_)[: len(step.observed.slots)])
    ),
}


@pytest.mark.parametrize("promise", BENT_SPECS)
def test_a_spec_that_cannot_be_true_is_named(promise: str) -> None:
    with pytest.raises(SimulationError, match=promise):
        check_simulation(Broken(spec=BENT_SPECS[promise]), seed=1, ticks=20)


@pytest.mark.parametrize("promise", BENT_OBSERVED)
def test_a_broken_promise_about_observations_is_named(promise: str) -> None:
    with pytest.raises(SimulationError, match=f"tick .*{promise}"):
        check_simulation(Broken(observed=BENT_OBSERVED[promise]), seed=1, ticks=20)


@pytest.mark.parametrize("promise", BENT_STEPPED)
def test_a_broken_promise_about_outcomes_is_named(promise: str) -> None:
    with pytest.raises(SimulationError, match=f"tick .*{promise}"):
        check_simulation(Broken(stepped=BENT_STEPPED[promise]), seed=1, ticks=20)


def test_a_simulation_that_does_not_repeat_itself_is_named() -> None:
    count = iter(range(10_000))
    drifting = Broken(stepped=lambda step: replace(step, rewards=step.rewards + np.float32(next(count))))
    with pytest.raises(SimulationError, match="tick 0: the same again from the same seed"):
        check_simulation(drifting, seed=1, ticks=5)


def test_worlds_that_depend_on_their_number_are_named() -> None:
    numbered = Broken(observed=lambda seen: with_features(seen, 0, seen.worlds))
    with pytest.raises(SimulationError, match="a world to follow from its seed alone"):
        check_simulation(numbered, seed=1, ticks=5)


def test_a_script_that_proposes_nonsense_is_named() -> None:
    class Mumbling(Broken):
        def scripted(self, name: str) -> BatchController:
            return _Mumbling()

    with pytest.raises(SimulationError, match=r"script `scripted` .*: proposals must be -1 or in \[0, 4\), got \[99"):
        check_simulation(Mumbling(), seed=1, ticks=5)


class _Mumbling:
    def propose(self, view: Observed) -> NDArray[np.int64]:
        return np.full(len(view.slots), 99)

    def settled(self, view: Observed, decisions: object) -> None: ...

    def forget(self, slots: NDArray[np.int64]) -> None: ...

    def save_state(self) -> SavedState:
        return {}

    def restore(self, state: SavedState) -> None: ...


class Forgetful(Broken):
    """A corridor with something wrong about what it saves."""

    def __init__(self, wrong: str) -> None:
        super().__init__()
        self._wrong = wrong
        self._live: dict[str, NDArray[np.int64]] = {}

    def step(self, actions: NDArray[np.int64]) -> Stepped:
        if "count" in self._live:
            self._live["count"] += 1
        return super().step(actions)

    def save_state(self) -> SavedState | None:
        state = dict(super().save_state() or {})
        if self._wrong == "objects":
            state["ids"] = np.array(["a", None], np.object_)
        if self._wrong == "live":
            self._live["count"] = state["count"] = np.zeros(1, np.int64)
        return state

    def restore(self, state: SavedState) -> Observed:
        if self._wrong == "gullible" and not state:
            return begun(self, 0)
        return super().restore(state)


@pytest.mark.parametrize(
    ("wrong", "promise"),
    [
        ("objects", "numbers, bools or texts in a saved state, got object for `simulation/ids`"),
        ("live", "a saved state that later ticks leave alone, got one that changes"),
        ("gullible", "`restore` to refuse an empty state"),
    ],
)
def test_a_broken_promise_about_saving_is_named(wrong: str, promise: str) -> None:
    with pytest.raises(SimulationError, match=promise):
        check_simulation(Forgetful(wrong), seed=1, ticks=8)


def test_a_future_that_differs_after_a_restore_is_named() -> None:
    class Drifting(Broken):
        def restore(self, state: SavedState) -> Observed:
            return with_features(super().restore(state), 0, 0.125)

    with pytest.raises(SimulationError, match="after `restore`: expected tick 0: the same again"):
        check_simulation(Drifting(), seed=1, ticks=8)


def test_an_episode_that_is_too_long_is_named() -> None:
    # a garden is over after five ticks
    check_simulation(Garden(), seed=1, ticks=20)
    for answer in ({"truncated": [0] * 4, "final_observations": {}}, {"truncated": [0, 1, 0, 1]}):
        endless = Garden(bend=lambda given, answer=answer: {**given, **answer, "final_observations": finals(answer)})
        with pytest.raises(SimulationError, match="tick 5: .* episode to be over after `episode_ticks` 5 ticks"):
            check_simulation(endless, seed=1, ticks=20)


def finals(answer: dict[str, list[int]]) -> dict[str, list[list[float]]]:
    return {"soil": [[0.5]] * sum(answer["truncated"])}


@pytest.mark.parametrize("picture", [np.zeros((3, 4, 3), np.float32), np.zeros((3, 4), np.uint8)])
def test_a_picture_of_another_form_is_named(picture: NDArray[np.uint8]) -> None:
    class Drawn(Broken):
        def render(self) -> NDArray[np.uint8]:
            return picture

    with pytest.raises(SimulationError, match=r"a picture uint8 \[H, W, 3\], or text, got"):
        check_simulation(Drawn(), seed=1, ticks=5)


def test_groups_that_do_not_share_their_worlds_are_named() -> None:
    class Torn(Crossing):
        @property
        def specs(self) -> Mapping[str, SimulationSpec]:
            long, short = super().specs.values()
            return {"long": long, "short": replace(short, episode_ticks=9)}

    with pytest.raises(SimulationError, match="the same worlds, episode length and events for every group"):
        check_grouped_simulation(Torn(1), seed=1, ticks=5)


def test_a_group_without_an_outcome_is_named() -> None:
    class Silent(Crossing):
        def step(self, actions: Mapping[str, NDArray[np.int64]]) -> Mapping[str, Stepped]:
            return {"long": super().step(actions)["long"]}

    with pytest.raises(SimulationError, match=r"an outcome of each of \['long', 'short'\], got \['long'\]"):
        check_grouped_simulation(Silent(1), seed=1, ticks=5)


def test_a_group_without_a_script_is_named() -> None:
    class Wordless(Crossing):
        def scripted(self, name: str) -> Mapping[str, BatchController]:
            return {"long": super().scripted(name)["long"]}

    with pytest.raises(SimulationError, match="script `scripted`: one of each group"):
        check_grouped_simulation(Wordless(1), seed=1, ticks=5)


@pytest.mark.parametrize(("kind", "masked"), [("numbers", False), ("parts", False), ("parts", True)])
def test_a_world_of_array_actions_keeps_its_promises(kind: Kinds, masked: bool) -> None:
    check_simulation(Boats(kind, masked=masked), seed=3, ticks=30)


class Adrift(Boats):
    """Shows something else than it promises."""

    def __init__(self, kind: Kinds, *, bend: Callable[[Observed], Observed], masked: bool = False) -> None:
        super().__init__(kind, masked=masked)
        self._bend = bend

    def _observed(self) -> Observed:
        return self._bend(super()._observed())


def half_there(observed: Observed) -> Observed:
    shown = {**observed.observations, "boats_mask": observed.observations["boats_mask"] * np.float32(0.5)}
    return replace(observed, observations=shown)


def stuck(observed: Observed) -> Observed:
    assert observed.action_mask is not None
    mask = observed.action_mask & np.array([True, True, True, False, False])
    return replace(observed, action_mask=mask)


def without_state(observed: Observed) -> Observed:
    return replace(observed, observations={k: v for k, v in observed.observations.items() if k != "state"})


def masked_numbers(observed: Observed) -> Observed:
    return replace(observed, action_mask=np.ones((len(observed.slots), 2), np.bool_))


@pytest.mark.parametrize(
    ("kind", "bend", "problem"),
    [
        ("numbers", half_there, "`boats_mask` of zeros and ones"),
        ("numbers", without_state, r"`observations` named \['boats', 'boats_mask', 'features', 'pond', 'state'\], got"),
        ("numbers", masked_numbers, "no `action_mask`, as actions are numbers"),
        ("parts", stuck, "a mask that allows every agent something, in every part of its action"),
    ],
)
def test_a_broken_promise_of_kinds_critic_and_parts_is_named(
    kind: Kinds, bend: Callable[[Observed], Observed], problem: str
) -> None:
    with pytest.raises(SimulationError, match=problem):
        check_simulation(Adrift(kind, bend=bend, masked=kind == "parts"), seed=3, ticks=30)


class Pouring(Boats):
    """Boats that are lent memory for what they see, and do not use it as they should."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self._fault, self._rooms = fault, dict[str, Room]()

    def write_into(self, rooms: Mapping[str, Room]) -> None:
        self._rooms = dict(rooms)

    def _poured(self, observed: Observed) -> Observed:
        if not self._rooms:
            return observed
        room = self._rooms[AGENTS](len(observed.slots))
        for name, array in observed.observations.items():
            if self._fault != "unwritten":
                room[name][...] = array + (self._fault == "other" and name == "features")
        seen = {name: room[name] for name in observed.observations}
        return replace(
            observed, observations={n: a.copy() for n, a in seen.items()} if self._fault == "copied" else seen
        )

    def reset(self, *, seeds: NDArray[np.int64]) -> Observed:
        return self._poured(super().reset(seeds=seeds))

    def step(self, actions: NDArray[Any]) -> Stepped:
        stepped = super().step(actions)
        return replace(stepped, observed=self._poured(stepped.observed))


def test_a_world_that_fills_what_it_is_lent_keeps_its_promises() -> None:
    check_simulation(Pouring(""), seed=1, ticks=30)


@pytest.mark.parametrize(
    ("fault", "promise"),
    [
        ("unwritten", "expected finite"),
        ("other", "expected tick 0: the same again"),
        ("copied", "expected the arrays of group `agents` that were lent"),
    ],
)
def test_a_broken_promise_about_what_is_lent_is_named(fault: str, promise: str) -> None:
    with pytest.raises(SimulationError, match=promise):
        check_simulation(Pouring(fault), seed=1, ticks=30)

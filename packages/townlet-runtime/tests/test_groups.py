import numpy as np
import pytest
from beginnings import begun
from crossing import Crossing
from strategies import LinearPolicy

from townlet_behavior import BridgeConfig, CommitmentConfig, Guardrail, GuardrailError, StatelessGuardrail, Verdicts
from townlet_runtime.core.groups import count_worlds, policies_of, runtimes_of, script_side
from townlet_runtime.core.runtime import PolicyRuntime
from townlet_runtime.errors import SimulationError
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, Observed, OneGroup, first_spec
from townlet_runtime.testing import Corridor, CorridorConfig

CONFIG = BridgeConfig(commitment=CommitmentConfig())


class Wordless(Crossing):
    """Has no script."""

    behaviors = ("idle",)


class Forbidding(StatelessGuardrail):
    """Lets nobody do anything but wait."""

    reasons = ("forbidden",)

    def review(self, view: Observed, actions: np.ndarray) -> Verdicts:
        shape = len(actions)
        return Verdicts(vetoed=actions != 0, replacement=np.zeros(shape, np.int64), reason=np.zeros(shape, np.int8))


def test_the_script_is_blended_with_where_there_is_one() -> None:
    crossing = Crossing(1)
    observed = begun(crossing, 0)
    scripts = script_side(crossing)
    assert {group: set(scripts[group].propose(observed[group]).tolist()) for group in scripts} == {
        "long": {2},
        "short": {2},
    }


def test_nothing_is_proposed_where_there_is_no_script() -> None:
    wordless = Wordless(2)
    observed = begun(wordless, 0)
    for group, script in script_side(wordless).items():
        assert script.propose(observed[group]).tolist() == [-1] * len(observed[group].slots)


def test_every_group_is_judged_by_its_own_guardrails() -> None:
    class Guarded(Crossing):
        def guardrails(self) -> dict[str, tuple[Guardrail, ...]]:
            return {"long": (Forbidding(),), "short": ()}

    crossing = Guarded(1)
    scripts = crossing.scripted("scripted")
    runtimes = runtimes_of(crossing, scripts, config=CONFIG, policies=None, services=None, seed=0)
    observed = begun(crossing, 0)
    for group, runtime in runtimes.items():
        runtime.begin(observed[group], tick=0)
    decided = {group: runtime.decide_batch() for group, runtime in runtimes.items()}
    assert decided["long"].vetoed.all() and not decided["long"].action.any()
    assert not decided["short"].vetoed.any() and decided["short"].action.all()
    assert runtimes["long"].counts().vetoes == {"action_mask": 0, "forbidden": 1}


def test_guardrails_of_a_group_must_not_share_reasons() -> None:
    class Twice(Crossing):
        def guardrails(self) -> dict[str, tuple[Guardrail, ...]]:
            return {"long": (Forbidding(), Forbidding()), "short": ()}

    crossing = Twice(1)
    with pytest.raises(GuardrailError, match="forbidden"):
        runtimes_of(crossing, crossing.scripted("idle"), config=CONFIG, policies=None, services=None, seed=0)


def test_there_must_be_a_policy_for_each_group() -> None:
    crossing = Crossing(1)
    policies = {group: LinearPolicy(spec, seed=0) for group, spec in crossing.specs.items()}
    assert policies_of(policies, crossing) == policies
    with pytest.raises(SimulationError, match=r"a policy for each group of \['long', 'short'\], got \['long'\]"):
        policies_of({"long": policies["long"]}, crossing)


@pytest.mark.parametrize(("slots", "worlds"), [([], 0), ([0], 1), ([0, 1], 1), ([1, 2], 2), ([0, 1, 2, 3, 4, 5], 3)])
def test_worlds_with_somebody_in_them_are_counted(slots: list[int], worlds: int) -> None:
    corridor = Corridor(CorridorConfig(places=2, max_absence=1), num_worlds=3)
    everybody = begun(corridor, 0)
    while len(everybody.slots) < 6:
        everybody = corridor.step(np.zeros(len(everybody.slots), np.int64)).observed
    (runtime,) = runtimes_for(OneGroup(corridor))
    assert count_worlds([runtime], [corridor.spec]) == 0
    runtime.begin(rows_of(everybody, slots), tick=0)
    assert count_worlds([runtime], [corridor.spec]) == worlds


def test_a_world_with_agents_of_two_groups_counts_once() -> None:
    crossing = Crossing(3, places=1)
    observed, runtimes = begun(crossing, 0), runtimes_for(crossing)
    specs = list(crossing.specs.values())
    for tick, (long, short, worlds) in enumerate([([0, 1], [1], 2), ([0], [1], 2), ([], [1], 1), ([0, 1, 2], [], 3)]):
        runtimes[0].begin(rows_of(observed["long"], long), tick=tick)
        runtimes[1].begin(rows_of(observed["short"], short), tick=tick)
        assert count_worlds(runtimes, specs) == worlds


def runtimes_for(simulation: GroupedSimulation) -> list[PolicyRuntime]:
    scripts = simulation.scripted("idle")
    return list(runtimes_of(simulation, scripts, config=CONFIG, policies=None, services=None, seed=0).values())


def rows_of(observed: Observed, rows: list[int]) -> Observed:
    """Some rows; only what counting reads."""
    taken = np.array(rows, np.int64)
    return Observed(
        slots=observed.slots[taken],
        keys=observed.keys[taken],
        agent_ids=observed.agent_ids[taken],
        worlds=observed.worlds[taken],
        episodes=observed.episodes[taken],
        observations={name: array[taken] for name, array in observed.observations.items()},
        action_mask=None,
        option_done=observed.option_done[taken],
    )


def test_a_plain_simulation_is_a_group_called_agents() -> None:
    corridor = Corridor(CorridorConfig(), num_worlds=2)
    grouped = OneGroup(corridor)
    assert list(grouped.specs) == [AGENTS] and first_spec(grouped) is corridor.spec
    assert grouped.behaviors == ("scripted", "nearest", "idle") and grouped.guardrails() == {AGENTS: ()}
    observed = begun(grouped, 3)[AGENTS]
    actions = grouped.scripted("scripted")[AGENTS].propose(observed)
    stepped = grouped.step({AGENTS: actions})[AGENTS]
    state = grouped.save_state()
    assert state is not None
    again = grouped.restore(state)[AGENTS]
    np.testing.assert_array_equal(again.observations["features"], stepped.observed.observations["features"])

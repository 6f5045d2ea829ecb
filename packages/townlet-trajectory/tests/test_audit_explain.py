"""A step is explained from its row, and what was seen is compared with what else the agent saw."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps_by_hand import NAMES, NUMBERS, PARTS, WAIT, array_row, row_of

from townlet_trajectory import MultiDiscrete
from townlet_trajectory.audit.explain import (
    MAX_LISTED,
    RecordedStep,
    arrays_of,
    explain_step,
    moments_of,
    numbers_of,
)
from townlet_trajectory.audit.explanation import Decider, LikelyAction, SeenArray, SeenNumber, StepNames
from townlet_trajectory.audit.explanation_text import explanation_lines
from townlet_trajectory.data.schema import ACTION_MASK
from townlet_trajectory.errors import ShapeError

MASK = np.array([True, True, False])


def test_a_row_by_hand() -> None:
    features = np.array([0.5, 3.0, 1.0], np.float32)
    seen = {"features": features, "map": np.array([[0, 1], [2, 0]], np.float32), ACTION_MASK: MASK}
    step = RecordedStep(
        agent_id="ann", world=2, episode=3, tick=20, observations=seen, columns=row_of(), reward=0.75, end="truncated"
    )
    said = explain_step(NAMES, step)
    assert (said.agent_id, said.world, said.episode, said.tick) == ("ann", 2, 3, 20)
    # `held_eat` shows the option in force, which is said elsewhere.
    assert said.numbers == (SeenNumber(name="hunger", value=0.5), SeenNumber(name="wallet", value=3.0))
    assert said.arrays == (SeenArray(name="map", shape=(2, 2), nonzero=2),)
    assert (said.legal_actions, said.illegal_actions, said.num_actions) == (("wait", "eat"), ("work",), 3)
    assert (said.option, said.expert_action, said.proposer, said.proposal_age) == (None, "eat", "script", 0)
    assert (said.drawn_action, said.chosen_action, said.action) == ("eat", "eat", "eat")
    assert said.policy_probability == pytest.approx(0.2)
    assert said.behavior_probability == pytest.approx(0.8)
    assert (said.value, said.ratio, said.temperature, said.observation_age) == (1.5, 0.25, 1.0, 0)
    assert (said.decider, said.kind, said.source) == (Decider.SCRIPT, "decision", "scripted")
    assert (said.possessed, said.demonstrated, said.veto_reason) == (False, False, None)
    assert (said.reward, said.reward_terms, said.end) == (0.75, {"food": 0.5}, "truncated")
    assert said.why[0].startswith("The blend drew the script")


def test_probabilities_are_those_of_drawn_choices_alone() -> None:
    step = RecordedStep(agent_id="ann", tick=0, observations={}, columns=row_of(kind=1, policy_log_prob=0.0))
    said = explain_step(NAMES, step)
    assert (said.policy_probability, said.behavior_probability) == (None, None)


def test_what_is_far_from_its_mean_comes_first() -> None:
    # hunger: mean 1, standard deviation 1; wallet: mean 2, deviation 0; so 4 is 3 deviations above.
    moments = moments_of([{"features": np.array([[0, 2, 0], [2, 2, 0]], np.float32)}])
    hunger, wallet = numbers_of(NAMES, {"features": np.array([4, 2, 0], np.float32)}, moments)
    assert hunger == SeenNumber(name="hunger", value=4.0, mean=1.0, deviations=3.0)
    assert wallet == SeenNumber(name="wallet", value=2.0, mean=2.0, deviations=0.0)
    names = StepNames(vocabulary=(), feature_names=("wallet", "hunger", "x"))
    moments = moments_of(
        [{"features": np.array([[2, 0, 0]], np.float32)}, {"features": np.array([[2, 2, 0]], np.float32)}]
    )
    named = numbers_of(names, {"features": np.array([2, -1, 0], np.float32)}, moments)
    assert [(one.name, one.deviations) for one in named] == [("hunger", -2.0), ("wallet", 0.0), ("x", 0.0)]


def test_names_of_numbers_without_names() -> None:
    names = StepNames(vocabulary=("wait",))
    seen = {"features": np.array([1, 2], np.float32), "load": np.asarray(3.0, np.float32)}
    assert [one.name for one in numbers_of(names, seen, {})] == ["features[0]", "features[1]", "load"]


def test_long_observations_are_counted_not_listed() -> None:
    long, short = np.ones(MAX_LISTED + 1, np.float32), np.ones(MAX_LISTED, np.float32)
    assert numbers_of(NAMES, {"rays": long}, {}) == ()
    assert len(numbers_of(NAMES, {"rays": short}, {})) == MAX_LISTED
    assert arrays_of({"rays": long, ACTION_MASK: MASK}) == (
        SeenArray(name="rays", shape=(MAX_LISTED + 1,), nonzero=MAX_LISTED + 1),
    )
    assert moments_of([{"rays": long[None], "load": short[None], ACTION_MASK: MASK[None]}]).keys() == {"load"}


def answer_of(log_probs: list[float], **changes: object) -> tuple[tuple[LikelyAction, ...], float, bool | None]:
    step = RecordedStep(
        agent_id="ann", tick=0, observations={}, columns=row_of(**changes), log_probs=np.array(log_probs, np.float32)
    )
    answer = explain_step(NAMES, step).answer
    assert answer is not None
    return answer.top_actions, answer.chosen_log_prob, answer.agrees


def test_a_policy_that_is_asked_again() -> None:
    top, chosen, agrees = answer_of([math.log(0.7), math.log(0.2), math.log(0.1)])
    assert [one.action for one in top] == ["wait", "eat", "work"]
    assert [one.probability for one in top] == pytest.approx([0.7, 0.2, 0.1])
    assert chosen == pytest.approx(math.log(0.2))
    assert agrees is True
    assert answer_of([math.log(0.6), math.log(0.3), math.log(0.1)])[2] is False
    # Of a step that was not drawn no probability is recorded, so there is nothing to compare with.
    assert answer_of([math.log(0.6), math.log(0.3), math.log(0.1)], kind=1)[2] is None
    # Without a column of the choice, that of the executed action.
    assert answer_of([math.log(0.7), math.log(0.2), math.log(0.1)], chosen_action=None, action=WAIT)[1] == (
        pytest.approx(math.log(0.7))
    )


def test_a_row_of_parts_by_hand() -> None:
    seen = {ACTION_MASK: np.array([True, False, True, True, True])}
    columns = array_row(PARTS, [2, 0], expert_action=[0, 1])
    # 0.5, 0.3 and 0.2 of the first part, 0.7 and 0.3 of the second: the choice has 0.2 * 0.7
    log_probs = np.log(np.array([0.5, 0.3, 0.2, 0.7, 0.3])).astype(np.float32)
    step = RecordedStep(agent_id="ann", tick=0, observations=seen, columns=columns, log_probs=log_probs)
    said = explain_step(PARTS, step)
    assert (said.legal_actions, said.illegal_actions) == (
        ("move=stay", "move=south", "hand=open", "hand=closed"),
        ("move=north",),
    )
    assert (said.num_actions, said.actions_are) == (5, "parts")
    assert (said.action, said.expert_action) == ("move=south, hand=open", "move=stay, hand=closed")
    assert said.answer is not None
    assert said.answer.chosen_log_prob == pytest.approx(math.log(0.14))
    assert [one.action for one in said.answer.top_actions] == [
        "move=stay, hand=open",
        "move=north, hand=open",
        "move=stay, hand=closed",
        "move=south, hand=open",
        "move=north, hand=closed",
    ]
    assert [one.probability for one in said.answer.top_actions] == pytest.approx([0.35, 0.21, 0.15, 0.14, 0.09])
    text = "\n".join(explanation_lines(said))
    assert "4 of 5 values of its parts; not move=north" in text
    assert "move=south, hand=open" in text and "chosen, drawn" in text


@given(st.lists(st.integers(2, 4), min_size=1, max_size=3), st.integers(0, 2**32))
def test_the_most_probable_actions_of_parts_are_those_of_all_combinations(sizes: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = StepNames(
        vocabulary=(),
        actions=MultiDiscrete(parts={f"p{k}": tuple(map(str, range(size))) for k, size in enumerate(sizes)}),
    )
    parts = [np.log(rng.dirichlet(np.ones(size))) for size in sizes]
    columns = array_row(names, [0] * len(sizes))
    step = RecordedStep(
        agent_id="ann", tick=0, observations={}, columns=columns, log_probs=np.concatenate(parts).astype(np.float32)
    )
    answer = explain_step(names, step).answer
    assert answer is not None
    every = sorted((math.exp(sum(one)) for one in itertools.product(*parts)), reverse=True)
    assert [one.probability for one in answer.top_actions] == pytest.approx(every[:5], rel=1e-4)


def test_a_row_of_numbers_by_hand() -> None:
    columns = array_row(NUMBERS, [0.25, 1.5], policy_log_prob=1.25)
    step = RecordedStep(agent_id="ann", tick=0, observations={}, columns=columns, chosen_log_prob=1.2501)
    said = explain_step(NUMBERS, step)
    assert (said.num_actions, said.actions_are, said.policy_probability) == (0, "numbers", None)
    assert said.chosen_action == "steer=0.25, throttle=1.5"
    assert said.answer is not None
    assert (said.answer.top_actions, said.answer.chosen_log_prob, said.answer.agrees) == ((), 1.2501, True)
    text = "\n".join(explanation_lines(said))
    assert "log density 1.25 of steer=0.25, throttle=1.5, as recorded" in text
    assert "any action" in text and "1.5: the rewards that the policy expects" in text
    assert "gave" not in "".join(said.why)  # numbers have no probability
    other = explain_step(NUMBERS, replace(step, chosen_log_prob=0.0))
    assert "another one recorded: another policy" in " ".join(" ".join(explanation_lines(other)).split())
    with pytest.raises(ShapeError, match="numbers have no `log_probs` one by one"):
        explain_step(NUMBERS, replace(step, log_probs=np.zeros(4, np.float32)))
    with pytest.raises(ShapeError, match=r"`log_probs` must be \[3\], got None"):
        explain_step(NAMES, RecordedStep(agent_id="a", tick=0, observations={}, columns=row_of(), chosen_log_prob=0.0))


def test_an_answer_for_other_actions_is_refused() -> None:
    step = RecordedStep(agent_id="ann", tick=0, observations={}, columns=row_of(), log_probs=np.zeros(2, np.float32))
    with pytest.raises(ShapeError, match=r"`log_probs` must be \[3\], got \(2,\)"):
        explain_step(NAMES, step)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=30), st.integers(0, 29))
def test_deviations_are_standard_scores(values: list[float], place: int) -> None:
    seen = np.array(values, np.float32)[:, None]
    value = float(seen[place % len(values), 0])
    (number,) = numbers_of(StepNames(vocabulary=()), {"x": np.array([value], np.float32)}, moments_of([{"x": seen}]))
    std = seen.astype(np.float64).std()
    expected = (value - seen.astype(np.float64).mean()) / std if std > 1e-3 else number.deviations
    assert number.deviations == pytest.approx(expected, rel=1e-6, abs=1e-6)
    assert number.deviations is not None
    # A standard score among n numbers is at most √(n - 1).
    assert abs(number.deviations) <= math.sqrt(len(values)) + 1e-6

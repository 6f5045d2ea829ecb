"""All steps of an agent are found, marked, put together in spans, and explained."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps_by_hand import EAT, SCHEMA, WAIT, WORK, trajectory_of
from strategies import NUMBERS, PARTS, array_batch, array_schema

from townlet_trajectory import EpisodeLabel, Trajectory, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.audit.agent_steps import AgentSteps, marks_of, row_of_choice, spans_of, steps_of_agent
from townlet_trajectory.audit.explanation import Decider, StepNames, TickMark
from townlet_trajectory.data.pieces import split_every
from townlet_trajectory.data.schema import Kind, Source
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import DatasetError
from townlet_trajectory.formats.open import OpenDataset

HELD = {"held_action": EAT, "kind": Kind.FORCED}
POSSESSED = {"possessed": True, "source": Source.EXTERNAL, "kind": Kind.FOREIGN}
LIFE: list[dict[str, Any]] = [
    {},  # 10: the script chooses to eat,
    {**HELD, "ticks_left": 2},  # 11: held
    {**HELD, "ticks_left": 1},  # 12: held
    {"source": Source.LEARNED},  # 13: the policy
    {"vetoed": True, "veto_reason": 2, "action": WAIT, "source": Source.LEARNED},  # 14: vetoed
    {**POSSESSED, "demonstrated": True, "chosen_action": WORK, "action": WORK},  # 15: possessed
    {**POSSESSED, "chosen_action": WAIT, "action": WAIT},  # 16: possessed, nothing asked for
    {"proposer": 1, "proposal_age": 2},  # 17: a mind's answer
]


def opened(*trajectories: Trajectory, info: DatasetInfo | None = None, every: int | None = None) -> OpenDataset:
    batch = TrajectoryBatch.from_trajectories(trajectories)
    if every is not None:
        batch = split_every(batch, every)
    return OpenDataset(source=BatchSource(batch, rows_per_block=3), info=DatasetInfo() if info is None else info)


def test_the_steps_that_are_worth_a_look() -> None:
    marked = {mark: (10 + np.flatnonzero(where)).tolist() for mark, where in marks_of(trajectory_of(*LIFE)).items()}
    assert marked == {
        TickMark.VETO: [14],
        TickMark.TAKEOVER: [15, 17],
        TickMark.POSSESSED: [15, 16],
        TickMark.PROPOSER: [17],
        TickMark.SOURCE: [13, 15, 17],
        TickMark.HELD: [11, 12],
    }


def test_a_life_that_begins_possessed_begins_with_a_takeover() -> None:
    assert marks_of(trajectory_of(POSSESSED, {}))[TickMark.TAKEOVER].tolist() == [True, True]


def test_nothing_is_marked_where_a_record_says_nothing() -> None:
    schema = TrajectorySchema(
        observations=SCHEMA.observations,
        decisions={"action": SCHEMA.decisions["action"]},
        vocabulary=SCHEMA.vocabulary,
    )
    whole = trajectory_of(*LIFE)
    bare = replace(whole, schema=schema, columns={"action": whole.columns["action"]})
    assert not any(where.any() for where in marks_of(bare).values())
    (first, *_) = spans_of(bare)
    assert (first.first_tick, first.last_tick, first.decider, first.source) == (10, 13, Decider.UNKNOWN, None)


def test_a_life_in_spans() -> None:
    spans = spans_of(trajectory_of(*LIFE))
    said = [(span.first_tick, span.last_tick, span.action, span.decider, span.reward) for span in spans]
    assert said == [
        (10, 10, "eat", Decider.SCRIPT, 1.0),
        (11, 12, "eat", Decider.COMMITMENT, 5.0),
        (13, 13, "eat", Decider.POLICY, 4.0),
        (14, 14, "wait", Decider.POLICY, 5.0),
        (15, 15, "work", Decider.POSSESSOR, 6.0),
        (16, 16, "wait", Decider.POSSESSOR, 7.0),
        (17, 17, "eat", Decider.SCRIPT, 8.0),
    ]
    assert (spans[3].chosen_action, spans[3].veto_reason, spans[3].marks) == ("eat", "rivalry", (TickMark.VETO,))
    assert (spans[4].demonstrated, spans[5].demonstrated) == (True, False)
    assert spans[6].proposer == "model A"
    assert spans[4].document()["marks"] == ["takeover", "possessed", "source"]
    assert [span.first_tick for span in spans_of(trajectory_of(*LIFE), 2, 5)] == [12, 13, 14]


@given(st.lists(st.sampled_from(LIFE), min_size=1, max_size=20))
def test_spans_hold_every_step_once(life: list[dict[str, Any]]) -> None:
    whole = trajectory_of(*life)
    spans = spans_of(whole)
    ticks = [tick for span in spans for tick in range(span.first_tick, span.last_tick + 1)]
    assert ticks == whole.ticks.tolist()
    assert sum(span.reward for span in spans) == pytest.approx(float(whole.rewards.sum()))
    for mark, where in marks_of(whole).items():
        marked = whole.ticks[where].tolist()
        assert all(
            any(span.first_tick <= tick <= span.last_tick for span in spans if mark in span.marks) for tick in marked
        )
        assert all(
            any(span.first_tick <= tick <= span.last_tick for tick in marked) for span in spans if mark in span.marks
        )


def test_the_choice_that_began_an_option() -> None:
    whole = trajectory_of(*LIFE, {**HELD, "ticks_left": 7})
    begun = [row_of_choice(whole.columns, row) for row in range(len(whole))]
    # The mind's answer of the eighth row began another option to eat.
    assert begun == [None, 0, 0, None, None, None, None, None, 7]
    assert [(span.decider, span.proposer) for span in spans_of(whole)[-2:]] == [
        (Decider.SCRIPT, "model A"),
        (Decider.COMMITMENT, "model A"),
    ]
    steps = AgentSteps(names=StepNames.of(SCHEMA), trajectories=(whole,))
    option = steps.explain(whole, 8).option
    assert option is not None
    assert (option.since, option.proposer, option.ticks_left) == (17, "model A", 7)
    late = trajectory_of(*LIFE[1:])
    assert row_of_choice(late.columns, 1) is None
    assert row_of_choice({}, 0) is None


def test_the_same_option_twice_is_told_apart() -> None:
    whole = trajectory_of({}, {**HELD, "ticks_left": 1}, {}, {**HELD, "ticks_left": 2}, {**HELD, "ticks_left": 1})
    assert [row_of_choice(whole.columns, row) for row in (1, 3, 4)] == [0, 2, 2]


def test_proposals_that_do_not_count_part_no_span() -> None:
    whole = trajectory_of({}, {**HELD, "ticks_left": 2, "proposer": 1}, {**HELD, "ticks_left": 1})
    assert [(span.first_tick, span.last_tick) for span in spans_of(whole)] == [(10, 10), (11, 12)]
    assert not marks_of(whole)[TickMark.PROPOSER].any()


def test_a_step_is_compared_with_all_of_the_agent() -> None:
    first = trajectory_of({}, features=[[0, 0, 0], [9, 9, 9]], truncated=True)
    second = trajectory_of({}, features=[[2, 0, 0], [9, 9, 9]], episode=1, terminated=True)
    steps = steps_of_agent(opened(second, first), "ann")
    assert [one.episode for one in steps.trajectories] == [0, 1]
    said = steps.explain(steps.trajectories[1], 0)
    # The final observation is of no step: hunger has the mean 1 and the deviation 1.
    assert [(one.name, one.mean, one.deviations) for one in said.numbers] == [
        ("hunger", 1.0, 1.0),
        ("wallet", 0.0, 0.0),
    ]
    assert (said.episode, said.tick, said.reward, said.end) == (1, 10, 1.0, "terminated")
    assert steps.explain(steps.trajectories[0], 0).end == "truncated"


def test_pieces_are_one_life() -> None:
    steps = steps_of_agent(opened(trajectory_of(*LIFE), every=2), "ann")
    assert [len(one) for one in steps.trajectories] == [len(LIFE)]
    said = steps.explain(steps.trajectories[0], 2)
    assert said.option is not None
    assert said.option.since == 10
    assert said.end is None
    assert steps.explain(steps.trajectories[0], len(LIFE) - 1).end == "cut"


def test_the_label_of_an_episode_is_said_of_its_steps() -> None:
    labelled = replace(trajectory_of({}, {}), episode_label=EpisodeLabel.FAILURE)
    steps = steps_of_agent(opened(labelled), "ann")
    assert [steps.explain(steps.trajectories[0], row).episode_label for row in (0, 1)] == ["failure", "failure"]
    plain = steps_of_agent(opened(trajectory_of({})), "ann")
    assert plain.explain(plain.trajectories[0], 0).episode_label is None


def test_steps_at_a_tick() -> None:
    steps = steps_of_agent(opened(trajectory_of({}, {}), trajectory_of({}, episode=1)), "ann")
    assert [(one.episode, row) for one, row in steps.find(10)] == [(0, 0), (1, 0)]
    assert [(one.episode, row) for one, row in steps.find(11)] == [(0, 1)]
    assert steps.find(12) == []
    assert (steps.nearest(99), steps.nearest(0)) == (11, 10)


def test_an_agent_is_looked_for() -> None:
    record = opened(
        trajectory_of({}),
        trajectory_of({}, agent_id="bob"),
        trajectory_of({}, agent_id="bob", world=1),
        trajectory_of({}, agent_id="bob", world=1, episode=4),
    )
    with pytest.raises(DatasetError, match=r"^no agent 'bop' in the record; the nearest of its 2 is 'bob'$"):
        steps_of_agent(record, "bop")
    with pytest.raises(DatasetError, match=r"^agent 'bob' lives in 2 worlds \(0, 1\): name one$"):
        steps_of_agent(record, "bob")
    with pytest.raises(DatasetError, match=r"^agent 'bob' has no world 7; the nearest is world 1$"):
        steps_of_agent(record, "bob", world=7)
    with pytest.raises(DatasetError, match=r"^agent 'bob' has no episode 3; the nearest is episode 4$"):
        steps_of_agent(record, "bob", world=1, episode=3)
    assert len(steps_of_agent(record, "bob", world=1).trajectories) == 2
    assert [one.episode for one in steps_of_agent(record, "bob", world=1, episode=4).trajectories] == [4]


def test_an_empty_record_has_no_agent() -> None:
    empty = OpenDataset(source=BatchSource(TrajectoryBatch.empty(SCHEMA)), info=DatasetInfo())
    with pytest.raises(DatasetError, match=r"no agent 'ann' in the record; it has none"):
        steps_of_agent(empty, "ann")
    with pytest.raises(DatasetError, match=r"at least one trajectory"):
        AgentSteps(names=StepNames(vocabulary=()), trajectories=())


def test_names_of_features_from_an_earlier_version() -> None:
    unnamed = replace(SCHEMA, feature_names=())
    older = replace(trajectory_of({}), schema=unnamed)
    beside = DatasetInfo(notes={"feature_names": ["a", "b", "c"]})
    assert steps_of_agent(opened(older, info=beside), "ann").names.feature_names == ("a", "b", "c")
    too_few = DatasetInfo(notes={"feature_names": ["a"]})
    assert steps_of_agent(opened(older, info=too_few), "ann").names.feature_names == ()
    assert steps_of_agent(opened(trajectory_of({}), info=beside), "ann").names.feature_names == SCHEMA.feature_names


def test_numbers_are_put_together_where_they_were_chosen_for_the_same_reason() -> None:
    schema = array_schema(NUMBERS)
    batch = array_batch(schema, (5,), seed=1)
    columns = {name: column.copy() for name, column in batch.columns.items()}
    columns["source"][:] = [0, 0, 0, 1, 1]
    columns["vetoed"][:] = columns["possessed"][:] = columns["demonstrated"][:] = False
    columns["held_action"][:] = -1
    columns["kind"][:] = columns["proposer"][:] = 0
    columns["action"][:] = columns["chosen_action"][:] = [[0, 1], [0.5, 2], [1, 1.5], [-1, 0.5], [-0.5, 0.5]]
    (one,) = replace(batch, columns=columns)
    spans = [(span.first_tick, span.last_tick, span.action) for span in spans_of(one)]
    # Means of 0, 0.5, 1 and of 1, 2, 1.5; then of -1, -0.5 and of 0.5, 0.5.
    assert spans == [(0, 2, "steer=0.5, throttle=1.5 (means)"), (3, 4, "steer=-0.75, throttle=0.5 (means)")]
    assert [span.action for span in spans_of(one, 1, 2)] == ["steer=0.5, throttle=2"]


def test_an_agent_of_parts_is_explained() -> None:
    batch = array_batch(array_schema(PARTS), (4,), seed=1)
    columns = {name: column.copy() for name, column in batch.columns.items()}
    columns["action"][:] = [[0, 0], [0, 0], [1, 1], [1, 1]]
    columns["source"][:] = columns["kind"][:] = columns["proposer"][:] = 0
    columns["vetoed"][:] = columns["possessed"][:] = columns["demonstrated"][:] = False
    columns["held_action"][:], columns["chosen_action"][:] = -1, columns["action"]
    (one,) = replace(batch, columns=columns)
    assert [span.action for span in spans_of(one)] == ["move=stay, hand=open", "move=north, hand=closed"]
    steps = AgentSteps(names=StepNames.of(batch.schema), trajectories=(one,))
    assert steps.explain(one, 3).action == "move=north, hand=closed"

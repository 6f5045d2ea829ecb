"""An explanation fits a screen of 80 columns, and says what the record says."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps_by_hand import EAT, NAMES, WAIT, WORK, row_of, trajectory_of

from townlet_trajectory.audit.agent_steps import AgentSteps, spans_of
from townlet_trajectory.audit.explain import RecordedStep, explain_step
from townlet_trajectory.audit.explanation import StepNames, TickMark
from townlet_trajectory.audit.explanation_text import decided_by, explanation_lines, mark_lines
from townlet_trajectory.data.schema import ACTION_MASK, Kind, Source

LOG_PROBS = np.log(np.array([0.7, 0.2, 0.1], np.float32))


def test_a_screen_by_hand() -> None:
    vetoed = {"vetoed": True, "veto_reason": 2, "action": WAIT, "source": Source.LEARNED, "expert_action": WORK}
    whole = trajectory_of({}, vetoed, features=[[0, 1, 0], [2, 1, 0], [0, 0, 0]], terminated=True)
    steps = AgentSteps(names=NAMES, trajectories=(whole,))
    assert explanation_lines(steps.explain(whole, 1, log_probs=LOG_PROBS)) == [
        "ann at tick 11, world 0, episode 0: wait",
        "",
        "Saw                   value    its mean  deviations",
        "           hunger         2           1        +1.0",
        "           (and 1 more, no further from their means)",
        "           map [2, 2]: 2 of 4 numbers are not 0",
        "Could do   2 of 3 actions; not work",
        "Option     none was in force",
        "Proposed   script        work",
        "           blend drew    eat",
        "           policy gives  20 % to eat",
        "           blend gives   80 % to eat",
        "           settings      ratio 0.25, temperature 1",
        "           value         1.5: the rewards that the policy expects",
        "Policy     wait      70 %",
        "           eat       20 %   chosen, drawn",
        "           work      10 %   by script",
        "           20 % for eat, as recorded",
        "Decided    The blend drew the policy: it has 25 % of the decisions (ratio 0.25).",
        "           The policy gave eat 20 %.",
        "           A guardrail vetoed eat, for the reason `rivalry`: the agent did wait",
        "           instead.",
        "Did        wait, in the place of eat",
        "Came       reward 2: food 0.5",
        "           It ended here: terminated, a true end.",
    ]


def lines_of(**changes: Any) -> list[str]:
    seen = {ACTION_MASK: np.array([False, True, False])}
    step = RecordedStep(agent_id="ann", tick=20, observations=seen, columns=row_of(**changes))
    return explanation_lines(explain_step(NAMES, step))


def test_the_parts_of_other_steps() -> None:
    held = lines_of(kind=Kind.FORCED, held_action=EAT, ticks_left=1, observation_age=2, expert_action=-1, proposer=-1)
    assert "Option     eat, 1 tick left" in held
    assert "Proposed   script      nothing" in held
    assert "           settings    ratio 0.25, temperature 1, reaction delay 2 ticks" in held
    assert not any("policy gives" in line for line in held if line.startswith("           "))
    asked = lines_of(proposer=1, proposal_age=3)
    assert "Proposed   model A       eat (from what it saw 3 ticks before)" in asked
    assert "Saw        nothing is recorded" in asked
    assert "Could do   1 of 3 actions: eat" in asked
    assert "Came       not known yet" in asked


def test_another_policy_is_told() -> None:
    step = RecordedStep(
        agent_id="ann", tick=0, observations={}, columns=row_of(policy_log_prob=-3.0), log_probs=LOG_PROBS
    )
    said = explanation_lines(explain_step(NAMES, step))
    assert "           20 % for eat, and 4.98 % recorded: another policy" in said


def test_numbers_without_means_are_those_that_are_not_zero() -> None:
    step = RecordedStep(
        agent_id="ann", tick=0, observations={"x": np.array([0, 2, 0], np.float32)}, columns=row_of(reward_food=0.0)
    )
    said = explanation_lines(explain_step(StepNames(vocabulary=("wait", "eat", "work")), step))
    assert said[2:4] == ["Saw        x[1]         2", "           (and 2 more, 0)"]
    assert "Could do   any of 3 actions" in said


def test_a_label_is_said() -> None:
    step = RecordedStep(
        agent_id="ann", tick=0, observations={}, columns=row_of(), reward=1.0, episode_label="success", end="terminated"
    )
    assert explanation_lines(explain_step(NAMES, step))[-2:] == [
        "           It ended here: terminated, a true end.",
        "           The whole episode is labelled success.",
    ]


@pytest.mark.parametrize("end", ["terminated", "truncated", "cut"])
def test_ends(end: str) -> None:
    step = RecordedStep(agent_id="ann", tick=0, observations={}, columns=row_of(), reward=1.0, end=end)
    assert explanation_lines(explain_step(NAMES, step))[-1].startswith("           ")


def test_what_a_record_does_not_say_is_not_made_up() -> None:
    bare = dict.fromkeys(row_of()) | {"action": EAT}
    said = lines_of(**bare)
    assert "Option     not recorded" in said
    assert "Proposed   not recorded" in said
    assert "Decided    The record does not say who decided." in said
    assert "Did        eat" in said
    # What it does say is shown.
    assert "Proposed   script  work" in lines_of(**bare | {"expert_action": WORK})


def test_who_decided_spans() -> None:
    possessed = {"possessed": True, "source": Source.EXTERNAL, "kind": Kind.FOREIGN}
    held = {"held_action": EAT, "ticks_left": 2, "kind": Kind.FORCED, "source": Source.LEARNED}
    rows: list[dict[str, Any]] = [
        {},
        {"proposer": 1},
        {"source": Source.LEARNED},
        held,
        {"kind": Kind.FORCED},
        possessed,
        {"source": Source.EXTERNAL, "kind": Kind.FOREIGN},
    ]
    assert [decided_by(span) for span in spans_of(trajectory_of(*rows))] == [
        "script",
        "model A",
        "policy",
        "held, by policy",
        "only legal action",
        "possessor",
        "another program",
    ]


def test_marks_name_their_first_ticks() -> None:
    marked = {TickMark.VETO: [3], TickMark.HELD: [1, 2, 3, 7, 9, 10]}
    assert mark_lines(marked) == [
        "  vetoes                          1   3",
        "  an option was held              6   1-3, 7, 9-10",
    ]
    (line,) = mark_lines({TickMark.SOURCE: list(range(0, 40, 2))})
    assert line.endswith("20   0, 2, 4, 6, 8, 10, 12, 14, ...")


@given(
    st.integers(1, 90),
    st.text(min_size=1, max_size=30),
    st.integers(0, 2),
    st.booleans(),
    st.floats(-(2.0**99), 2.0**99, width=32),
)
def test_a_screen_is_80_columns_and_40_lines(
    num_actions: int, agent_id: str, source: int, vetoed: bool, value: float
) -> None:
    keys = tuple(f"request:object_{number}:nearest" for number in range(num_actions))
    names = StepNames(vocabulary=keys, feature_names=tuple(f"feature_{number}_of_many" for number in range(60)))
    seen = {"features": np.full(60, value, np.float32), ACTION_MASK: np.arange(num_actions) % 2 == 0}
    step = RecordedStep(
        agent_id=agent_id,
        tick=20,
        observations=seen,
        columns=row_of(source=source, vetoed=vetoed, veto_reason=1),
        log_probs=np.full(num_actions, -1.0, np.float32) if num_actions > 1 else None,
    )
    lines = explanation_lines(explain_step(names, step))
    assert len(lines) <= 40
    assert all(len(line) <= 80 and line.isprintable() for line in lines[1:])

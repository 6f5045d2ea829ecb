"""Checkpoints that a run may go back to, and the gates that decide about its candidate."""

from dataclasses import replace

from test_checkpoint import EVALUATION, GATE, STATE

HISTORY = STATE.history


def test_the_gates_are_those_of_the_evaluations() -> None:
    without = replace(EVALUATION, gate=None)
    assert replace(HISTORY, evaluations=(EVALUATION, without, EVALUATION)).gates == (GATE, GATE)


def test_a_history_protects_the_checkpoints_it_may_go_back_to() -> None:
    assert HISTORY.protected == {96, 64, 32}
    assert HISTORY.candidate == 64
    without_best = replace(HISTORY, best=None, clone=None)
    assert (without_best.protected, without_best.candidate) == ({96}, 96)


def test_the_gates_of_the_candidate_are_the_first_its_own_and_the_one_that_ended_the_run() -> None:
    gates = {name: replace(GATE, name=name) for name in ("cloned", "own", "other", "alone")}
    evaluations = tuple(
        replace(EVALUATION, env_steps=env_steps, gate=gates[name])
        for env_steps, name in ((32, "cloned"), (64, "own"), (96, "other"))
    )
    history = replace(HISTORY, evaluations=evaluations, failure=gates["alone"])
    assert [gate.name for gate in history.candidate_gates] == ["cloned", "own", "alone"]
    # Each is named once.
    assert [gate.name for gate in replace(history, failure=gates["own"]).candidate_gates] == ["cloned", "own"]

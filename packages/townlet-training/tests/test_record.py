"""Records of other policies: whose decisions they are, by hand and by a twin, and the bound of their weights."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from acting import acted_kind, without_memory_of_others
from hypothesis import given
from hypothesis import strategies as st
from kinds import network_of
from numpy.testing import assert_allclose, assert_array_equal
from strategies import (
    DECISION,
    FORCED,
    FOREIGN,
    KINDS,
    LENGTHS,
    PLAIN,
    acted_batch,
    batch_of,
    blank_network,
    blended_pair,
    learner_of,
    make_network,
    replaced,
    spread_out,
    weights_of,
)

from townlet_training.errors import EmptyBatchError, NonFiniteError, ShapeError
from townlet_training.learning.batch import freeze_statistics
from townlet_training.learning.objective import importance_weights
from townlet_training.learning.record import as_decided_by, decisions_of, freeze_to_record, is_classic
from townlet_trajectory import ArraySpec, Source, TrajectoryBatch


def classic(batch: TrajectoryBatch, log_probs: list[float] | None = None) -> TrajectoryBatch:
    """`batch` as a capture of the original holds it."""
    behavior = batch.columns["behavior_log_prob"] if log_probs is None else np.array(log_probs, np.float32)
    columns = {
        "action": batch.columns["chosen_action"],
        "old_log_probs": behavior.astype(np.float32),
        "value_preds": np.full(batch.num_steps, 1e6, np.float32),
    }
    specs = {"action": ArraySpec("int64"), "old_log_probs": ArraySpec("float32"), "value_preds": ArraySpec("float32")}
    return replace(batch, schema=replace(batch.schema, decisions=specs), columns=columns)


def test_the_losses_of_a_classic_capture_by_hand() -> None:
    # π = 1/2 everywhere, μ = 3/4 and 1/4: w = 2/3 and 2, so that -(1/2) (2/3 · 1 + 2 · 3) = -10/3; the targets are w r
    # from V = 0, and not from the recorded `value_preds` of a million.
    capture = classic(blended_pair())
    update = learner_of(blank_network(), PLAIN).replay(capture)
    assert update.policy_loss == pytest.approx(-10 / 3, rel=1e-6)
    assert update.value_loss == pytest.approx((4 / 9 + 36) / 2, rel=1e-6)
    assert update.kickstart_loss == 0.0
    assert (update.num_decisions, update.num_transitions) == (2, 2)


def test_the_weights_are_of_the_network_that_learns_now() -> None:
    # μ = 0.05 under a uniform π of 1/2 is a weight of 10, the bound of β_min = 0.1; with β_min = 0.2, of 5.
    capture = classic(blended_pair(), [math.log(0.05), math.log(0.01)])
    update = learner_of(blank_network(), PLAIN).replay(capture)
    assert update.policy_loss == pytest.approx(-(10 * 1.0 + 10 * 3.0) / 2, rel=1e-5)
    update = learner_of(blank_network(), replace(PLAIN, min_ratio=0.2)).replay(capture)
    assert update.policy_loss == pytest.approx(-(5 * 1.0 + 5 * 3.0) / 2, rel=1e-5)


@pytest.mark.parametrize("ratio", [0.3, 1.0])
@pytest.mark.parametrize("masked", [False, True])
def test_a_batch_of_its_own_teaches_as_an_update_does(ratio: float, masked: bool) -> None:
    network, twin = (spread_out(make_network()) for _ in range(2))
    batch = acted_batch(network, lengths=LENGTHS, ratio=ratio, masked=masked, kind=KINDS)
    ours, theirs = learner_of(network, PLAIN).replay(batch), learner_of(twin, PLAIN).update(batch)
    assert vars(ours) == pytest.approx(vars(theirs), rel=1e-5, abs=1e-6)
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert_allclose(one.detach(), other.detach(), rtol=1e-5, atol=1e-6)


def test_weights_of_a_record_whose_probabilities_were_the_network_s_are_one() -> None:
    network = spread_out(make_network())
    batch = as_decided_by(network, classic(acted_batch(network, lengths=LENGTHS)))
    rho, trace = importance_weights(batch, min_ratio=0.1)
    assert_allclose(rho, 1.0, atol=1e-5)
    assert_allclose(trace, 1.0, atol=1e-5)


def test_a_record_says_the_same_whoever_reads_it_but_for_the_policy() -> None:
    # The stale probabilities of another network are replaced; an on-policy update refuses them.
    network, other = spread_out(make_network()), spread_out(make_network(), seed=5)
    batch = acted_batch(other, lengths=LENGTHS, ratio=0.5, kind=KINDS)
    seen = as_decided_by(network, batch)
    assert_array_equal(seen.columns["behavior_log_prob"], batch.columns["behavior_log_prob"])
    assert_array_equal(seen.columns["kind"], KINDS)
    observations = {name: batch.observations[name] for name in network.observation_shapes}
    log_probs, _ = network.act(observations, None)
    for row, kind in enumerate(KINDS):  # a twin, row by row
        expected = log_probs[row, batch.columns["chosen_action"][row]] if kind == DECISION else 0.0
        assert seen.columns["policy_log_prob"][row] == pytest.approx(expected, abs=1e-5)
    assert learner_of(network, PLAIN).replay(batch).num_decisions == int((KINDS == DECISION).sum())


def test_the_recorded_values_of_a_capture_change_nothing() -> None:
    network, twin = (spread_out(make_network()) for _ in range(2))
    capture = classic(acted_batch(network, lengths=LENGTHS))
    other = replace(capture, columns={**capture.columns, "value_preds": np.zeros(capture.num_steps, np.float32)})
    learner_of(network, PLAIN).replay(capture)
    learner_of(twin, PLAIN).replay(other)
    assert weights_of(network) == weights_of(twin)


@given(seed=st.integers(0, 2**16), least=st.floats(0.05, 1.0), spread=st.floats(0.0, 60.0))
def test_no_weight_exceeds_the_bound_however_unlikely_the_record(seed: int, least: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    network = spread_out(make_network(), seed=seed)
    batch = acted_batch(network, lengths=LENGTHS, seed=seed)
    capture = classic(batch, list(-rng.uniform(0.0, spread, batch.num_steps)))
    rho, trace = importance_weights(as_decided_by(network, capture), min_ratio=least)
    assert (rho >= 0.0).all() and (rho <= (1.0 + 1e-9) / least).all()
    assert (trace <= 1.0).all()


@given(seed=st.integers(0, 2**16))
def test_the_order_of_trajectories_does_not_matter(seed: int) -> None:
    network = spread_out(make_network())
    capture = classic(acted_batch(spread_out(make_network(), seed=7), lengths=LENGTHS, seed=seed))
    order = np.random.default_rng(seed).permutation(len(capture))
    turned = TrajectoryBatch.concatenate([capture.select(np.array([index])) for index in order])
    ours = learner_of(network, PLAIN).replay(capture)
    theirs = learner_of(spread_out(make_network()), PLAIN).replay(turned)
    assert vars(ours) == pytest.approx(vars(theirs), rel=1e-4, abs=1e-5)


def scripted_batch() -> TrajectoryBatch:
    """Four rows at ratio 0: of the script, of the script while possessed, of a possessor, and forced."""
    batch = batch_of(
        lengths=[4],
        rewards=[1.0, 1.0, 1.0, 1.0],
        terminated=[True],
        kind=[FOREIGN, FOREIGN, FOREIGN, FORCED],
        source=[Source.SCRIPTED, Source.SCRIPTED, Source.EXTERNAL, Source.SCRIPTED],
        possessed=[False, True, True, False],
        action=[1, 0, 1, 1],
        chosen_action=[1, 0, 1, 1],
        expert_action=[1, 0, 0, 1],
    )
    assert not batch.columns["ratio"].any()
    return batch


def test_what_the_script_alone_decided_had_the_probability_1() -> None:
    found = decisions_of(scripted_batch())
    assert found["kind"].tolist() == [DECISION, FOREIGN, FOREIGN, FORCED]
    seen = as_decided_by(blank_network(), scripted_batch())
    # π/μ = (1/2) / 1, and 0 where nobody knows.
    assert_allclose(importance_weights(seen, min_ratio=0.1)[0], [0.5, 0.0, 0.0, 1.0])


@pytest.mark.parametrize("column", ["ratio", "source", "expert_action"])
def test_a_small_share_of_the_policy_is_no_script_alone(column: str) -> None:
    other = {"ratio": 0.05, "source": Source.LEARNED, "expert_action": 0}[column]
    batch = replaced(scripted_batch(), np.array([True, False, False, False]), **{column: other})
    assert FOREIGN == decisions_of(batch)["kind"][0]


def test_a_record_without_a_decision_teaches_nothing() -> None:
    with pytest.raises(EmptyBatchError, match="all 2 rows are foreign"):
        learner_of(blank_network(), PLAIN).replay(replaced(blended_pair(), np.full(2, True), kind=FOREIGN, ratio=0.05))


def test_an_update_names_what_a_classic_capture_lacks_and_who_takes_it() -> None:
    missing = r"\['kind', 'chosen_action', 'expert_action', 'policy_log_prob', 'behavior_log_prob'\]"
    with pytest.raises(ShapeError, match=rf"needs the columns {missing}.*PPOLearner\.replay"):
        learner_of(blank_network(), PLAIN).update(classic(blended_pair()))


def test_a_record_without_probabilities_is_refused_by_name() -> None:
    capture = classic(blended_pair())
    specs = {"action": ArraySpec("int64")}
    bare = replace(
        capture, schema=replace(capture.schema, decisions=specs), columns={"action": capture.columns["action"]}
    )
    with pytest.raises(ShapeError, match=r"'behavior_log_prob'\] are missing.*`old_log_probs`"):
        learner_of(blank_network(), PLAIN).replay(bare)


@pytest.mark.parametrize("value", [math.nan, -math.inf, math.inf])
def test_a_probability_that_is_not_finite_names_its_agent(value: float) -> None:
    network = blank_network()
    before = weights_of(network)
    with pytest.raises(NonFiniteError, match=r"row 1 \(agent 'a1', tick 10\)"):
        learner_of(network, PLAIN).replay(classic(blended_pair(), [0.0, value]))
    assert weights_of(network) == before


def test_an_action_beyond_the_vocabulary_names_its_agent() -> None:
    capture = classic(blended_pair())
    wrong = replace(capture, columns={**capture.columns, "action": np.array([0, 2])})
    with pytest.raises(ShapeError, match=r"must be in \[0, 2\), got 2 in row 1 \(agent 'a1'"):
        learner_of(blank_network(), PLAIN).replay(wrong)


def test_which_record_is_classic() -> None:
    assert is_classic(classic(blended_pair())) and not is_classic(blended_pair())


def test_statistics_of_a_record_in_parts_are_those_of_the_whole() -> None:
    batch = acted_batch(make_network(), lengths=LENGTHS)
    whole, parts = make_network(), make_network()
    freeze_statistics(whole, batch, discount=0.9)
    freeze_to_record(
        parts, (batch.select(np.array([index])) for index in range(len(batch))), discount=0.9, normalizer=True
    )
    for name in ("observation_mean", "observation_std", "value_scale"):
        assert_allclose(parts.state_dict()[name], whole.state_dict()[name], rtol=1e-5)


def test_a_record_leaves_the_normalization_of_a_clone_alone() -> None:
    network = make_network()
    batch = acted_batch(network, lengths=LENGTHS)
    freeze_to_record(network, [batch], discount=0.9, normalizer=False)
    assert not network.observation_mean.any() and float(network.value_scale) != 1.0
    silent = replace(batch, rewards=np.zeros_like(batch.rewards))
    freeze_to_record(network, [silent], discount=0.9, normalizer=False)
    assert float(network.value_scale) == 1.0
    with pytest.raises(EmptyBatchError, match="at least one row"):
        freeze_to_record(network, [], discount=0.9, normalizer=False)


KINDS_OF_NETWORK = ["parts", "clipped", "squashed", "gru", "gru_numbers", "frames", "shared", "seeing_central_gru"]


@pytest.mark.parametrize("kind", KINDS_OF_NETWORK)
def test_a_batch_of_its_own_teaches_a_network_of_every_kind_as_an_update_does(kind: str) -> None:
    network, twin = network_of(kind), network_of(kind)
    batch = acted_kind(network, kind, lengths=LENGTHS, foreign=0.3)
    # Small steps: Adam's own are the sign of gradients, of which those near 0 may differ.
    config = replace(PLAIN, adam_eps=1.0, sequence_length=4)
    ours, theirs = learner_of(network, config).replay(batch), learner_of(twin, config).update(batch)
    assert vars(ours) == pytest.approx(vars(theirs), rel=1e-4, abs=1e-5)
    for one, other in zip(network.parameters(), twin.parameters(), strict=True):
        assert_allclose(one.detach(), other.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["gru", "frames"])
def test_a_memory_steps_through_a_record_as_the_network_has_it_now(kind: str) -> None:
    network, other = network_of(kind), network_of(kind, seed=9)
    batch = acted_kind(other, kind, lengths=(3, 4))
    seen = as_decided_by(network, batch)
    for first, last in ((0, 3), (3, 7)):  # a twin, row by row
        state = np.array(batch.columns["policy_state"][first : first + 1], np.float32)
        for row in range(first, last):
            assert_allclose(seen.columns["policy_state"][row], state[0], rtol=1e-5, atol=1e-5)
            now = {name: np.asarray(batch.observations[name][row : row + 1]) for name in network.input_shapes}
            mask = np.asarray(batch.observations["action_mask"][row : row + 1], np.bool_)
            log_probs, _, state = network.act(now, mask, state)
            expected = log_probs[0, batch.columns["chosen_action"][row]]
            assert seen.columns["policy_log_prob"][row] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    forgotten = as_decided_by(network, without_memory_of_others(batch))
    assert not forgotten.columns["policy_state"][[0, 3]].any() and forgotten.columns["policy_state"][[1, 4]].any()
    assert learner_of(network, PLAIN).replay(without_memory_of_others(batch)).num_decisions == 7


def test_a_script_is_sure_of_its_parts_and_has_no_density() -> None:
    for kind, alone in (("parts", True), ("clipped", False)):
        batch = acted_kind(network_of(kind), kind, lengths=(4,))
        expert = np.array(batch.columns["expert_action"])
        expert[3] = 1
        chosen = expert.copy()
        chosen[2] += 1 - 2 * (chosen[2] > 0)  # another action than the script's
        foreign = replaced(
            batch, np.full(4, True), kind=FOREIGN, ratio=0.0, expert_action=expert, chosen_action=chosen, proposer=0
        )
        kinds = decisions_of(foreign)["kind"].tolist()
        assert kinds == ([DECISION, DECISION, FOREIGN, DECISION] if alone else [FOREIGN] * 4)

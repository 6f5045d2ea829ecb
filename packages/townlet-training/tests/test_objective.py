"""Advantages: numbers by hand, a definition in plain Python, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from strategies import DECISION, FORCED, FOREIGN, Valued, batch_of, valued_batches
from torch import Tensor
from torch.testing import assert_close

from townlet_training.errors import ConfigError, EmptyBatchError, NonFiniteError, ShapeError
from townlet_training.learning.objective import (
    advantages_of,
    balanced_weights,
    clipped_surrogate,
    gae,
    importance_weights,
    is_clipped,
    policy_divergence,
    return_scale,
    squared_value_error,
    truncated_share,
    vtrace,
    weighted_cross_entropy,
)
from townlet_trajectory import ArraySpec, TrajectorySchema, TrajectoryService, default_decision_columns

unit = st.floats(0.0, 1.0)


def column(*numbers: float) -> NDArray[np.float64]:
    return np.array(numbers, np.float64)[:, None]


def test_gae_by_hand() -> None:
    # δ_1 = 3 + 0 - 2 = 1 (terminated: 9 is not seen);  Â_1 = 1
    # δ_0 = 1 + 0.5 · 2 - 4 = -2;  Â_0 = -2 + 0.5 · 0.25 · 1 = -1.875
    estimates = gae(column(1, 3), column(4, 2, 9), np.array([[False], [True]]), discount=0.5, lambda_=0.25)
    assert_allclose(estimates.advantages, column(-1.875, 1.0))
    assert_allclose(estimates.value_targets, column(2.125, 3.0))


def test_gae_bootstraps_a_fragment_that_was_cut_off() -> None:
    # Â_0 = 1 + 0.5 · 8 - 4 = 1
    estimates = gae(column(1), column(4, 8), np.array([[False]]), discount=0.5, lambda_=0.25)
    assert_allclose(estimates.advantages, column(1.0))


def test_a_run_that_is_finished_bootstraps_with_the_value_after_its_last_tick() -> None:
    """`ann` goes on after the last tick, `bob` terminates in it; V is what an agent sees."""
    schema = TrajectorySchema(
        observations={"x": ArraySpec("float32")}, decisions=default_decision_columns(), vocabulary=("go",)
    )
    service, slots, zeros = TrajectoryService(schema, max_rows=10), np.arange(2), np.zeros(2, np.int64)
    ids = np.array(["ann", "bob"], object)
    columns = {name: np.zeros(2, spec.numpy_dtype) for name, spec in schema.decisions.items()}
    columns["ratio"][:] = 1.0
    service.begin_tick(0, slots, {"x": np.float32([4, 4])}, agent_ids=ids, worlds=zeros, episodes=zeros)
    service.record_decisions(columns)
    nobody, bob = np.zeros(2, np.bool_), {"final_rows": slots[1:], "final_observations": {"x": np.float32([7])}}
    service.record_outcome(np.float32([1, 1]), np.array([False, True]), nobody, **bob)
    service.finish({"x": np.float32([8])})
    batch = service.collect()
    values, final_values = batch.observations["x"], batch.final_observations["x"]
    estimates = advantages_of(batch, values, final_values, discount=0.5, lambda_=0.25, min_ratio=0.1)
    # ann: 1 + 0.5 · 8 - 4 = 1, as a fragment that was cut off;  bob: 1 - 4 = -3
    assert_allclose(estimates.advantages, [1.0, -3.0])


def test_gae_keeps_fragments_apart() -> None:
    # Left column as by hand above; right: δ_1 = 1, Â_1 = 1; δ_0 = 0, Â_0 = 0.125.
    estimates = gae(
        np.array([[1.0, 0.0], [3.0, 1.0]]),
        np.array([[4.0, 0.0], [2.0, 0.0], [9.0, 0.0]]),
        np.array([[False, False], [True, False]]),
        discount=0.5,
        lambda_=0.25,
    )
    assert_allclose(estimates.advantages, [[-1.875, 0.125], [1.0, 1.0]])


def test_vtrace_by_hand() -> None:
    # δ = [1 + 0.5 · 2 - 4, 3 + 0.5 · 8 - 2] = [-2, 5];  e_1 = 3 · 5 = 15
    # e_0 = 0.5 · (-2) + 0.5 · 0.2 · 0.25 · 15 = -0.625;  Â_0 = -2 + 0.5 · 0.25 · 15 = -0.125;  Â_1 = 5
    estimates = vtrace(
        column(1, 3),
        column(4, 2, 8),
        np.array([[False], [False]]),
        rho=column(0.5, 3),
        trace=column(0.2, 1),
        decay=column(0.25, 0.7),
        discount=0.5,
    )
    assert_allclose(estimates.advantages, column(-0.125, 5.0))
    assert_allclose(estimates.value_targets, column(3.375, 17.0))


def test_a_decision_that_lasts_three_ticks_by_hand() -> None:
    # A decision held for 2 more ticks, then a decision. γ = 0.5, λ = 0.25, on policy.
    # Second decision: Â_3 = e_3 = 2 + 0 - 1 = 1 (terminated).
    # First: Â_0 = 1 + 0.5 · 1 + 0.25 · 1 + 0.125 · (1 + 0.25 · 1) - 3 = -1.09375: λ once, whatever V is in between.
    batch = batch_of(lengths=[4], rewards=[1, 1, 1, 2], terminated=[True], kind=[DECISION, FORCED, FORCED, DECISION])
    values = np.array([3.0, 70.0, -70.0, 1.0])
    estimates = advantages_of(batch, values, np.array([9.0]), discount=0.5, lambda_=0.25, min_ratio=0.1)
    assert_allclose(estimates.advantages[[0, 3]], [-1.09375, 1.0])
    assert_allclose(estimates.value_targets[[0, 3]], [1.90625, 2.0])


def test_a_foreign_step_is_worth_what_the_critic_says_by_hand() -> None:
    # Â_0 = 1 + 0.5 · 4 - 1 = 2, whatever was earned later; the foreign step keeps its value as target.
    batch = batch_of(lengths=[3], rewards=[1, 100, 100], terminated=[True], kind=[DECISION, FOREIGN, DECISION])
    estimates = advantages_of(
        batch, np.array([1.0, 4.0, 7.0]), np.array([9.0]), discount=0.5, lambda_=0.9, min_ratio=0.1
    )
    assert_allclose(estimates.advantages[0], 2.0)
    assert_allclose(estimates.value_targets[:2], [3.0, 4.0])


def test_importance_weights_by_hand() -> None:
    # β = 0.25, π = 0.2. Against the script: μ = 0.05, π/μ = 4. With it: μ = 0.8, π/μ = 0.25.
    batch = batch_of(
        lengths=[5],
        rewards=np.zeros(5),
        terminated=[True],
        kind=[DECISION, DECISION, FORCED, FOREIGN, DECISION],
        # Whatever is recorded at forced and foreign steps is not looked at.
        policy_log_prob=[math.log(0.2), math.log(0.2), -3, -3, -np.inf],
        behavior_log_prob=[math.log(0.05), math.log(0.8), -1, -1, math.log(0.75)],
    )
    rho, trace = importance_weights(batch, min_ratio=0.1)
    assert_allclose(rho, [4.0, 0.25, 1.0, 0.0, 0.0], rtol=1e-6)
    assert_allclose(trace, [1.0, 0.25, 1.0, 0.0, 0.0], rtol=1e-6)
    assert_allclose(importance_weights(batch, min_ratio=0.5)[0][0], 2.0)


def test_the_share_of_truncated_weights_by_hand() -> None:
    # 1/β_min = 4. Of three decisions one has π/μ = 0.8/0.1 = 8; one has 4, to rounding, and is not truncated.
    batch = batch_of(
        lengths=[5],
        rewards=np.zeros(5),
        terminated=[True],
        kind=[DECISION, DECISION, DECISION, FOREIGN, FORCED],
        policy_log_prob=[math.log(0.8), math.log(0.2), -2.0, 9.0, 9.0],
        behavior_log_prob=[math.log(0.1), math.log(0.05), -1.0, 0.0, 0.0],
    )
    assert truncated_share(batch, min_ratio=0.25) == pytest.approx(1 / 3)
    assert truncated_share(batch, min_ratio=0.1) == 0.0
    nothing = batch_of(lengths=[1], rewards=[0], terminated=[True], kind=[FOREIGN])
    assert truncated_share(nothing, min_ratio=0.25) == 0.0


def test_weights_of_tempered_draws_undo_temperature_and_blend() -> None:
    # Σ_a μ(a) w(a) f(a) = Σ_a π(a) f(a), for μ = β π_τ + (1 - β) 1[a = script], where no weight is truncated.
    policy = np.array([[0.5, 0.3, 0.2]], np.float32)
    log_policy = np.log(policy)
    for temperature in (0.5, 1.0, 2.0):
        powers = policy.astype(np.float64) ** (1 / temperature)
        mu = 0.4 * powers / powers.sum() + 0.6 * np.array([0.0, 1.0, 0.0])
        batch = batch_of(
            lengths=[3],
            rewards=np.zeros(3),
            terminated=[True],
            kind=[DECISION] * 3,
            policy_log_prob=log_policy[0].tolist(),
            behavior_log_prob=np.log(mu[0]).tolist(),
        )
        rho, _ = importance_weights(batch, min_ratio=0.01)
        assert_allclose(mu[0] * rho, policy[0], rtol=1e-6)


def test_return_scale_by_hand() -> None:
    # Returns with γ = 0.5: 1 + 0.5 · 2 = 2, 2;  then 4 alone: sqrt((4 + 4 + 16) / 3) = sqrt(8).
    batch = batch_of(lengths=[2, 1], rewards=[1, 2, 4], terminated=[True, False])
    assert return_scale(batch, discount=0.5) == pytest.approx(math.sqrt(8.0))
    assert return_scale(batch_of(lengths=[1], rewards=[0], terminated=[True]), discount=0.5) == 1.0
    # Too small for float32: about 1e-45 over the root of 10,000.
    small = batch_of(lengths=[10_000], rewards=[0.0] * 9_999 + [1e-45], terminated=[True])
    assert return_scale(small, discount=0.5) == 1.0
    # -3e38 - 3e38 and -3e38: the root of (36 + 9) / 2 is 4.7e38.
    large = batch_of(lengths=[2], rewards=[-3e38, -3e38], terminated=[True])
    origin = r"return scale: 4.74e\+38 is too large for float32; the largest reward is -3e\+38 \(agent 'a0', tick 0\)"
    with pytest.raises(NonFiniteError, match=origin):
        return_scale(large, discount=1.0)
    with pytest.raises(EmptyBatchError, match="at least one row"):
        return_scale(batch.select(np.zeros(0, np.int64)), discount=0.5)


class Definition:
    """Advantages of one trajectory as options define them (Sutton, Precup & Singh 1999), by recursion on decisions."""

    def __init__(self, valued: Valued, index: int, *, discount: float, lambda_: float, min_ratio: float) -> None:
        trajectory = valued.batch.trajectory(index)
        rows = slice(valued.batch.offsets[index], valued.batch.offsets[index + 1])
        end = 0.0 if trajectory.terminated else float(valued.final_values[index])
        self.rewards = [float(reward) for reward in trajectory.rewards]
        self.values = [*map(float, valued.values[rows]), end]
        self.kinds = [int(kind) for kind in trajectory.columns["kind"]]
        self.ratios = [
            math.exp(float(policy) - float(behavior))
            for policy, behavior in zip(
                trajectory.columns["policy_log_prob"], trajectory.columns["behavior_log_prob"], strict=True
            )
        ]
        self.discount, self.lambda_, self.min_ratio = discount, lambda_, min_ratio

    def advantage(self, step: int) -> float:
        """Σ_{j<k} γ^j r_{t+j} + γ^k (V + λ e)_{t+k} - V_t, k the ticks until the next step that is not forced."""
        total, duration = 0.0, 0
        while True:
            total += self.discount**duration * self.rewards[step + duration]
            duration += 1
            after = step + duration
            if after == len(self.rewards):
                return total + self.discount**duration * self.values[after] - self.values[step]
            if self.kinds[after] != FORCED:
                later = self.values[after] + self.lambda_ * self.error(after)
                return total + self.discount**duration * later - self.values[step]

    def error(self, step: int) -> float:
        """What the value is wrong by: ρ of the first tick, c of what follows it."""
        if self.kinds[step] == FOREIGN:
            return 0.0
        first = self.rewards[step] + self.discount * self.values[step + 1] - self.values[step]
        rest = self.advantage(step) - first
        if self.kinds[step] == FORCED:
            return first + rest
        return min(1.0 / self.min_ratio, self.ratios[step]) * first + min(1.0, self.ratios[step]) * rest


@given(valued_batches(), unit, unit, st.floats(0.1, 1.0))
def test_equal_to_the_definition(valued: Valued, discount: float, lambda_: float, min_ratio: float) -> None:
    batch = valued.batch
    estimates = advantages_of(
        batch, valued.values, valued.final_values, discount=discount, lambda_=lambda_, min_ratio=min_ratio
    )
    for index in range(len(batch)):
        definition = Definition(valued, index, discount=discount, lambda_=lambda_, min_ratio=min_ratio)
        first = int(batch.offsets[index])
        for step in range(int(batch.lengths[index])):
            row = first + step
            assert estimates.advantages[row] == pytest.approx(definition.advantage(step), rel=1e-9, abs=1e-9)
            target = valued.values[row] + definition.error(step)
            assert estimates.value_targets[row] == pytest.approx(target, rel=1e-9, abs=1e-9)


@given(valued_batches(kinds=[DECISION], on_policy=True), unit, unit)
def test_on_policy_without_commitments_it_is_gae(valued: Valued, discount: float, lambda_: float) -> None:
    batch = valued.batch
    estimates = advantages_of(
        batch, valued.values, valued.final_values, discount=discount, lambda_=lambda_, min_ratio=0.1
    )
    for index in range(len(batch)):
        rows = slice(batch.offsets[index], batch.offsets[index + 1])
        terminated = np.zeros((int(batch.lengths[index]), 1), np.bool_)
        terminated[-1] = batch.terminated[index]
        expected = gae(
            batch.rewards[rows, None].astype(np.float64),
            np.append(valued.values[rows], valued.final_values[index])[:, None],
            terminated,
            discount=discount,
            lambda_=lambda_,
        )
        assert_allclose(estimates.advantages[rows], expected.advantages[:, 0], atol=1e-12)
        assert_allclose(estimates.value_targets[rows], expected.value_targets[:, 0], atol=1e-12)


@given(valued_batches(kinds=[DECISION, FORCED], on_policy=True), unit)
def test_at_lambda_one_the_target_is_the_return(valued: Valued, discount: float) -> None:
    batch = valued.batch
    estimates = advantages_of(batch, valued.values, valued.final_values, discount=discount, lambda_=1.0, min_ratio=0.1)
    for index in range(len(batch)):
        to_go = 0.0 if batch.terminated[index] else float(valued.final_values[index])
        for row in reversed(range(batch.offsets[index], batch.offsets[index + 1])):
            to_go = float(batch.rewards[row]) + discount * to_go
            assert estimates.value_targets[row] == pytest.approx(to_go, abs=1e-9)
            assert estimates.advantages[row] == pytest.approx(to_go - valued.values[row], abs=1e-9)


@given(valued_batches())
def test_the_order_of_trajectories_does_not_matter(valued: Valued) -> None:
    batch = valued.batch
    order = np.random.default_rng(len(batch)).permutation(len(batch))
    moved = batch.select(order)
    rows = np.concatenate([np.arange(batch.offsets[index], batch.offsets[index + 1]) for index in order])
    settings = {"discount": 0.9, "lambda_": 0.8, "min_ratio": 0.1}
    expected = advantages_of(batch, valued.values, valued.final_values, **settings)
    actual = advantages_of(moved, valued.values[rows], valued.final_values[order], **settings)
    assert_array_equal(actual.advantages, expected.advantages[rows])
    assert_array_equal(actual.value_targets, expected.value_targets[rows])


@given(st.integers(1, 12), st.integers(1, 5), unit, unit, st.integers(0, 2**32 - 1))
def test_vtrace_with_weights_of_one_is_gae(steps: int, size: int, discount: float, lambda_: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(steps, size)), rng.normal(size=(steps + 1, size))
    terminated, ones = rng.random((steps, size)) < 0.3, np.ones((steps, size))
    expected = gae(rewards, values, terminated, discount=discount, lambda_=lambda_)
    actual = vtrace(
        rewards, values, terminated, rho=ones, trace=ones, decay=np.full_like(ones, lambda_), discount=discount
    )
    assert_allclose(actual.advantages, expected.advantages, atol=1e-12)
    assert_allclose(actual.value_targets, expected.value_targets, atol=1e-12)


@given(st.integers(2, 12), st.data())
def test_nothing_after_a_terminal_step_reaches_back(steps: int, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, steps - 2))
    rng = np.random.default_rng(steps)
    rewards, values = rng.normal(size=(steps, 2)), rng.normal(size=(steps + 1, 2))
    weights = rng.uniform(0.1, 1.0, size=(3, steps, 2))
    terminated = np.zeros((steps, 2), np.bool_)
    terminated[end] = True

    def estimate(rewards: NDArray[np.float64], values: NDArray[np.float64]) -> list[NDArray[np.floating]]:
        first = gae(rewards, values, terminated, discount=0.9, lambda_=0.8)
        second = vtrace(rewards, values, terminated, rho=weights[0], trace=weights[1], decay=weights[2], discount=0.9)
        return [array[: end + 1] for e in (first, second) for array in (e.advantages, e.value_targets)]

    changed_rewards, changed_values = rewards.copy(), values.copy()
    changed_rewards[end + 1 :] += 100.0
    changed_values[end + 1 :] -= 100.0
    assert_array_equal(estimate(changed_rewards, changed_values), estimate(rewards, values))


def test_trajectories_of_very_unequal_lengths_are_each_what_they_are_alone() -> None:
    # One of 300 steps among many of 1 to 3: in one array [300, 41] they would take 20 times the memory of their rows.
    rng = np.random.default_rng(4)
    lengths = [*rng.integers(1, 4, 20).tolist(), 300, *rng.integers(1, 4, 20).tolist()]
    ended = rng.random(len(lengths)) < 0.5
    batch = batch_of(lengths=lengths, rewards=rng.normal(size=sum(lengths)), terminated=ended)
    values, final_values = rng.normal(size=batch.num_steps), rng.normal(size=len(batch))
    settings = {"discount": 0.9, "lambda_": 0.8, "min_ratio": 0.1}
    together = advantages_of(batch, values, final_values, **settings)
    for index in range(len(batch)):
        rows = slice(batch.offsets[index], batch.offsets[index + 1])
        alone = advantages_of(batch.select(np.array([index])), values[rows], final_values[[index]], **settings)
        assert_array_equal(together.advantages[rows], alone.advantages)
        assert_array_equal(together.value_targets[rows], alone.value_targets)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_precision_is_that_of_the_rewards(dtype: type[np.floating]) -> None:
    rewards, values = np.ones((3, 2), dtype), np.ones((4, 2), dtype)
    terminated, ones = np.zeros((3, 2), np.bool_), np.ones((3, 2), dtype)
    assert gae(rewards, values, terminated, discount=0.9, lambda_=0.8).advantages.dtype == dtype
    weighted = vtrace(rewards, values, terminated, rho=ones, trace=ones, decay=ones, discount=0.9)
    assert weighted.advantages.dtype == dtype and weighted.value_targets.dtype == dtype


def test_shapes_that_do_not_fit_are_refused() -> None:
    rewards, values, terminated = np.zeros((2, 3)), np.zeros((3, 3)), np.zeros((2, 3), np.bool_)
    with pytest.raises(ShapeError, match=r"`rewards` must be \[T, B\], got \(2,\)"):
        gae(np.zeros(2), values, terminated, discount=0.9, lambda_=0.9)
    with pytest.raises(ShapeError, match=r"`values` must be \(3, 3\), got \(2, 3\)"):
        gae(rewards, values[:-1], terminated, discount=0.9, lambda_=0.9)
    with pytest.raises(ShapeError, match=r"`trace` must be \(2, 3\), got \(3, 3\)"):
        vtrace(rewards, values, terminated, rho=rewards, trace=values, decay=rewards, discount=0.9)
    batch = batch_of(lengths=[2], rewards=[0, 0], terminated=[True])
    with pytest.raises(ShapeError, match=r"must be \(2,\) and \(1,\), got \(3,\) and \(1,\)"):
        advantages_of(batch, np.zeros(3), np.zeros(1), discount=0.9, lambda_=0.9, min_ratio=0.1)


def test_settings_out_of_range_are_refused() -> None:
    batch = batch_of(lengths=[1], rewards=[0], terminated=[True])
    for discount, lambda_, min_ratio, name in (
        (1.1, 0.9, 0.1, "discount"),
        (math.nan, 0.9, 0.1, "discount"),
        (0.9, -0.1, 0.1, "lambda_"),
        (0.9, 0.9, 0.0, "min_ratio"),
    ):
        with pytest.raises(ConfigError, match=name):
            advantages_of(batch, np.zeros(1), np.zeros(1), discount=discount, lambda_=lambda_, min_ratio=min_ratio)


def logs(*ratios: float) -> Tensor:
    return torch.tensor([math.log(ratio) for ratio in ratios])


def test_clipped_surrogate_by_hand() -> None:
    # ε = 0.2; -w · min(r Â, clip(r) Â):
    # r 1.5, Â 2: -min(3, 2.4);  r 1.5, Â -2: -min(-3, -2.4);  r 0.5, Â 2: -min(1, 1.6);  r 0.5, Â -2: -min(-1, -1.6)
    actual = clipped_surrogate(
        logs(1.5, 1.5, 0.5, 0.5),
        torch.tensor([2.0, -2.0, 2.0, -2.0]),
        torch.tensor([1.0, 10.0, 1.0, 10.0]),
        clip_range=0.2,
    )
    assert_close(actual, torch.tensor([-2.4, 30.0, -1.0, 16.0]))


def test_a_clipped_gain_has_no_gradient_and_a_loss_has_one() -> None:
    log_ratios = logs(1.5, 1.5).requires_grad_()
    clipped_surrogate(log_ratios, torch.tensor([1.0, -1.0]), torch.ones(2), clip_range=0.2).sum().backward()
    assert log_ratios.grad is not None
    assert_close(log_ratios.grad, torch.tensor([0.0, 1.5]))


def test_policy_divergence_by_hand() -> None:
    # w ((r - 1) - log r): 3 · (2 - 1 - log 2) and 1 · (0.5 - 1 + log 2)
    actual = policy_divergence(logs(2.0, 0.5), torch.tensor([3.0, 1.0]))
    assert_close(actual, torch.tensor([3.0 * (1.0 - math.log(2.0)), math.log(2.0) - 0.5]))


@given(st.floats(-20, 20, width=32), st.floats(0, 10, width=32))
def test_policy_divergence_is_never_negative(log_ratio: float, weight: float) -> None:
    assert policy_divergence(torch.tensor([log_ratio]), torch.tensor([weight])).item() >= 0.0


def test_is_clipped_by_hand() -> None:
    assert is_clipped(logs(1.1, 1.3, 0.9, 0.7), clip_range=0.2).tolist() == [False, True, False, True]


def test_squared_value_error_by_hand() -> None:
    values, targets, old = torch.tensor([3.0, 3.0]), torch.tensor([5.0, 2.0]), torch.tensor([1.0, 2.5])
    assert_close(squared_value_error(values, targets, old, value_clip=None), torch.tensor([4.0, 1.0]))
    # Clipped to 1 + 0.5 and 2.5 + 0.5: max(4, 3.5²) and max(1, 1).
    assert_close(squared_value_error(values, targets, old, value_clip=0.5), torch.tensor([12.25, 1.0]))
    # Downwards too: from 1 to -1, clipped to 0.5, the target at -3: max(2², 3.5²).
    lower = squared_value_error(torch.tensor([-1.0]), torch.tensor([-3.0]), torch.tensor([1.0]), value_clip=0.5)
    assert_close(lower, torch.tensor([12.25]))


def test_balanced_weights_by_hand() -> None:
    # Four labels of two classes that there are: 4 / (2 · 3) and 4 / (2 · 1). What is not there counts 1.
    assert balanced_weights(np.array([3, 0, 1]), (3,)).tolist() == pytest.approx([2 / 3, 1.0, 2.0])
    # Parts have weights of their own: of 2 + 2 labels each, and of 1 + 3.
    assert balanced_weights(np.array([2, 2, 1, 3]), (2, 2)).tolist() == pytest.approx([1.0, 1.0, 2.0, 2 / 3])
    assert balanced_weights(np.zeros(2, np.int64), (2,)).tolist() == [1.0, 1.0]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_balanced_classes_weigh_alike_and_one_in_the_mean(counts: list[int]) -> None:
    found = np.array(counts)
    weights = balanced_weights(found, (len(counts),))
    shares = (found * weights)[found > 0]
    assert (weights > 0.0).all() and shares == pytest.approx(np.full(len(shares), shares.mean() if shares.size else 0))
    assert shares.sum() == pytest.approx(found.sum())


def test_a_weighted_cross_entropy_by_hand() -> None:
    # π = (3/4, 1/4), w = (2/3, 2): g ∝ (1/2, 1/2). Both labels have g = 1/2, and weigh 2/3 and 2.
    log_probs = torch.tensor([[0.75, 0.25], [0.75, 0.25]]).log()
    errors = weighted_cross_entropy(log_probs, torch.tensor([0, 1]), torch.tensor([2 / 3, 2.0]), sizes=(2,))
    assert errors.tolist() == pytest.approx([2 / 3 * math.log(2.0), 2.0 * math.log(2.0)])


def test_errors_of_parts_add_up() -> None:
    first, second = torch.tensor([[0.75, 0.25]]).log(), torch.tensor([[0.5, 0.2, 0.3]]).log()
    weights = torch.tensor([2 / 3, 2.0, 1.0, 0.5, 3.0])
    both = weighted_cross_entropy(torch.cat([first, second], 1), torch.tensor([[1, 2]]), weights, sizes=(2, 3))
    alone = [
        weighted_cross_entropy(first, torch.tensor([1]), weights[:2], sizes=(2,)),
        weighted_cross_entropy(second, torch.tensor([2]), weights[2:], sizes=(3,)),
    ]
    assert both.item() == pytest.approx(sum(each.item() for each in alone))


def test_weights_of_one_change_nothing() -> None:
    log_probs = torch.log_softmax(torch.randn(7, 4, generator=torch.Generator().manual_seed(0)), dim=1)
    actions = torch.tensor([0, 1, 2, 3, 0, 1, 2])
    errors = weighted_cross_entropy(log_probs, actions, torch.ones(4), sizes=(4,))
    assert torch.allclose(errors, -log_probs[torch.arange(7), actions], atol=1e-6)


def test_a_forbidden_action_has_no_share_and_no_gradient_in_a_weighted_fit() -> None:
    logits = torch.tensor([[0.0, 0.0, 50.0]], requires_grad=True)
    masked = torch.log_softmax(torch.where(torch.tensor([[True, True, False]]), logits, torch.finfo().min), dim=1)
    error = weighted_cross_entropy(masked, torch.tensor([0]), torch.tensor([1.0, 3.0, 1e-3]), sizes=(3,)).sum()
    assert error.item() == pytest.approx(math.log(4.0))
    error.backward()
    assert logits.grad is not None and logits.grad.tolist()[0] == pytest.approx([-0.75, 0.75, 0.0], abs=1e-6)


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=1, max_size=4).filter(
        lambda rows: all(any(row) for row in rows)
    ),
    st.lists(st.floats(0.05, 20.0), min_size=3, max_size=3),
)
def test_where_states_are_told_apart_the_weighted_fit_finds_the_shares_of_the_labels(
    counts: list[list[int]], weights: list[float]
) -> None:
    # A table of logits. At π(a|s) = n(s, a) / n(s), where the unweighted fit ends, the weighted loss has no slope, and
    # it is convex in the logits: that is where it ends too.
    found = torch.tensor(counts, dtype=torch.float64)
    shares = (found + 1e-300) / found.sum(dim=1, keepdim=True)
    logits = shares.log().clamp(min=-60.0).requires_grad_()
    states, actions = found.nonzero(as_tuple=True)
    errors = weighted_cross_entropy(
        torch.log_softmax(logits, dim=1)[states], actions, torch.tensor(weights, dtype=torch.float64), sizes=(3,)
    )
    (slope,) = torch.autograd.grad((found[states, actions] * errors).sum(), logits)
    assert slope.abs().max().item() < 1e-9 * max(weights) * found.sum().item()


def test_the_fit_of_a_table_ends_at_the_shares_of_the_labels_whatever_the_weights() -> None:
    found = torch.tensor([[8.0, 1.0, 1.0], [1.0, 3.0, 4.0]], dtype=torch.float64)
    states, actions = found.nonzero(as_tuple=True)
    for weights in (torch.ones(3, dtype=torch.float64), torch.tensor([0.2, 3.0, 9.0], dtype=torch.float64)):
        logits = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, line_search_fn="strong_wolfe")

        def loss(logits: torch.Tensor = logits, weights: torch.Tensor = weights) -> torch.Tensor:
            log_probs = torch.log_softmax(logits, dim=1)[states]
            return (found[states, actions] * weighted_cross_entropy(log_probs, actions, weights, sizes=(3,))).sum()

        def closure(optimizer: torch.optim.LBFGS = optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            total = loss()
            total.backward()
            return total

        optimizer.step(closure)
        assert torch.allclose(torch.softmax(logits, 1), found / found.sum(1, keepdim=True), atol=1e-6)

"""One-feature rules by hand, against a loop, and for leaks of several shapes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from townlet_trajectory.audit.leaks import MAX_BINS, MIN_ROWS_OF_ACTION, ROWS_PER_BIN, FeatureRule, best_rules
from townlet_trajectory.errors import ShapeError


def test_skill_is_the_share_of_errors_that_a_rule_avoids() -> None:
    # 40 errors of 100 without the rule, 10 with it.
    assert FeatureRule(feature=0, action=None, accuracy=0.9, baseline=0.6).skill == pytest.approx(0.75)
    assert FeatureRule(feature=0, action=None, accuracy=1.0, baseline=1.0).skill == 0.0
    assert FeatureRule(feature=0, action=None, accuracy=0.5, baseline=0.6).skill == 0.0


def test_a_rule_by_hand() -> None:
    # 80 rows. Where x is 0 the action is 0; where it is 1, it is 1 in two rows of three and 2 in the third.
    x = np.repeat([0.0, 1.0], [44, 36])
    actions = np.concatenate((np.zeros(44, np.int64), np.tile([1, 1, 1, 1, 2, 2], 6)))
    (rule,) = best_rules(x[:, None], actions)
    # "0 or another": never wrong, and without the rule 36 of 80 are. Every action: wrong in 12 of 80.
    assert (rule.action, rule.accuracy, rule.baseline, rule.skill) == (0, 1.0, 44 / 80, 1.0)


def test_noise_has_no_skill_however_many_features_there_are() -> None:
    rng = np.random.default_rng(5)
    rules = best_rules(rng.standard_normal((2_000, 300)), rng.integers(0, 12, 2_000))
    assert len(rules) == 300
    assert max(rule.skill for rule in rules) < 0.05


@pytest.mark.parametrize(
    "leak",
    [
        lambda actions: actions * 1.0,
        lambda actions: -(actions.astype(np.float64) ** 3),
        lambda actions: actions == 7,
        lambda actions: np.where(actions == 7, -1e30, 0.5),
    ],
)
def test_copies_of_the_action_and_of_one_action_are_found(leak) -> None:
    rng = np.random.default_rng(6)
    actions = rng.integers(0, 12, 4_000)
    features = rng.standard_normal((4_000, 5))
    features[:, 3] = leak(actions)
    skills = [rule.skill for rule in best_rules(features, actions)]
    assert skills[3] == 1.0
    assert max(skills[:3] + skills[4:]) < 0.05


def test_a_rare_name_of_the_action_is_not_lost_among_zeros() -> None:
    # 97 % wait; the feature is 0 then, and else a number that names the action.
    rng = np.random.default_rng(7)
    actions = np.where(rng.random(8_000) < 0.97, 0, rng.integers(1, 12, 8_000))
    (rule,) = best_rules(actions[:, None] * 0.125, actions)
    assert rule.skill == 1.0


def test_too_few_rows_or_one_action_tell_nothing() -> None:
    assert best_rules(np.arange(39.0)[:, None], np.arange(39) % 2) == []
    assert best_rules(np.arange(100.0)[:, None], np.full(100, 3)) == []


def test_shapes_must_fit() -> None:
    with pytest.raises(ShapeError, match=r"got \(4,\) and \(4,\)"):
        best_rules(np.zeros(4), np.zeros(4, np.int64))


def skill_by_loops(values: np.ndarray, actions: np.ndarray) -> float:
    """The same, one row at a time."""
    different = sorted(set(values.tolist()))
    bins = min(MAX_BINS, len(actions) // ROWS_PER_BIN, len(different))
    bin_of = {value: place * bins // len(different) for place, value in enumerate(different)}
    n = len(actions)

    def right(labels: list[int]) -> int:
        often = {label: labels.count(label) / (2.0 * n) for label in sorted(set(labels))}
        correct = 0
        for row in range(n):
            fit = [r for r in range(n) if r % 2 != row % 2 and bin_of[values[r]] == bin_of[values[row]]]
            votes = {label: sum(labels[r] == label for r in fit) + share for label, share in often.items()}
            correct += max(votes, key=votes.__getitem__) == labels[row]
        return correct

    def skill(labels: list[int]) -> float:
        usual = max(labels.count(label) for label in set(labels))
        return max(0.0, (right(labels) - usual) / (n - usual))

    best = skill(actions.tolist())
    for action in sorted(set(actions.tolist())):
        mine = int((actions == action).sum())
        if min(mine, n - mine) >= MIN_ROWS_OF_ACTION:
            best = max(best, skill((actions == action).astype(int).tolist()))
    return best


@given(st.integers(0, 2**32), st.integers(40, 120), st.integers(2, 4), st.integers(2, 30))
def test_a_loop_over_rows_finds_the_same_skill(seed: int, num_rows: int, num_actions: int, num_values: int) -> None:
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, num_actions, num_rows)
    values = rng.integers(0, num_values, num_rows) * 0.5
    values[: num_rows // 2] = actions[: num_rows // 2]
    rules = best_rules(values[:, None], actions)
    assert [rule.skill for rule in rules] == pytest.approx([skill_by_loops(values, actions)])


@given(st.integers(0, 2**32), st.integers(40, 300))
def test_monotone_changes_of_a_feature_change_nothing(seed: int, num_rows: int) -> None:
    rng = np.random.default_rng(seed)
    actions, values = rng.integers(0, 3, num_rows), rng.standard_normal(num_rows)
    features = np.stack((values, np.exp(values), 3.0 * values - 7.0), axis=1)
    assert len({(rule.action, rule.accuracy, rule.baseline) for rule in best_rules(features, actions)}) == 1

"""How often a student does what its teacher says, beside how often the teacher says the same again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from townlet_training.errors import EmptyBatchError
from townlet_training.network.actor_critic import ActorCritic
from townlet_trajectory import ACTION_MASK, Kind, TrajectoryBatch
from townlet_trajectory.evaluation.comparisons import mean_interval
from townlet_trajectory.evaluation.interfaces import Actor
from townlet_trajectory.evaluation.results import Agreement
from townlet_trajectory.evaluation.teaching import Played, Teacher

_LEAST_OF_ACTION = 5
"""States with an action as first answer, below which its share is not one of the balanced mean."""


def decision_rows(batch: TrajectoryBatch) -> NDArray[np.int64]:
    """Return the rows [L] at which something was decided: no option was held, and more than one action was legal."""
    return np.flatnonzero(batch.columns["kind"] != Kind.FORCED)


def log_probs_at(network: ActorCritic, batch: TrajectoryBatch, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute the distribution of a network at some rows.

    Args:
        network: the student.
        batch: that the rows are of.
        rows: [L].

    Returns:
        Log-probabilities [L, A] under the masks of the rows.
    """
    mask = batch.observations.get(ACTION_MASK)
    seen = {name: np.asarray(batch.observations[name][rows], np.float32) for name in network.observation_shapes}
    return network.act(seen, None if mask is None else np.asarray(mask[rows], np.bool_))[0]


class HeldOutPlay(Protocol):
    """Plays whole episodes of given seeds."""

    def play(self, student: Actor, *, seeds: NDArray[np.int64], sample: bool, num_taught: int) -> Played:
        """Let the student act alone, or beside the teacher.

        Args:
            student: acts for all agents.
            seeds: [n], of the worlds.
            sample: whether the student's actions are drawn, or greedy.
            num_taught: decisions that the teacher makes for one agent of each world, the same one all the time and one
                after the other, from a tick on that follows from the seed; 0: none.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedStates:
    """States of held-out episodes with two answers of the teacher; those without two legal answers are left out."""

    batch: TrajectoryBatch
    rows: NDArray[np.int64]
    """[L]."""
    episodes: NDArray[np.int64]
    """[L]; number of the episode's seed."""
    first: NDArray[np.int64]
    """[L]."""
    second: NDArray[np.int64]
    """[L]."""
    num_asked: int
    """Questions, those without a legal answer included."""
    tokens: int
    cost: float

    @classmethod
    def asked(cls, teacher: Teacher, played: Played, *, per_episode: int, seed: int) -> JudgedStates:
        """Ask the teacher twice about some states of each episode; where it played itself, its play is the first time.

        Args:
            teacher: that is asked.
            played: whose worlds are numbered by the seed of the episode.
            per_episode: most states of an episode.
            seed: of the choice of states.

        Returns:
            The states.

        Raises:
            EmptyBatchError: if there is none.
        """
        batch, taught = played.batch, played.taught
        rng = np.random.default_rng(seed)
        worlds = batch.worlds[batch.trajectory_of_row[played.rows]]
        parts = [np.flatnonzero(worlds == world) for world in np.unique(worlds)]
        taken = np.concatenate(
            [np.sort(rng.permutation(part)[:per_episode]) for part in parts] or [np.empty(0, np.int64)]
        )
        if not len(taken):
            raise EmptyBatchError(f"the {len(batch)} held-out trajectories have no decision to ask the teacher about")
        rows = played.rows[taken]
        asked = [teacher.label(batch, rows) for _ in range(2 if taught is None else 1)]
        first = asked[0].actions if taught is None else taught.actions[taken]
        second = asked[-1].actions
        known = (first >= 0) & (second >= 0)
        return cls(
            batch=batch,
            rows=rows[known],
            episodes=worlds[taken[known]],
            first=first[known],
            second=second[known],
            num_asked=len(rows) * len(asked) + (0 if taught is None else len(taught.actions)),
            tokens=sum(each.tokens for each in asked) + (0 if taught is None else taught.tokens),
            cost=sum(each.cost for each in asked) + (0.0 if taught is None else taught.cost),
        )


class _Marked(NamedTuple):
    """Answers by state."""

    episodes: NDArray[np.int64]
    first: NDArray[np.int64]
    student: NDArray[np.bool_]
    """[L]; the student does what was answered first."""
    repeat: NDArray[np.bool_]
    """[L]; the teacher did again."""


def agreements(
    network: ActorCritic, judged: Mapping[str, JudgedStates], *, seed: int, num_resamples: int
) -> tuple[Agreement, dict[str, Agreement]]:
    """Compare the student's most likely actions with the teacher's first answers.

    Args:
        network: the student.
        judged: by who played.
        seed: of the intervals.
        num_resamples: of the intervals.

    Returns:
        The agreement over all states, in which the shares of an episode are the means of those of its kinds of play;
        and that of each kind of play.

    Raises:
        EmptyBatchError: if a kind of play has fewer than two episodes with an answer.
    """
    marked = {
        name: _Marked(
            each.episodes,
            each.first,
            log_probs_at(network, each.batch, each.rows).argmax(axis=1) == each.first,
            each.first == each.second,
        )
        for name, each in judged.items()
    }
    by_play = {
        name: _agreement([each], seed=seed, num_resamples=num_resamples, name=name) for name, each in marked.items()
    }
    whole = _agreement(list(marked.values()), seed=seed, num_resamples=num_resamples, name="play")
    return whole, by_play


def _agreement(parts: list[_Marked], *, seed: int, num_resamples: int, name: str) -> Agreement:
    numbers = np.unique(np.concatenate([part.episodes for part in parts]))
    if len(numbers) < 2:
        raise EmptyBatchError(f"the states of the {name}'s play are of {len(numbers)} episodes with an answer, not 2")
    student = np.nanmean([_shares(part.episodes, part.student, numbers) for part in parts], axis=0)
    repeat = np.nanmean([_shares(part.episodes, part.repeat, numbers) for part in parts], axis=0)
    first = np.concatenate([part.first for part in parts])
    return Agreement(
        num_states=len(first),
        student=tuple(student.tolist()),
        repeat=tuple(repeat.tolist()),
        student_mean=float(student.mean()),
        student_ci=mean_interval(student, level=0.05, seed=seed, num_resamples=num_resamples),
        repeat_mean=float(repeat.mean()),
        repeat_ci=mean_interval(repeat, level=0.05, seed=seed, num_resamples=num_resamples),
        student_balanced=balanced(first, np.concatenate([part.student for part in parts])),
        repeat_balanced=balanced(first, np.concatenate([part.repeat for part in parts])),
    )


def balanced(first: NDArray[np.int64], agrees: NDArray[np.bool_]) -> float:
    """Compute the mean over actions of the share of the states with that first answer in which somebody agrees.

    A mind that waits nine times of ten is imitated to 90 % by waiting; here every action counts alike, as in the
    balanced accuracy of Brodersen et al. 2010. Actions with fewer than 5 states are left out, unless all are.

    Args:
        first: [L], L >= 1.
        agrees: [L].

    Returns:
        The mean, in [0, 1].
    """
    counts = np.bincount(first)
    hits = np.bincount(first, agrees)
    known = counts >= min(_LEAST_OF_ACTION, int(counts.max()))
    return float((hits[known] / counts[known]).mean())


def _shares(episodes: NDArray[np.int64], hits: NDArray[np.bool_], numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    """[E]; share of `hits` in each of the episodes `numbers`, NaN where there is no state of it."""
    place = np.searchsorted(numbers, episodes)
    counts = np.bincount(place, minlength=len(numbers))
    shares = np.bincount(place, hits, minlength=len(numbers)) / np.maximum(counts, 1)
    return np.where(counts > 0, shares, np.nan)

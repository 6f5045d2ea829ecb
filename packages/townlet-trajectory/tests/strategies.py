"""A small schema, data made from a seed, and Hypothesis strategies over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from townlet_trajectory import (
    ArraySpec,
    Box,
    EpisodeLabel,
    MultiDiscrete,
    OrderError,
    Trajectory,
    TrajectoryBatch,
    TrajectorySchema,
    TrajectoryService,
    default_decision_columns,
)
from townlet_trajectory.data.actions import ArrayActions
from townlet_trajectory.data.schema import ACTION_COLUMNS
from townlet_trajectory.data.trajectory import TRAJECTORY_SPECS
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.evaluation.interfaces import EpisodeScores

VOCABULARY = ('{"kind":"wait"}', '{"blocked":true,"kind":"wait"}', '{"kind":"chat","target":"bob"}')
FEATURE_NAMES = ("rivalry_max", "rivalry_avoid_count", "lateness_counter")
SCHEMA = TrajectorySchema(
    observations={
        "map": ArraySpec("float32", (2, 3, 3)),
        "features": ArraySpec("float32", (3,)),
        "action_mask": ArraySpec("bool", (3,)),
    },
    decisions=default_decision_columns(),
    vocabulary=VOCABULARY,
)

PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.1), high=(1.0, 2.5))


def array_schema(actions: ArrayActions, *, state_size: int = 4) -> TrajectorySchema:
    """The columns that a recorder has where actions are arrays and the policy remembers `state_size` numbers."""
    mask = {"action_mask": ArraySpec("bool", (5,))} if actions == PARTS else {}
    return TrajectorySchema(
        observations={"features": ArraySpec("float32", (3,)), **mask},
        decisions={**default_decision_columns(actions), "policy_state": ArraySpec("float32", (state_size,))},
        vocabulary=(),
        proposers=("script",),
        feature_names=FEATURE_NAMES,
        actions=actions,
    )


Columns = dict[str, NDArray[np.generic]]


def rows_of(specs: Mapping[str, ArraySpec], num_rows: int, rng: np.random.Generator) -> Columns:
    """Arbitrary rows; integers are small, because some are action indices."""
    columns: Columns = {}
    for name, spec in specs.items():
        shape = (num_rows, *spec.shape)
        values = rng.standard_normal(shape) if spec.dtype.startswith("float") else rng.integers(0, 3, shape)
        columns[name] = values.astype(spec.dtype)
    return columns


def make_trajectory(
    seed: int,
    num_steps: int,
    *,
    agent_id: str = "alice",
    world: int = 0,
    episode: int = 0,
    first_tick: int = 0,
    terminated: bool = False,
    truncated: bool = False,
    episode_label: EpisodeLabel = EpisodeLabel.NONE,
    schema: TrajectorySchema = SCHEMA,
) -> Trajectory:
    # Without a map, whose numbers come first, lives of one seed and different lengths would begin alike.
    rng = np.random.default_rng(seed if "map" in schema.observations else [seed, num_steps])
    return Trajectory(
        schema=schema,
        observations=rows_of(schema.observations, num_steps + 1, rng),
        columns=decided_rows(schema, num_steps, rng),
        rewards=rng.standard_normal(num_steps).astype(np.float32),
        ticks=np.arange(first_tick, first_tick + num_steps),
        terminated=terminated,
        truncated=truncated,
        agent_id=agent_id,
        world=world,
        episode=episode,
        episode_label=episode_label,
    )


@st.composite
def trajectories(draw: st.DrawFn, *, schema: TrajectorySchema = SCHEMA) -> Trajectory:
    return make_trajectory(
        draw(st.integers(0, 2**32)),
        draw(st.integers(1, 6)),
        agent_id=draw(st.text(min_size=1, max_size=6)),
        world=draw(st.integers(0, 3)),
        episode=draw(st.integers(0, 3)),
        first_tick=draw(st.integers(0, 1000)),
        terminated=draw(st.booleans()),
        truncated=draw(st.booleans()),
        episode_label=draw(st.sampled_from(EpisodeLabel)),
        schema=schema,
    )


def batches() -> st.SearchStrategy[TrajectoryBatch]:
    """Of any kind of action; `batches_of` is of one."""
    return any_kind().flatmap(batches_of)


def any_kind() -> st.SearchStrategy[TrajectorySchema]:
    """A schema for each kind of action."""
    return st.sampled_from([SCHEMA, array_schema(PARTS), array_schema(NUMBERS)])


def batches_of(schema: TrajectorySchema) -> st.SearchStrategy[TrajectoryBatch]:
    return st.lists(trajectories(schema=schema), min_size=1, max_size=5).map(TrajectoryBatch.from_trajectories)


def told_apart_batches() -> st.SearchStrategy[TrajectoryBatch]:
    """Batches in which no two trajectories are of one world, episode and agent: none goes on in another."""
    return st.lists(trajectories(), min_size=1, max_size=5).map(
        lambda drawn: TrajectoryBatch.from_trajectories(
            [replace(each, episode=each.episode + 4 * number) for number, each in enumerate(drawn)]
        )
    )


def assert_same_trajectory(actual: Trajectory, expected: Trajectory) -> None:
    actual.schema.require_equal(expected.schema)
    assert (actual.agent_id, actual.world, actual.episode) == (expected.agent_id, expected.world, expected.episode)
    assert (actual.terminated, actual.truncated) == (expected.terminated, expected.truncated)
    assert actual.episode_label is expected.episode_label
    for ours, theirs in ((actual.observations, expected.observations), (actual.columns, expected.columns)):
        assert ours.keys() == theirs.keys()
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name, strict=True)
    np.testing.assert_array_equal(actual.rewards, expected.rewards, strict=True)
    np.testing.assert_array_equal(actual.ticks, expected.ticks, strict=True)


def assert_same_batch(actual: TrajectoryBatch, expected: TrajectoryBatch) -> None:
    assert len(actual) == len(expected)
    for index in range(len(actual)):
        assert_same_trajectory(actual.trajectory(index), expected.trajectory(index))


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip 1 to 16 bytes, cut, delete, repeat or splice."""
    changed = bytearray(data)
    kind = rng.integers(0, 8)
    at = int(rng.integers(0, len(data)))
    length = int(rng.integers(1, 64))
    if kind <= 4:
        for place in rng.integers(0, len(data), rng.integers(1, 17)).tolist():
            changed[place] ^= int(rng.integers(1, 256))
    elif kind == 5:
        del changed[at:]
    elif kind == 6:
        del changed[at : at + length]
    else:
        changed[at:at] = changed[at : at + length]
    return bytes(changed)


def lists_of_batches(max_size: int = 4) -> st.SearchStrategy[list[TrajectoryBatch]]:
    """At least one, all of the same kind of action."""
    return any_kind().flatmap(lambda schema: st.lists(batches_of(schema), min_size=1, max_size=max_size))


@st.composite
def batch_sources(
    draw: st.DrawFn, *, schema: TrajectorySchema | None = None
) -> tuple[list[BatchSource], TrajectoryBatch]:
    """One to three sources in memory, cut into blocks, and everything they hold as one batch; None: of any schema."""
    one = any_kind() if schema is None else st.just(schema)
    parts = draw(st.lists(batches_of(draw(one)), min_size=1, max_size=3))
    sources = [BatchSource(part, rows_per_block=draw(st.integers(1, 12))) for part in parts]
    return sources, TrajectoryBatch.concatenate(parts)


_EXTREMES = {
    np.dtype(np.bool_): np.array([False, True]),
    **{
        np.dtype(name): np.array([np.iinfo(name).min, np.iinfo(name).max, 0, 1, 42], name)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    **{
        np.dtype(name): np.array(
            [0.0, -0.0, np.finfo(name).max, np.finfo(name).min, np.finfo(name).smallest_subnormal, np.pi], name
        )
        for name in ("float32", "float64")
    },
}


def extreme_rows(spec: ArraySpec, num_rows: int, rng: np.random.Generator, *, finite: bool) -> NDArray[np.generic]:
    """Rows of the greatest, smallest and oddest numbers there are."""
    values = _EXTREMES[spec.numpy_dtype]
    if not finite and spec.dtype.startswith("float"):
        values = np.append(values, np.array([np.nan, np.inf, -np.inf], spec.dtype))
    return rng.choice(values, (num_rows, *spec.shape))


def any_specs() -> st.SearchStrategy[ArraySpec]:
    dtypes = st.sampled_from(sorted(dtype.name for dtype in _EXTREMES))
    return st.builds(ArraySpec, dtypes, st.lists(st.integers(1, 3), max_size=3).map(tuple))


def any_actions() -> st.SearchStrategy[ArrayActions]:
    """Of one to three parts, or numbers, with any names, keys and bounds."""
    texts = st.text(min_size=1, max_size=3)
    keys = st.lists(texts, unique=True, min_size=2, max_size=4).map(tuple)
    bound = st.floats(allow_nan=False, allow_infinity=False, width=32)
    numbers = st.tuples(texts, st.lists(bound, unique=True, min_size=2, max_size=2).map(sorted))
    return st.one_of(
        st.builds(MultiDiscrete, parts=st.dictionaries(texts, keys, min_size=1, max_size=3)),
        st.lists(numbers, unique_by=lambda one: one[0], min_size=1, max_size=3).map(
            lambda drawn: Box(
                names=tuple(name for name, _ in drawn),
                low=tuple(low for _, (low, _) in drawn),
                high=tuple(high for _, (_, high) in drawn),
            )
        ),
    )


def any_schemas() -> st.SearchStrategy[TrajectorySchema]:
    """Of columns of every dtype and shape, and every kind of action; names begin with `o_` and `d_`, to be no reserved
    ones."""
    names = st.from_regex(r"[A-Za-z0-9_]{0,5}", fullmatch=True)
    return st.builds(
        _schema,
        observations=st.dictionaries(names.map("o_{}".format), any_specs(), min_size=1, max_size=3),
        decisions=st.dictionaries(names.map("d_{}".format), any_specs(), min_size=1, max_size=3),
        vocabulary=st.lists(st.text(min_size=1, max_size=3), unique=True, max_size=3).map(tuple),
        actions=st.none() | any_actions(),
    )


def _schema(
    observations: dict[str, ArraySpec],
    decisions: dict[str, ArraySpec],
    vocabulary: tuple[str, ...],
    actions: ArrayActions | None,
) -> TrajectorySchema:
    if actions is None:
        return TrajectorySchema(observations=observations, decisions=decisions, vocabulary=vocabulary)
    decisions = {**decisions, "action": default_decision_columns(actions)["action"]}
    return TrajectorySchema(observations=observations, decisions=decisions, vocabulary=(), actions=actions)


def decided_rows(schema: TrajectorySchema, num_rows: int, rng: np.random.Generator) -> Columns:
    """Arbitrary decisions; array actions are some that there are."""
    columns = rows_of(schema.decisions, num_rows, rng)
    actions = schema.actions
    if actions is None:
        return columns
    for name in sorted(ACTION_COLUMNS & schema.decisions.keys()):
        if isinstance(actions, MultiDiscrete):
            columns[name] = rng.integers(0, actions.sizes, (num_rows, len(actions.sizes)))
        else:
            low, high = np.array(actions.low, np.float32), np.array(actions.high, np.float32)
            columns[name] = np.clip(rng.uniform(low, high, (num_rows, len(low))).astype(np.float32), low, high)
    return columns


def array_batch(schema: TrajectorySchema, lengths: Sequence[int], seed: int) -> TrajectoryBatch:
    """Trajectories of these lengths, each of an agent of its own; they end in every way, in turn."""
    return TrajectoryBatch.from_trajectories(
        [
            make_trajectory(
                seed + number,
                length,
                agent_id=f"agent {number}",
                world=number,
                first_tick=number,
                terminated=number % 3 == 0,
                truncated=number % 3 == 1,
                schema=schema,
            )
            for number, length in enumerate(lengths)
        ]
    )


@st.composite
def any_batches(draw: st.DrawFn, *, max_trajectories: int = 4) -> TrajectoryBatch:
    """Batches of every content that the types allow: empty, of one step, with extreme numbers and ids."""
    schema = draw(any_schemas())
    lengths = draw(st.lists(st.integers(1, 7), max_size=max_trajectories))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size, num_steps = len(lengths), sum(lengths)
    agent_ids = np.empty(size, object)
    agent_ids[:] = draw(st.lists(st.text(max_size=4), min_size=size, max_size=size))
    firsts = draw(st.lists(st.integers(-(2**62), 2**62), min_size=size, max_size=size))
    number = ArraySpec("int64")
    return TrajectoryBatch(
        schema=schema,
        offsets=np.cumsum([0, *lengths], dtype=np.int64),
        observations={
            name: extreme_rows(spec, num_steps, rng, finite=True) for name, spec in schema.observations.items()
        },
        final_observations={
            name: extreme_rows(spec, size, rng, finite=True) for name, spec in schema.observations.items()
        },
        columns={name: extreme_rows(spec, num_steps, rng, finite=False) for name, spec in schema.decisions.items()},
        rewards=extreme_rows(ArraySpec("float32"), num_steps, rng, finite=True).astype(np.float32),
        ticks=np.concatenate(
            [np.zeros(0, np.int64), *(np.arange(n) + first for first, n in zip(firsts, lengths, strict=True))]
        ),
        terminated=rng.random(size) < 0.3,
        truncated=rng.random(size) < 0.3,
        agent_ids=agent_ids,
        worlds=extreme_rows(number, size, rng, finite=True).astype(np.int64),
        episodes=extreme_rows(number, size, rng, finite=True).astype(np.int64),
        episode_labels=draw(st.sampled_from([0, 1])) * rng.integers(0, len(EpisodeLabel), size).astype(np.int8),
    )


def assert_identical_batch(actual: TrajectoryBatch, expected: TrajectoryBatch) -> None:
    """Equal schemas, and every array equal bit for bit (so that -0.0 is not 0.0, and NaN is NaN)."""
    assert actual.schema == expected.schema
    assert actual.agent_ids.tolist() == expected.agent_ids.tolist()
    for ours, theirs in zip(_arrays_of(actual), _arrays_of(expected), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()


def _arrays_of(batch: TrajectoryBatch) -> list[NDArray[np.generic]]:
    columns = (batch.observations, batch.final_observations, batch.columns)
    numbers = (batch.rewards, batch.ticks, *(vars(batch)[name] for name in TRAJECTORY_SPECS))
    return [batch.offsets, *(array for arrays in columns for _, array in sorted(arrays.items())), *numbers]


def begin_and_decide(
    service: TrajectoryService, tick: int, slots: NDArray[np.int64], *, episode: int, rng: np.random.Generator
) -> None:
    """Record arbitrary observations and decisions of the agents in `slots` [N], three of which are in a world."""
    service.begin_tick(
        tick,
        slots,
        rows_of(SCHEMA.observations, len(slots), rng),
        agent_ids=np.array([*"abcde"], object)[slots],
        worlds=slots // 3,
        episodes=np.full(len(slots), episode),
    )
    service.record_decisions(rows_of(SCHEMA.decisions, len(slots), rng))


def record_lives(service: TrajectoryService, num_ticks: int, seed: int) -> None:
    """Up to five agents of `SCHEMA`, who come, die, are cut off and return; everyone is gone in the end."""
    rng = np.random.default_rng(seed)
    absent = np.zeros(5, bool)
    for tick in range(num_ticks):
        size = len(slots := np.flatnonzero(~absent))
        begin_and_decide(service, tick, slots, episode=0, rng=rng)
        for _ in range(rng.integers(3)):
            service.add_rewards(rng.standard_normal(size).astype(np.float32))
        terminated, truncated = rng.random((2, size)) < 0.15
        truncated |= tick == num_ticks - 1
        ended = np.flatnonzero(terminated | truncated)
        service.record_outcome(
            rng.standard_normal(size).astype(np.float32),
            terminated,
            truncated,
            final_rows=ended,
            final_observations=rows_of(SCHEMA.observations, len(ended), rng),
        )
        absent = (absent & (rng.random(5) < 0.5)) | np.isin(np.arange(5), slots[ended])


Said = list[tuple[int, EpisodeLabel, int, bool]]
"""Tick after which, label, whose (5: all of world 0), and whether of the last that ended."""


def what_is_said() -> st.SearchStrategy[Said]:
    labels = st.sampled_from([EpisodeLabel.SUCCESS, EpisodeLabel.FAILURE, EpisodeLabel.DISCARD])
    return st.lists(st.tuples(st.integers(0, 19), labels, st.integers(0, 5), st.booleans()), max_size=8)


def record_labelled_lives(service: TrajectoryService, num_ticks: int, seed: int, said: Said) -> None:
    """Five agents in two worlds, who come, die and return within an episode; the last tick ends all."""
    rng = np.random.default_rng(seed)
    absent = np.zeros(5, bool)
    for tick in range(num_ticks):
        size = len(slots := np.flatnonzero(~absent))
        begin_and_decide(service, tick, slots, episode=tick // 7, rng=rng)
        terminated, truncated = rng.random((2, size)) < 0.15
        truncated |= tick == num_ticks - 1 or tick % 7 == 6
        ended = np.flatnonzero(terminated | truncated)
        service.record_outcome(
            np.zeros(size, np.float32),
            terminated,
            truncated,
            final_rows=ended,
            final_observations=rows_of(SCHEMA.observations, len(ended), rng),
        )
        for when, label, whose, over in said:
            if when == tick:
                name = "abcde"[whose] if whose < 5 else None
                try:
                    service.label_episode(label, world=int(whose in (3, 4)), agent_id=name, ended=over)
                except OrderError:
                    pass  # of an agent that has not been seen yet, which is one in both
        absent = (absent & (rng.random(5) < 0.5)) | np.isin(np.arange(5), slots[ended])


def scores(returns: Sequence[float], first_seed: int = 2**31) -> EpisodeScores:
    """Scores of episodes with consecutive seeds."""
    return EpisodeScores.of(returns=returns, seeds=first_seed + np.arange(len(returns)))

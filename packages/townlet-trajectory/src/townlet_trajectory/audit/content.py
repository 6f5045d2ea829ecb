"""What the rows of a dataset are worth to a learner, looked at block by block in bounded memory."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_trajectory.audit.leaks import FeatureRule, best_rules
from townlet_trajectory.audit.report import FindingList
from townlet_trajectory.data.actions import Box, MultiDiscrete, outside
from townlet_trajectory.data.batch import TrajectoryBatch
from townlet_trajectory.data.schema import ACTION_MASK, Kind, Source, TrajectorySchema
from townlet_trajectory.data.trajectory import Array
from townlet_trajectory.errors import SchemaError, ShapeError

SAMPLE_ROWS = 16_384
SAMPLE_BYTES = 64 << 20
"""Leaks are looked for in a sample of at most this many rows and bytes."""
LEAK_SKILL = 0.9
"""A feature whose rule avoids this share of the errors leaks the label."""
MAX_NAMES = 5
"""Names that one message gives before it says how many more there are."""

_DIGEST_BYTES = 16
_LABEL = ""
"""Name of the actions among the sampled columns; no observation is called so."""


class Label(NamedTuple):
    """What a learner is to predict, of R rows: the action, or one of its parts."""

    codes: NDArray[np.int64]
    """[R]; indices into `texts`."""
    texts: tuple[str, ...]
    """At least one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ContentRows:
    """R rows of B trajectories, whatever they were read from."""

    observations: Mapping[str, Array]
    """Each [R, ...]; finite."""
    rewards: NDArray[np.float32]
    """[R]; finite."""
    actions: Array
    """[R, ...]; what was done. [0]: not known."""
    labels: Mapping[str, Label]
    """By the name of the column, or `COLUMN.PART`; empty where actions are numbers, or not known."""
    forced: NDArray[np.bool_]
    """[R]; where a commitment made the action, so that an observation which shows it may tell it."""
    offsets: NDArray[np.int64]
    """[B + 1]; rows of each trajectory."""


class ContentAudit:
    """Takes rows, block after block; then says what it has found.

    Args:
        element_names: of each observation, the names of its elements in C order, where they are known.
    """

    def __init__(self, *, element_names: Mapping[str, Sequence[str]]) -> None:
        self._element_names = element_names
        self._labels: dict[str, _LabelAudit] = {}
        self._extremes: dict[str, tuple[Array, Array]] = {}
        self._reward_range = (np.inf, -np.inf)
        self._num_steps = 0
        self._digests = bytearray()

    def add(self, rows: ContentRows) -> None:
        """Take rows into account; `SchemaError` if an observation has another shape or dtype than before."""
        if len(rows.rewards) == 0:
            return
        flat = {name: array.reshape(len(array), -1) for name, array in rows.observations.items()}
        self._take_extremes(flat, rows.rewards)
        features = {name: array for name, array in flat.items() if name != ACTION_MASK}
        for name, label in rows.labels.items():
            audit = self._labels.setdefault(name, _LabelAudit(name, SAMPLE_BYTES // len(rows.labels)))
            audit.add(features, label, rows.forced, len(self._digests) // _DIGEST_BYTES)
        self._num_steps += len(rows.rewards)
        self._digests += b"".join(_digests(rows))

    def report(self, found: FindingList, name_of: Callable[[int], str]) -> None:
        """Add what was found to `found`; `name_of` names a trajectory, given its number in the order of coming."""
        if not self._num_steps:
            found.warn("empty", "dataset", "there is no step in it")
            return
        self._duplicates(found, name_of)
        for label in self._labels.values():
            label.report(found, name_of, self._element)
        self._constants(found)

    def _take_extremes(self, flat: Mapping[str, Array], rewards: NDArray[np.float32]) -> None:
        low, high = self._reward_range
        self._reward_range = (min(low, float(rewards.min())), max(high, float(rewards.max())))
        if not self._extremes:
            self._extremes = {name: (array[0], array[0]) for name, array in flat.items()}
        for name, array in flat.items():
            lowest, highest = self._extremes[name]
            if array.dtype != lowest.dtype or array.shape[1:] != lowest.shape:
                before = f"{lowest.dtype} of {lowest.size} elements as before"
                raise SchemaError(f"`{name}` must be {before}, got {array.dtype} of {array.shape[1]}")
            self._extremes[name] = (np.minimum(lowest, array.min(axis=0)), np.maximum(highest, array.max(axis=0)))

    def _duplicates(self, found: FindingList, name_of: Callable[[int], str]) -> None:
        digests = np.frombuffer(bytes(self._digests), f"V{_DIGEST_BYTES}")
        _, first, same = np.unique(digests, return_index=True, return_inverse=True)
        repeats = np.flatnonzero(first[same] != np.arange(len(digests))).tolist()
        if repeats:
            pairs = [f"{name_of(repeat)} = {name_of(int(first[same[repeat]]))}" for repeat in repeats[:MAX_NAMES]]
            message = f"{len(repeats)} of {len(digests)} repeat what another one saw, did and earned"
            found.warn("duplicate-content", "trajectories", f"{message}: {listed(pairs, len(repeats))}")

    def _constants(self, found: FindingList) -> None:
        for name, (lowest, highest) in self._extremes.items():
            constant = np.flatnonzero(lowest == highest).tolist()
            if constant:
                # 0.0 is added because which zero is the least, 0 or -0, depends on the order of the rows.
                names = [f"{self._element(name, place)} {lowest[place] + 0.0:g}" for place in constant[:MAX_NAMES]]
                message = f"{len(constant)} of {lowest.size} features never change: {listed(names, len(constant))}"
                found.info("constant-features", name, message)
        if self._reward_range[0] == self._reward_range[1]:
            found.info("constant-reward", "rewards", f"always {self._reward_range[0] + 0.0:g}")

    def _element(self, name: str, place: int) -> str:
        """`features.need_hunger`, or `map[17]` where names are not known."""
        names = self._element_names.get(name, ())
        return f"{name}.{names[place]}" if place < len(names) else f"{name}[{place}]"


class _LabelAudit:
    """What is said of one label: actions that are none or never taken, and features that tell it."""

    def __init__(self, name: str, sample_bytes: int) -> None:
        self._is_part = "." in name
        # Parts have an entry of their own; the only label is said by the entries it always had.
        self._entry, self._texts_entry = (name, name) if self._is_part else ("action", "vocabulary")
        self._sample_bytes = sample_bytes
        self._sample: RowSample | None = None
        self._number_of: dict[str, int] = {}
        self._translated: tuple[tuple[str, ...], NDArray[np.int64]] = ((), np.zeros(0, np.int64))
        self._misnumbered: list[int] = []
        self._num_steps = 0
        self._outside = 0
        self._counts = np.zeros(0, np.int64)

    def add(self, features: Mapping[str, Array], label: Label, forced: NDArray[np.bool_], trajectory: int) -> None:
        """Take rows into account; `trajectory` is the number of the first they are of."""
        translation = self._translation(label.texts, trajectory)
        inside = (label.codes >= 0) & (label.codes < len(translation))
        self._num_steps += len(label.codes)
        self._outside += int((~inside).sum())
        counts = np.bincount(translation[label.codes[inside]], minlength=len(self._number_of))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        if self._sample is None:
            row_bytes = sum(array[0].nbytes for array in features.values()) + label.codes.itemsize
            self._sample = RowSample(max(1, min(SAMPLE_ROWS, self._sample_bytes // row_bytes)))
        places = np.flatnonzero(inside & ~forced)
        labels = translation[label.codes[places]]
        self._sample.add({_LABEL: labels, **{name: array[places] for name, array in features.items()}})

    def _translation(self, texts: tuple[str, ...], trajectory: int) -> NDArray[np.int64]:
        """[A]; the number of each action among all that came so far: equal where every sample means the same."""
        if self._translated[0] is not texts:
            numbers = [self._number_of.setdefault(text, len(self._number_of)) for text in texts]
            self._translated = (texts, np.array(numbers, np.int64))
        translation = self._translated[1]
        if np.any(translation != np.arange(len(translation))):
            self._misnumbered.append(trajectory)
        return translation

    def report(self, found: FindingList, name_of: Callable[[int], str], element_of: Callable[[str, int], str]) -> None:
        """Add what was found; see `ContentAudit.report`."""
        counts, texts = self._counts, list(self._number_of)
        if self._misnumbered:
            names = [name_of(trajectory) for trajectory in self._misnumbered[:MAX_NAMES]]
            message = f"ids mean other actions than before in {listed(names, len(self._misnumbered))}"
            found.warn("vocabulary-differs", self._texts_entry, message)
        if self._outside:
            what = "the keys of the part" if self._is_part else "the vocabulary"
            message = f"{self._outside} of {self._num_steps} are no index of {what} of {len(texts)} actions"
            found.fail("unknown-action", self._entry, message)
        unused = np.flatnonzero(counts == 0).tolist()
        if unused:
            names = [texts[action] for action in unused[:MAX_NAMES]]
            message = f"{len(unused)} of {len(texts)} actions are never taken: {listed(names, len(unused))}"
            found.info("unused-actions", self._texts_entry, message)
        if np.count_nonzero(counts) == 1:
            found.info("one-action", self._entry, f"always {texts[int(counts.argmax())]}: there is nothing to tell")
        self._leaks(found, element_of)

    def _leaks(self, found: FindingList, element_of: Callable[[str, int], str]) -> None:
        columns = self._sample.columns() if self._sample is not None else {}
        if not columns:
            return
        actions = columns.pop(_LABEL).astype(np.int64, copy=False)
        ranked: list[tuple[str, FeatureRule]] = []
        for name, features in columns.items():
            rules = sorted(best_rules(features, actions), key=lambda rule: -rule.skill)
            ranked += [(name, rule) for rule in rules]
            leaks = [rule for rule in rules if rule.skill >= LEAK_SKILL]
            for rule in leaks[:MAX_NAMES]:
                found.warn("label-leak", element_of(name, rule.feature), self._leak(rule, len(actions)))
            if len(leaks) > MAX_NAMES:
                found.warn("label-leak", name, f"{len(leaks) - MAX_NAMES} more features of it leak too")
        if ranked:
            name, rule = max(ranked, key=lambda pair: pair[1].skill)
            if rule.skill < LEAK_SKILL:
                found.info("strongest-feature", element_of(name, rule.feature), self._leak(rule, len(actions)))

    def _leak(self, rule: FeatureRule, num_rows: int) -> str:
        told = f"`{self._entry}`" if self._is_part else "the action"
        if rule.action is not None:
            text = list(self._number_of)[rule.action]
            told = f"`{self._entry}` {text} from other values" if self._is_part else f"{text} from other actions"
        return (
            f"alone it tells {told}: right in {rule.accuracy:.1%} of {num_rows} rows, {rule.baseline:.1%} without it "
            f"(lambda {rule.skill:.2f})"
        )


def report_lengths(found: FindingList, lengths: NDArray[np.float64]) -> None:
    """Say how long the whole trajectories [B] are; B is at least 1."""
    low, middle, high = np.percentile(lengths, (0, 50, 100))
    message = f"{len(lengths)} of {low:g} to {high:g} steps, median {middle:g}"
    single = int((lengths == 1).sum())
    found.info("lengths", "trajectories", f"{message}; {single} have a single step" if single else message)


def _digests(rows: ContentRows) -> list[bytes]:
    """Of each trajectory: what was seen, done and earned, not who, where and when."""
    arrays = [*(rows.observations[name] for name in sorted(rows.observations)), rows.rewards]
    if len(rows.actions):
        arrays.append(rows.actions)
    contents = [(np.ascontiguousarray(array).reshape(-1), int(np.prod(array.shape[1:]))) for array in arrays]
    digests = []
    for first, stop in pairwise(rows.offsets.tolist()):
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        for content, width in contents:
            digest.update(content[first * width : stop * width].data)
        digests.append(digest.digest())
    return digests


def listed(names: Sequence[str], count: int) -> str:
    """Join the first names, and say how many more of `count` there are."""
    more = f", and {count - len(names)} more" if count > len(names) else ""
    return ", ".join(names) + more


_CODES = {"kind": len(Kind), "source": len(Source)}
_CHOICE = "chosen_action"
ACTION = "action"
"""The decision column of executed actions."""


class ColumnAudit:
    """Takes batches of one schema; then says what it has found."""

    def __init__(self, schema: TrajectorySchema) -> None:
        self._schema = schema
        self._num_steps = 0
        self._counts: dict[str, int] = {}
        chooses = schema.decisions.keys() >= {_CHOICE, "kind"}
        self._has_choices = ACTION_MASK in schema.observations and chooses

    def add(self, batch: TrajectoryBatch) -> None:
        """Take the rows of `batch` into account."""
        self._num_steps += batch.num_steps
        for name, spec in self._schema.decisions.items():
            column = batch.columns[name]
            if spec.dtype.startswith("float"):
                self._count(f"{name} non-finite", ~np.isfinite(column))
            if name in _CODES and spec.shape == ():
                codes = column.astype(np.int64, copy=False)
                self._count(f"{name} code", (codes < 0) | (codes >= _CODES[name]))
        if isinstance(self._schema.actions, Box) and ACTION in batch.columns:
            self._count("beyond", outside(self._schema.actions, batch.columns[ACTION]))
        if self._has_choices:
            # What a person or a commitment does is not drawn from the mask.
            decided = batch.columns["kind"] == Kind.DECISION
            self._count("illegal", decided & ~self._legal(batch))

    def _legal(self, batch: TrajectoryBatch) -> NDArray[np.bool_]:
        """[R]; whether the mask allows the choice, of several parts each of them."""
        chosen = batch.columns[_CHOICE].astype(np.int64, copy=False).reshape(batch.num_steps, -1)
        actions, mask = self._schema.actions, batch.observations[ACTION_MASK].astype(np.bool_, copy=False)
        sizes = np.array(actions.sizes if isinstance(actions, MultiDiscrete) else [mask.shape[1]])
        inside = (chosen >= 0) & (chosen < sizes)
        columns = np.where(inside, chosen, 0) + np.cumsum(sizes) - sizes
        legal: NDArray[np.bool_] = np.logical_and.reduce(inside & np.take_along_axis(mask, columns, axis=1), axis=1)
        return legal

    def report(self, found: FindingList) -> None:
        """Add what was found."""
        for name in self._schema.decisions:
            if count := self._counts.get(f"{name} non-finite"):
                found.warn("non-finite", name, f"{count} numbers in {self._num_steps} steps are NaN or infinite")
            if count := self._counts.get(f"{name} code"):
                found.fail("unknown-code", name, f"{count} of {self._num_steps} are not in [0, {_CODES[name]})")
        if count := self._counts.get("beyond"):
            found.fail("unknown-action", ACTION, f"{count} of {self._num_steps} are not within the bounds")
        if count := self._counts.get("illegal"):
            message = f"{count} of {self._num_steps} steps are decisions for an action that the mask forbids"
            found.warn("forbidden-action", _CHOICE, message)

    def _count(self, name: str, wrong: NDArray[np.bool_]) -> None:
        self._counts[name] = self._counts.get(name, 0) + int(np.count_nonzero(wrong))


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio."""


class RowSample:
    """At most `max_rows` rows of all that were added, evenly spread over them.

    Row i has the key frac(i / golden ratio), and the rows with the smallest keys are kept. These keys are equally
    distributed over all rows and over every n-th of them (Weyl 1916), so that the sample is in step with no period of
    the data, and the same rows give the same sample. At most twice as many rows are held at a time.
    """

    def __init__(self, max_rows: int) -> None:
        if max_rows < 1:
            raise ShapeError(f"`max_rows` must be at least 1, got {max_rows}")
        self._max_rows = max_rows
        self._num_seen = 0
        self._limit = np.uint64(np.iinfo(np.uint64).max)
        self._keys: list[NDArray[np.uint64]] = []
        self._blocks: list[dict[str, Array]] = []

    def add(self, columns: Mapping[str, Array]) -> None:
        """Take the rows of a block into account: columns [R, ...], always of the same names, dtypes and row shapes."""
        num_rows = len(next(iter(columns.values())))
        keys = np.arange(self._num_seen, self._num_seen + num_rows, dtype=np.uint64) * _GOLDEN
        self._num_seen += num_rows
        chosen = np.flatnonzero(keys <= self._limit)
        if len(chosen) > self._max_rows:
            chosen = chosen[_smallest(keys[chosen], self._max_rows)]
        self._keys.append(keys[chosen])
        self._blocks.append({name: array[chosen] for name, array in columns.items()})
        if sum(map(len, self._keys)) > 2 * self._max_rows:
            self._shrink()

    def columns(self) -> dict[str, Array]:
        """The sampled rows, in the order in which they came; no column at all before the first block."""
        self._shrink()
        return dict(self._blocks[0]) if self._blocks else {}

    def _shrink(self) -> None:
        if not self._blocks:
            return
        keys = np.concatenate(self._keys)
        kept = np.arange(len(keys))
        if len(keys) > self._max_rows:
            kept = _smallest(keys, self._max_rows)
            self._limit = keys[kept].max()
        columns = {name: np.concatenate([block[name] for block in self._blocks])[kept] for name in self._blocks[0]}
        self._keys, self._blocks = [keys[kept]], [columns]


def _smallest(keys: NDArray[np.uint64], count: int) -> NDArray[np.int64]:
    """The places of the `count` smallest keys, ascending."""
    return np.sort(np.argpartition(keys, count)[:count])

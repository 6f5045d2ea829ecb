"""What each form of a record keeps, found by writing and reading it, is the table of `docs/dataset-forms.md`.

`python tests-integration/test_dataset_forms.py` prints the table.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray
from pyarrow import parquet

from townlet_behavior import BridgeConfig, CommitmentConfig, StatelessGuardrail, Verdicts, View
from townlet_runtime import BatchRuntime, schema_of
from townlet_runtime.cli.commands.capture import town_layout
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.policy.policy import UniformPolicy
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.town import Town
from townlet_trajectory import (
    ArraySpec,
    Box,
    CaptureError,
    EpisodeLabel,
    Kind,
    MultiDiscrete,
    Source,
    Trajectory,
    TrajectoryBatch,
    TrajectoryError,
    TrajectorySchema,
    TrajectoryService,
)
from townlet_trajectory.data.pieces import canonical, joined, split_every
from townlet_trajectory.data.schema import ACTION_COLUMNS, DTYPES, default_decision_columns
from townlet_trajectory.dataset.info import DatasetInfo
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.formats.captures.directory import CaptureForm, CaptureInfo
from townlet_trajectory.formats.captures.sample import CaptureLayout
from townlet_trajectory.formats.convert import convert
from townlet_trajectory.formats.open import OpenDataset, open_dataset

PAGE = Path(__file__).resolve().parent.parent / "docs" / "dataset-forms.md"

FORMS = {
    "captures": "captures, ours",
    "original": "captures, the original's",
    "shards": "shards",
    "minari": "Minari, ours",
    "npz": "npz",
}
NAMES = {"captures": "capture", "original": "original", "shards": "shards", "minari": "town-v0", "npz": "batch.npz"}
FEATURES = ("rivalry_max", "rivalry_avoid_count")
REASONS = ("action_mask", "rivalry")
TEXTS = ('{"kind":"wait"}', '{"kind":"chat"}', '{"kind":"move"}')
INFO = DatasetInfo(group="villagers", tags=("night",), seeds={"town": 7}, notes={"weather": "rain"})
OF_DTYPES = {f"seen_{name}": ArraySpec(name, (2,)) for name in sorted(DTYPES)}
SCHEMA = TrajectorySchema(
    observations={
        "map": ArraySpec("float32", (2, 3, 3)),
        "features": ArraySpec("float32", (2,)),
        "action_mask": ArraySpec("bool", (3,)),
        **OF_DTYPES,
    },
    decisions={**default_decision_columns(), "reward_meal": ArraySpec("float32")},
    vocabulary=TEXTS,
    proposers=("script", "fallback", "mind"),
    veto_reasons=REASONS,
    feature_names=FEATURES,
)
FORM = CaptureForm(
    layout=CaptureLayout(feature_names=FEATURES, map_channels=("self", "others"), action_texts=TEXTS),
    info=CaptureInfo(
        config_path=None,
        config_id=None,
        scenario_name=None,
        scenario_description=None,
        ticks=9,
        seed=1,
        policy_hash=None,
        capture_timestamp="2026-01-01T00:00:00Z",
    ),
    final_values=lambda batch: np.zeros(len(batch), np.float32),
)


def rows(specs: Mapping[str, ArraySpec], size: int, rng: np.random.Generator) -> dict[str, Any]:
    return {name: rng.integers(0, 3, (size, *spec.shape)).astype(spec.dtype) for name, spec in specs.items()}


def recording(lengths: Sequence[int] = (6, 5, 7), *, schema: TrajectorySchema = SCHEMA) -> TrajectoryBatch:
    """Trajectories that are terminated, truncated and go on, in turn, the last to begin first."""
    size, steps, rng = len(lengths), sum(lengths), np.random.default_rng(1)
    return TrajectoryBatch(
        schema=schema,
        offsets=np.cumsum([0, *lengths]),
        observations=rows(schema.observations, steps, rng),
        final_observations=rows(schema.observations, size, rng),
        columns=rows(schema.decisions, steps, rng),
        rewards=rng.standard_normal(steps).astype(np.float32),
        ticks=np.concatenate([100 - 10 * n + np.arange(length) for n, length in enumerate(lengths)]),
        terminated=np.arange(size) % 3 == 0,
        truncated=np.arange(size) % 3 == 1,
        agent_ids=np.array([f"agent {n}" for n in range(size)], object),
        worlds=np.arange(3, 3 + size),
        episodes=np.arange(5, 5 + size),
        episode_labels=(np.arange(1, 1 + size) % len(EpisodeLabel)).astype(np.int8),
    )


def write(form: str, batch: TrajectoryBatch, folder: Path, info: DatasetInfo | None = None) -> Path:
    path = folder / NAMES[form]
    if form == "original":
        write_original(batch, path)
    else:
        convert(batch, path, to=form, capture=FORM, info=info)
    return path


def write_original(batch: TrajectoryBatch, folder: Path) -> None:
    """As the original writes: in each row what was seen after its action, and one `done` for both ends."""
    folder.mkdir()
    entries = []
    for number, one in enumerate(batch, start=1):
        dones = np.zeros(len(one), np.bool_)
        dones[-1] = one.terminated or one.truncated
        np.savez_compressed(
            folder / f"rollout_sample_{number:03d}.npz",
            map=one.observations["map"][1:],
            features=one.observations["features"][1:],
            actions=one.columns["action"],
            old_log_probs=np.zeros(len(one), np.float32),
            value_preds=np.zeros(len(one) + 1, np.float32),
            rewards=one.rewards,
            dones=dones,
        )
        description = {"feature_names": FEATURES, "agent_id": one.agent_id, "action_lookup": {}, "action_dim": 3}
        (folder / f"rollout_sample_{number:03d}.json").write_text(json.dumps(description))
        entries.append({"sample": f"rollout_sample_{number:03d}.npz"})
    (folder / "rollout_sample_manifest.json").write_text(json.dumps({"samples": entries}))


@dataclass(frozen=True)
class Read:
    """A recording and what was read of it, and what the dataset says of itself."""

    form: str
    wrote: TrajectoryBatch
    got: TrajectoryBatch
    opened: OpenDataset
    path: Path

    def same(self, *names: str) -> bool:
        """Whether these arrays of rows or trajectories came back, in the rows that did."""
        return all(self._same(name) for name in names)

    def _same(self, name: str) -> bool:
        places = {
            "rewards": self.wrote.rewards,
            "ticks": self.wrote.ticks,
            **self.wrote.columns,
            **self.wrote.observations,
        }
        found = {"rewards": self.got.rewards, "ticks": self.got.ticks, **self.got.columns, **self.got.observations}
        per_trajectory = name in vars(self.wrote) and name not in places
        if name not in found and not per_trajectory:
            return False
        ours, theirs = (vars(self.wrote)[name], vars(self.got)[name]) if per_trajectory else (places[name], found[name])
        if self.form == "original" and not per_trajectory:
            ours = np.delete(ours, self.wrote.offsets[:-1], axis=0)
        return ours.dtype == theirs.dtype and np.array_equal(ours, theirs)


def read(form: str, wrote: TrajectoryBatch, folder: Path, info: DatasetInfo | None = None) -> Read:
    path = write(form, wrote, folder, info)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        with open_dataset(path) as opened:
            blocks = [opened.source.load_block(block) for block in range(len(opened.source.block_offsets) - 1)]
            got = canonical(TrajectoryBatch.concatenate(blocks))
    if form != "original":
        wrote = canonical(wrote)
    return Read(form, wrote, got, opened, path)


def attempt(form: str, batch: TrajectoryBatch) -> bool:
    """Whether it can be written, and comes back in every bit."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            got = read(form, batch, Path(folder)).got
        except TrajectoryError:
            return False
    arrays = [("rewards", canonical(batch).rewards, got.rewards)]
    for kind in ("columns", "observations", "final_observations"):
        ours, theirs = vars(canonical(batch))[kind], vars(got)[kind]
        if ours.keys() != theirs.keys():
            return False
        arrays += [(name, array, theirs[name]) for name, array in ours.items()]
    return all(ours.tobytes() == theirs.tobytes() and ours.dtype == theirs.dtype for _, ours, theirs in arrays)


def yes_no(kept: bool) -> str:
    return "yes" if kept else "no"


def final_observations(found: Read) -> str:
    ours, theirs = found.wrote.final_observations, found.got.final_observations
    return yes_no(all(np.array_equal(ours[name], theirs[name]) for name in ("map", "features")))


def ends(found: Read) -> str:
    if found.same("terminated", "truncated"):
        return "both"
    done = found.wrote.terminated | found.wrote.truncated
    as_true_ends = np.array_equal(found.got.terminated, done) and not found.got.truncated.any()
    assert as_true_ends
    return "both as true ends"


def first_steps(found: Read) -> str:
    lost = found.wrote.num_steps - found.got.num_steps
    assert lost in (0, len(found.wrote))
    return "lost" if lost else "kept"


def vocabulary(found: Read) -> str:
    return "yes" if found.got.schema.vocabulary == TEXTS else "where a sample says it"


def dtypes(found: Read) -> str:
    if found.same(*OF_DTYPES):
        return "all"
    assert found.got.schema.observations.keys() == {"map", "features"}
    return "float32 `map` and `features`"


def columns_in_order(found: Read) -> str:
    """The order in which a network would take its inputs."""
    ours = [name for name in found.wrote.schema.observations if name in found.got.schema.observations]
    return yes_no(ours == list(found.got.schema.observations))


def order(found: Read) -> str:
    ids = found.opened.source.table.agent_ids.tolist()
    assert ids in (sorted(ids), sorted(ids, reverse=True))  # written by number, and those of great numbers begin first
    return "as written" if ids == sorted(ids) else "by first tick"


def pieces(found: Read) -> str:
    """Whether what a recorder cut is still cut when it is written as it is."""
    if found.form == "original":
        return "cut at `dones`"
    whole = recording((6,))
    with tempfile.TemporaryDirectory() as folder:
        path = write_as_it_is(found.form, split_every(whole, 2), Path(folder))
        with open_dataset(path) as opened:
            count, source = len(opened.source.table), opened.source
            blocks = [source.load_block(block) for block in range(len(source.block_offsets) - 1)]
        again = joined(canonical(TrajectoryBatch.concatenate(blocks)))
    assert (len(again), again.rewards.tolist()) == (1, whole.rewards.tolist())
    return "kept" if count == 3 else "joined"


def write_as_it_is(form: str, batch: TrajectoryBatch, folder: Path) -> Path:
    from townlet_trajectory import save_batch, write_shards
    from townlet_trajectory.formats.minari.writer import to_minari

    path = folder / NAMES[form]
    if form == "captures":
        FORM.write(path, batch)
    elif form == "shards":
        write_shards(path, batch)
    elif form == "minari":
        to_minari(batch, path.name, root=folder)
    else:
        save_batch(path, batch)
    return path


def info_kept(found: Read) -> str:
    if found.form == "original":
        return "no"
    with tempfile.TemporaryDirectory() as folder:
        done = convert(found.wrote, Path(folder) / NAMES[found.form], to=found.form, capture=FORM, info=INFO)
    names = {field.name for field in fields(INFO) if vars(INFO)[field.name] != vars(DatasetInfo())[field.name]}
    assert set(done.left_out) in (set(), names)
    return yes_no(not done.left_out)


def compressed(found: Read) -> str:
    """Whether a column of zeros takes less than its bytes."""
    schema = TrajectorySchema(
        observations={"map": ArraySpec("float32", (1, 64, 64)), "features": ArraySpec("float32", (2,))},
        decisions=default_decision_columns(),
        vocabulary=TEXTS,
    )
    batch = recording((40,), schema=schema)
    batch = replace(batch, observations={name: np.zeros_like(array) for name, array in batch.observations.items()})
    with tempfile.TemporaryDirectory() as folder:
        path = write(found.form, batch, Path(folder))
        size = sum(each.stat().st_size for each in ([path] if path.is_file() else path.rglob("*")) if each.is_file())
    return yes_no(size < batch.observations["map"].nbytes / 2)


def written_in_blocks(found: Read) -> str:
    if found.form == "original":
        return "no"
    limit = "townlet_trajectory.formats.convert.MAX_NPZ_BYTES"
    with tempfile.TemporaryDirectory() as folder, patch(limit, 1000):
        try:
            write(found.form, found.wrote, Path(folder))
        except TrajectoryError:
            return "no"
    return "yes"


def read_in_blocks(found: Read) -> str:
    """By trajectories, by many together, or all at once."""
    source = found.opened.source
    if isinstance(source, BatchSource):
        return "all at once"
    return "a sample at a time" if len(source.block_offsets) - 1 == len(source.table) else "a block at a time"


def written(form: str, batch: TrajectoryBatch) -> str:
    if form == "original":
        return "no"
    return "yes" if attempt(form, batch) else "refused"


def without_a_town(form: str) -> str:
    """Observations without `map` and `features`, decisions without probabilities."""
    schema = TrajectorySchema(
        observations={"position": ArraySpec("float32", (2,))},
        decisions={"action": ArraySpec("int64")},
        vocabulary=TEXTS,
    )
    return written(form, recording(schema=schema))


PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.1), high=(1.0, 2.5))


def recording_of(actions: MultiDiscrete | Box, memory: int = 5) -> TrajectoryBatch:
    """As a recorder writes where actions are arrays and the policy remembers as many numbers."""
    mask = {"action_mask": ArraySpec("bool", (5,))} if isinstance(actions, MultiDiscrete) else {}
    decisions = {**default_decision_columns(actions), "policy_state": ArraySpec("float32", (memory,))}
    schema = replace(
        SCHEMA,
        observations={"features": ArraySpec("float32", (2,)), **mask},
        decisions=decisions,
        vocabulary=(),
        actions=actions,
    )
    batch, rng = recording(schema=schema), np.random.default_rng(2)
    columns = {**batch.columns, "policy_state": rng.normal(size=(batch.num_steps, memory)).astype(np.float32)}
    for name in ACTION_COLUMNS & columns.keys():
        low, high = (np.zeros(2), np.array([2, 1])) if mask else (np.float32(NUMBERS.low), np.float32(NUMBERS.high))
        drawn = np.clip(rng.normal(size=(batch.num_steps, 2)), low, high)
        columns[name] = (np.round(drawn) if mask else drawn).astype(actions.dtype)
    return replace(batch, columns=columns)


def remembered(memory: int = 5) -> TrajectoryBatch:
    """Discrete actions of a policy with a memory."""
    batch = recording(
        schema=replace(SCHEMA, decisions={**SCHEMA.decisions, "policy_state": ArraySpec("float32", (memory,))})
    )
    state = np.random.default_rng(2).normal(size=(batch.num_steps, memory)).astype(np.float32)
    return replace(batch, columns={**batch.columns, "policy_state": state})


def not_finite(form: str, name: str) -> str:
    """Log-probabilities of steps that nothing with a probability decided."""
    batch = recording()
    columns = {column: array.copy() for column, array in batch.columns.items()}
    columns[name][1] = np.nan
    return written(form, replace(batch, columns=columns))


def of_another_network(found: Read, kept: bool, column: str) -> str:
    return "of a network that did not act" if column in found.got.columns else yes_no(kept)


def any_text(form: str) -> str:
    batch, ids = recording((1, 1)), np.array(["a\0/#1 ä", "\ud800"], object)
    kept = []
    for agent_id in ids:
        named = replace(batch[:1], agent_ids=np.array([agent_id], object))
        with tempfile.TemporaryDirectory() as folder:
            try:
                kept.append(
                    read(form, named, Path(folder)).got.agent_ids[0] == agent_id if form != "original" else True
                )
            except TrajectoryError:
                kept.append(False)
    assert kept[0]
    return "any" if kept[1] else "Unicode"


FACTS: dict[str, Callable[[Read], str]] = {
    "steps: the first of each trajectory": first_steps,
    "executed action, reward": lambda found: yes_no(found.same("action", "rewards")),
    "who decided (`source`, `kind`, `possessed`, `demonstrated`)": lambda found: yes_no(
        found.same("source", "kind", "possessed", "demonstrated")
    ),
    "proposals and vetoes (`expert_action`, `chosen_action`, `vetoed`, `veto_reason`)": lambda found: yes_no(
        found.same("expert_action", "chosen_action", "vetoed", "veto_reason")
    ),
    "who proposed, and when (`proposer`, `proposal_age`, names of proposers)": lambda found: yes_no(
        found.same("proposer", "proposal_age") and found.got.schema.proposers == found.wrote.schema.proposers
    ),
    "difficulty (`observation_age`, `temperature`)": lambda found: yes_no(found.same("observation_age", "temperature")),
    "`behavior_log_prob`": lambda found: of_another_network(found, found.same("behavior_log_prob"), "old_log_probs"),
    "`behavior_log_prob` that is not finite": lambda found: not_finite(found.form, "behavior_log_prob"),
    "`policy_log_prob`": lambda found: yes_no(found.same("policy_log_prob")),
    "`policy_log_prob` that is not finite": lambda found: not_finite(found.form, "policy_log_prob"),
    "`value`": lambda found: of_another_network(found, found.same("value"), "value_preds"),
    "reward terms (`reward_*`)": lambda found: yes_no(found.same("reward_meal")),
    "masks of legal actions": lambda found: yes_no(found.same("action_mask")),
    "final observation": final_observations,
    "ends (`terminated`, `truncated`)": ends,
    "label of the episode": lambda found: yes_no(found.same("episode_labels")),
    "agent id": lambda found: yes_no(found.same("agent_ids")),
    "text of agent ids": lambda found: any_text(found.form),
    "world": lambda found: yes_no(found.same("worlds")),
    "episode": lambda found: yes_no(found.same("episodes")),
    "tick": lambda found: yes_no(found.same("ticks")),
    "dtypes of observations": dtypes,
    "worlds without `map` and `features`": lambda found: without_a_town(found.form),
    "actions of several parts": lambda found: written(found.form, recording_of(PARTS)),
    "actions that are numbers": lambda found: written(found.form, recording_of(NUMBERS)),
    "the policy's memory (`policy_state`)": lambda found: written(found.form, remembered()),
    "order of columns": columns_in_order,
    "vocabulary": vocabulary,
    "names of features": lambda found: yes_no(found.opened.feature_names == FEATURES),
    "names of veto reasons": lambda found: yes_no(found.got.schema.veto_reasons == REASONS),
    "group, seeds, policies, tags, notes": info_kept,
    "order of trajectories": order,
    "pieces that a recorder cut, written as they are": pieces,
    "compressed": compressed,
    "written block by block": written_in_blocks,
    "read": read_in_blocks,
}


def table() -> Iterable[str]:
    """The lines of the table."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for form in FORMS:
            place = Path(folder) / form
            place.mkdir()
            found.append(read(form, recording(), place))
        yield "| kept | " + " | ".join(FORMS.values()) + " |"
        yield "| --- |" + " --- |" * len(FORMS)
        for fact, cell in FACTS.items():
            yield f"| {fact} | " + " | ".join(cell(each) for each in found) + " |"


def test_the_table_is_what_a_round_trip_finds() -> None:
    found = list(table())
    assert len(found) == 2 + len(FACTS)
    written = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    begin = written.index(found[0])
    # `python tests-integration/test_dataset_forms.py` prints it.
    assert written[begin : begin + len(found)] == found


MODES = ("script", "policy", "held", "vetoed", "possessor", "possessor without a wish")


def modes_of(trajectory: Trajectory) -> list[str]:
    """Who decided each step, and how."""
    columns = trajectory.columns
    held = (columns["kind"] == Kind.FORCED) & (columns["held_action"] >= 0)
    return np.select(
        [
            columns["vetoed"],
            columns["possessed"] & columns["demonstrated"],
            columns["possessed"],
            held,
            columns["source"] == Source.LEARNED,
        ],
        ["vetoed", "possessor", "possessor without a wish", "held", "policy"],
        "script",
    ).tolist()


class Curfew(StatelessGuardrail):
    """Nobody does anything in every seventh tick."""

    reasons = ("curfew",)

    def __init__(self) -> None:
        self.tick = 0

    def review(self, view: View, actions: NDArray[np.int64]) -> Verdicts:
        self.tick += 1
        vetoed = np.full(len(actions), self.tick % 7 == 0)
        return Verdicts(vetoed=vetoed, replacement=np.zeros_like(actions), reason=np.zeros(len(actions), np.int8))


def lived() -> tuple[TrajectoryBatch, CaptureForm]:
    """An episode of a town in which everybody decides for one agent by turns; a person says at its end what it was."""
    town = Town(TownConfig(num_agents=3, episode_ticks=60), num_worlds=1)
    service = TrajectoryService(schema_of(town.spec, masked=True, proposers=("script",)), max_rows=10_000)
    runtime = BatchRuntime(
        town.spec,
        town.scripted("scripted"),
        config=BridgeConfig(ratio=0.5, commitment=CommitmentConfig(ticks=3)),
        policy=UniformPolicy.of(town.spec),
        service=service,
        seed=5,
        guardrails=[Curfew()],
    )
    loop = BatchLoop(town, runtime)
    loop.reset(seed=3)
    for tick in range(60):
        if tick == 20:
            runtime.acquire_possession("agent_01")
        if 20 <= tick < 30 and tick % 2:
            runtime.feed_action("agent_01", "wait")
        if tick == 30:
            runtime.release_possession("agent_01")
        loop.step()
    runtime.label_episode(EpisodeLabel.FAILURE)
    runtime.label_episode(EpisodeLabel.SUCCESS, "agent_01")
    layout = town_layout(town.spec)
    return runtime.collect_trajectory(), replace(FORM, layout=layout)


def test_an_episode_in_which_everybody_decided_comes_back_whole_from_every_form(tmp_path: Path) -> None:
    batch, form = lived()
    whole = canonical(batch)
    [ann] = [one for one in whole if one.agent_id == "agent_01"]
    assert (len(ann), ann.episode_label) == (60, EpisodeLabel.SUCCESS)
    assert {label.name for one in whole for label in [one.episode_label]} == {"SUCCESS", "FAILURE"}
    assert set(modes_of(ann)) == set(MODES)
    # From each form to the next, so that all of it is read from all of them, and once more the other way round.
    source: TrajectoryBatch | Path = split_every(batch, 7)
    for place, to in enumerate(("shards", "minari", "npz", "captures", "npz", "minari", "shards", "captures")):
        target = tmp_path / str(place) / NAMES[to]
        convert(source, target, to=to, capture=form)
        with open_dataset(target) as opened:
            assert opened.source.schema.proposers == ("script",)
            blocks = [opened.source.load_block(block) for block in range(len(opened.source.block_offsets) - 1)]
            found = canonical(joined(TrajectoryBatch.concatenate(blocks)))
        assert found.episode_labels.tolist() == whole.episode_labels.tolist(), to
        for one, expected in zip(found, whole, strict=True):
            assert modes_of(one) == modes_of(expected), to
            assert one.columns.keys() == expected.columns.keys()
            for name, column in expected.columns.items():
                assert one.columns[name].tobytes() == column.tobytes(), (to, name)
        source = target
    convert(source, tmp_path / "steps", to="parquet")
    rows = parquet.read_table(tmp_path / "steps" / "steps.parquet")
    said = dict(zip(rows["agent_id"].to_pylist(), rows["episode_label"].to_pylist(), strict=True))
    assert said == {"agent_01": "success", "agent_02": "failure", "agent_03": "failure"}
    assert json.loads(rows.schema.metadata[b"townlet"])["proposers"] == ["script"]


@pytest.mark.parametrize("actions", [PARTS, NUMBERS])
def test_an_episode_of_array_actions_comes_back_whole_from_every_form(
    actions: MultiDiscrete | Box, tmp_path: Path
) -> None:
    batch = recording_of(actions)
    whole = canonical(batch)
    source: TrajectoryBatch | Path = split_every(batch, 3)
    for place, to in enumerate(("shards", "minari", "npz", "minari", "shards", "npz")):
        target = tmp_path / str(place) / NAMES[to]
        done = convert(source, target, to=to)
        assert done.num_steps == batch.num_steps
        with open_dataset(target) as opened:
            assert opened.source.schema == batch.schema
            blocks = [opened.source.load_block(block) for block in range(len(opened.source.block_offsets) - 1)]
            found = canonical(joined(TrajectoryBatch.concatenate(blocks)))
        assert found.episode_labels.tolist() == whole.episode_labels.tolist(), to
        for arrays, expected in (
            (found.columns, whole.columns),
            (found.observations, whole.observations),
            (found.final_observations, whole.final_observations),
        ):
            assert arrays.keys() == expected.keys()
            for name, array in expected.items():
                assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
                assert arrays[name].tobytes() == array.tobytes(), (to, name)
        source = target
    with pytest.raises(CaptureError, match="a capture has one action id a step"):
        convert(source, tmp_path / "capture", to="captures", capture=FORM)
    assert not (tmp_path / "capture").exists()
    convert(source, tmp_path / "steps", to="parquet")
    rows = parquet.read_table(tmp_path / "steps" / "steps.parquet")
    order = np.lexsort((rows["tick"].to_numpy(), rows["agent_id"].to_numpy()))
    listed = np.array(rows["action"].to_pylist())[order]
    by_agent = np.lexsort((whole.ticks, whole.agent_ids[whole.trajectory_of_row].astype(str)))
    np.testing.assert_array_equal(listed, whole.columns["action"][by_agent])
    assert "actions" in json.loads(rows.schema.metadata[b"townlet"])


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in table())

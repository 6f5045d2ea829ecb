"""What is found in a source: each kind of trouble by its name, whatever the blocks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import NUMBERS, PARTS, any_batches, array_batch, array_schema, make_trajectory

from townlet_trajectory import ArraySpec, Kind, NonFiniteError, Trajectory, TrajectoryBatch, TrajectorySchema
from townlet_trajectory.audit.dataset import audit_dataset
from townlet_trajectory.audit.report import Finding, Severity
from townlet_trajectory.dataset.source import BatchSource
from townlet_trajectory.errors import ArtifactError, TrajectoryError

KITCHEN = Path(__file__).parent / "data" / "kitchen_capture" / "rollout_sample_manifest.json"
SCHEMA = TrajectorySchema(
    observations={"features": ArraySpec("float32", (4,)), "action_mask": ArraySpec("bool", (3,))},
    decisions={
        "action": ArraySpec("int64"),
        "chosen_action": ArraySpec("int64"),
        "kind": ArraySpec("int8"),
        "source": ArraySpec("int8"),
        "value": ArraySpec("float32"),
    },
    vocabulary=("wait", "eat", "chat"),
)


def trajectory(
    seed: int, steps: int = 100, *, columns: Mapping[str, NDArray[np.generic]] | None = None, **identity: object
) -> Trajectory:
    rng = np.random.default_rng(seed)
    actions = rng.integers(0, 3, steps)
    return replace(
        make_trajectory(seed, steps, **identity),
        schema=SCHEMA,
        observations={
            "features": rng.standard_normal((steps + 1, 4)).astype(np.float32),
            "action_mask": np.ones((steps + 1, 3), np.bool_),
        },
        columns={
            "action": actions,
            "chosen_action": actions,
            "kind": np.full(steps, Kind.DECISION, np.int8),
            "source": np.ones(steps, np.int8),
            "value": np.zeros(steps, np.float32),
            **(columns or {}),
        },
    )


def source(*trajectories: Trajectory, rows_per_block: int = 50) -> BatchSource:
    return BatchSource(TrajectoryBatch.from_trajectories(trajectories), rows_per_block=rows_per_block)


def findings(data: BatchSource, **options: object) -> dict[str, Finding]:
    """The last finding of each code."""
    return {finding.code: finding for finding in audit_dataset(data, **options).findings}


def problems(data: BatchSource) -> set[str]:
    return {code for code, finding in findings(data).items() if finding.severity is not Severity.INFO}


def test_a_sound_dataset_passes() -> None:
    data = source(trajectory(1), trajectory(2, agent_id="bob", terminated=True))
    report = audit_dataset(data)
    assert problems(data) == set()
    assert [(dataset.status, dataset.sample_count) for dataset in report.datasets] == [("PASS", 2)]
    told = findings(data)
    assert told["lengths"].message == "2 of 100 to 100 steps, median 100"
    assert told["strongest-feature"].entry.startswith("features[")
    assert told["constant-features"].entry == "action_mask"


def leaking(action_column: int, *, forced: NDArray[np.bool_] | None = None) -> Trajectory:
    """A trajectory one of whose features is the action: at every step, or at the forced ones only."""
    base = trajectory(5, 400)
    features = np.array(base.observations["features"])
    rows = np.ones(400, np.bool_) if forced is None else forced
    features[:400][rows, action_column] = base.columns["action"][rows]
    kind = np.where(rows & (forced is not None), Kind.FORCED, Kind.DECISION).astype(np.int8)
    observations = {**base.observations, "features": features}
    return replace(base, observations=observations, columns={**base.columns, "kind": kind})


def test_a_feature_that_is_the_action_is_a_leak() -> None:
    data = source(leaking(2))
    assert problems(data) == {"label-leak"}
    assert findings(data)["label-leak"].entry == "features[2]"
    assert findings(data, element_names={"features": ["a", "b", "held", "d"]})["label-leak"].entry == "features.held"
    assert "strongest-feature" not in findings(data)


def test_a_commitment_may_show_what_it_holds() -> None:
    forced = np.arange(400) % 4 != 0
    assert problems(source(leaking(2, forced=forced))) == set()


def test_a_one_hot_copy_is_a_leak_of_each_action() -> None:
    base = trajectory(5, 400)
    features = np.array(base.observations["features"])
    features[:400, :3] = base.columns["action"][:, None] == np.arange(3)
    data = source(replace(base, observations={**base.observations, "features": features}))
    entries = [f.entry for f in audit_dataset(data).findings if f.code == "label-leak"]
    assert sorted(entries) == ["features[0]", "features[1]", "features[2]"]


def test_another_label_can_be_asked_for() -> None:
    data = source(trajectory(1))
    assert findings(data, label="value")["no-label"].severity is Severity.INFO
    assert "no-label" not in findings(data, label="chosen_action")


def test_the_same_content_twice_is_named() -> None:
    data = source(trajectory(1), trajectory(2, world=1), trajectory(1, world=2, episode=3, first_tick=7))
    assert problems(data) == {"duplicate-content"}
    assert findings(data)["duplicate-content"].message == (
        "1 of 3 repeat what another one saw, did and earned: "
        "alice (world 2, episode 3, tick 7) = alice (world 0, episode 0, tick 0)"
    )


def test_an_agent_cannot_be_at_one_tick_twice() -> None:
    data = source(trajectory(1), trajectory(2, first_tick=99))
    assert problems(data) == {"overlap"}
    assert "alice (world 0, episode 0, tick 99)" in findings(data)["overlap"].message


def test_pieces_are_measured_whole() -> None:
    whole = trajectory(1, terminated=True)
    data = source(whole[0:60], trajectory(2, world=1), whole[60:100])
    assert findings(data)["lengths"].message == "2 of 100 to 100 steps, median 100"


@pytest.mark.parametrize(
    ("name", "value", "code", "severity"),
    [
        ("action", 3, "unknown-action", Severity.FAIL),
        ("action", -1, "unknown-action", Severity.FAIL),
        ("kind", 3, "unknown-code", Severity.FAIL),
        ("source", -1, "unknown-code", Severity.FAIL),
        ("value", np.nan, "non-finite", Severity.WARN),
        ("value", np.inf, "non-finite", Severity.WARN),
        ("chosen_action", 7, "forbidden-action", Severity.WARN),
    ],
)
def test_numbers_that_mean_nothing(name: str, value: float, code: str, severity: Severity) -> None:
    column = np.array(trajectory(1).columns[name])
    column[[3, 50]] = value
    found = findings(source(trajectory(1, columns={name: column})))
    assert found[code].severity is severity
    assert found[code].message.startswith(("2 of 100 ", "2 numbers in 100 "))


def test_a_decision_for_what_the_mask_forbids() -> None:
    base = trajectory(1)
    mask = np.array(base.observations["action_mask"])
    mask[10, base.columns["action"][10]] = False
    mask[11, base.columns["action"][11]] = False
    kind = np.array(base.columns["kind"])
    kind[11] = Kind.FOREIGN
    observations = {**base.observations, "action_mask": mask}
    data = source(replace(base, observations=observations, columns={**base.columns, "kind": kind}))
    assert findings(data)["forbidden-action"].message.startswith("1 of 100 steps are decisions")


def test_what_is_never_taken_and_what_never_changes() -> None:
    actions = np.zeros(100, np.int64)
    base = trajectory(1, columns={"action": actions, "chosen_action": actions})
    still = replace(base, rewards=np.full(100, 0.25, np.float32))
    found = findings(source(still))
    assert found["unused-actions"].message == "2 of 3 actions are never taken: eat, chat"
    assert found["one-action"].message == "always wait: there is nothing to tell"
    assert found["constant-reward"].message == "always 0.25"


class Damaged(BatchSource):
    """Three blocks, the second of which cannot be read."""

    def __init__(self, error: TrajectoryError) -> None:
        trajectories = [trajectory(seed, world=seed) for seed in (1, 2, 1)]
        super().__init__(TrajectoryBatch.from_trajectories(trajectories), rows_per_block=100)
        self._error = error

    def load_block(self, block: int) -> TrajectoryBatch:
        if block == 1:
            raise self._error
        return super().load_block(block)


def test_a_block_that_cannot_be_read_is_named_and_the_others_are_looked_at() -> None:
    found = findings(Damaged(ArtifactError("data/steps-000001.arrow", "verify", "expected SHA-256 a, got b")))
    assert (found["block"].entry, found["block"].message) == ("steps-000001.arrow", "expected SHA-256 a, got b")
    assert "alice (world 1, episode 0, tick 0) = alice" in found["duplicate-content"].message


def test_numbers_that_are_none_are_said_to_be_so() -> None:
    finding = findings(Damaged(NonFiniteError("features", 3, 7, float("nan"))))["non-finite"]
    assert (finding.severity, finding.entry) == (Severity.FAIL, "block 1")
    assert finding.message == "`features` must be finite, got nan at tick 3, row 7"


@pytest.mark.filterwarnings("ignore::townlet_trajectory.formats.captures.directory.UnnamedActionsWarning")
def test_a_capture_is_audited_by_its_manifest_and_names_its_features() -> None:
    (dataset,) = audit_dataset(KITCHEN).datasets
    assert (dataset.name, dataset.status, dataset.sample_count) == ("rollout_sample_manifest.json", "PASS", 2)
    constant = [finding.message for finding in dataset.findings if finding.entry == "features"]
    assert "features.need_" in constant[0] or "features.lateness_counter" in constant[0]


def test_a_path_that_is_no_dataset_fails(tmp_path: Path) -> None:
    (dataset,) = audit_dataset(tmp_path).datasets
    assert (dataset.status, [f.code for f in dataset.findings]) == ("FAIL", ["manifest"])


def test_nothing_at_all_is_a_warning() -> None:
    data = BatchSource(TrajectoryBatch.empty(SCHEMA))
    assert problems(data) == {"empty"}


@given(any_batches(), st.integers(1, 9))
def test_the_blocks_change_nothing(batch: TrajectoryBatch, rows: int) -> None:
    one = audit_dataset(BatchSource(batch, rows_per_block=rows))
    assert one == audit_dataset(BatchSource(batch))
    assert one.text().replace("\n", "").isprintable()


def of_parts(steps: int = 400) -> TrajectoryBatch:
    """Drawn at random from a mask that allows everything; the first feature is the part `hand`."""
    batch = array_batch(array_schema(PARTS), (steps,), seed=3)
    columns = {name: column.copy() for name, column in batch.columns.items()}
    columns["chosen_action"][:] = columns["action"]
    columns["kind"][:] = Kind.DECISION
    features = np.random.default_rng(4).normal(size=(steps, 3)).astype(np.float32)
    features[:, 0] = columns["action"][:, 1]
    seen = {"features": features, "action_mask": np.ones((steps, 5), np.bool_)}
    return replace(batch, columns=columns, observations=seen)


def test_the_leaks_of_each_part_are_looked_for() -> None:
    report = audit_dataset(BatchSource(of_parts(), rows_per_block=50))
    leaks = [finding for finding in report.findings if finding.code == "label-leak"]
    assert [finding.entry for finding in leaks] == ["features[0]"]
    assert "alone it tells `action.hand`: right in 100.0%" in leaks[0].message
    (strongest,) = (finding for finding in report.findings if finding.code == "strongest-feature")
    assert strongest.message.startswith("alone it tells `action.move`")
    assert {"no-label", "unknown-action", "forbidden-action"}.isdisjoint(finding.code for finding in report.findings)


def test_parts_that_are_none_never_taken_or_forbidden() -> None:
    batch = of_parts()
    columns = {name: column.copy() for name, column in batch.columns.items()}
    columns["action"][:, 0] = np.where(columns["action"][:, 0] == 2, 0, columns["action"][:, 0])  # never south
    columns["action"][:3, 1] = 2  # no such value
    mask = np.ones((400, 5), np.bool_)
    mask[:10, 3:] = columns["chosen_action"][:10, 1, None] != np.arange(2)  # forbids the choice of the second part
    changed = replace(batch, columns=columns, observations={**batch.observations, "action_mask": mask})
    told = {(finding.code, finding.entry): finding.message for finding in audit_dataset(BatchSource(changed)).findings}
    assert told["unused-actions", "action.move"] == "1 of 3 actions are never taken: south"
    assert told["unknown-action", "action.hand"].startswith("3 of 400 are no index of the keys of the part")
    assert told["forbidden-action", "chosen_action"].startswith("10 of 400 steps")


def test_numbers_have_bounds_and_no_leaks() -> None:
    batch = array_batch(array_schema(NUMBERS), (40, 30), seed=1)
    told = findings(BatchSource(batch))
    assert "no leak was looked for" in told["no-label"].message and "unknown-action" not in told
    beyond = batch.columns["action"].copy()
    beyond[:5, 0] = 1.5
    wrong = findings(BatchSource(replace(batch, columns={**batch.columns, "action": beyond})))["unknown-action"]
    assert (wrong.severity, wrong.message) == (Severity.FAIL, "5 of 70 are not within the bounds")


def test_lives_that_differ_in_numbers_alone_are_no_duplicates() -> None:
    batch = array_batch(array_schema(NUMBERS), (4,), seed=1)
    turned = replace(batch, columns={**batch.columns, "action": batch.columns["action"][::-1].copy()})
    elsewhere = replace(turned, worlds=np.array([5]))
    both = TrajectoryBatch.concatenate([batch, elsewhere])
    assert "duplicate-content" not in findings(BatchSource(both))
    same = TrajectoryBatch.concatenate([batch, replace(batch, worlds=np.array([5]))])
    assert "duplicate-content" in findings(BatchSource(same))

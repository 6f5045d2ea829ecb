"""A record that is replayed: its ticks in any order, who decided, the world made again, and where both part."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_live_serve import Page
from test_live_stage import running

from townlet_runtime.cli.commands.capture import record_world
from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.running import replay as command
from townlet_runtime.cli.running.replay import ReplayOptions, read_record, records_in, require_unchanged
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds
from townlet_runtime.config import load_config
from townlet_runtime.errors import ConfigError, SimulationError
from townlet_runtime.live.history import STRIP_TICKS, Decider
from townlet_runtime.live.hub import Hub
from townlet_runtime.live.record import Record
from townlet_runtime.live.replay import ReplayDesk, ReplayStage
from townlet_runtime.live.resimulation import Resimulation
from townlet_runtime.live.serve import served
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory import (
    ArraySpec,
    ArtifactError,
    DatasetInfo,
    TrajectoryBatch,
    TrajectorySchema,
    default_decision_columns,
)
from townlet_trajectory.audit.explanation import StepNames
from townlet_trajectory.data.schema import Kind, Source
from townlet_trajectory.formats.batch_file import save_batch

SEED, TICKS = 11, 150


def worlds() -> Worlds:
    return Worlds.of(load_config(None).config)


@pytest.fixture(scope="module")
def lived() -> TrajectoryBatch:
    """A town by its script."""
    batches, _, _ = record_world(worlds(), ticks=TICKS, seed=SEED)
    return batches[AGENTS]


def record_of(batch: TrajectoryBatch) -> Record:
    return Record({AGENTS: (StepNames.of(batch.schema), batch)})


def small(*lives: tuple[str, int, list[int]], **columns: list[int]) -> TrajectoryBatch:
    """Lives as agent, episode and ticks in a row; reward 1 at every tick."""
    lengths = [len(ticks) for *_, ticks in lives]
    steps = sum(lengths)
    decisions = default_decision_columns()
    given = {name: np.zeros(steps, spec.dtype) for name, spec in decisions.items()}
    given["held_action"] -= 1
    for name, values in columns.items():
        given[name] = np.array(values, decisions[name].dtype)
    return TrajectoryBatch(
        schema=TrajectorySchema(
            observations={"x": ArraySpec("float32", (1,))},
            decisions=decisions,
            vocabulary=("wait", "go"),
            proposers=("script",),
            veto_reasons=("late", "full"),
        ),
        offsets=np.cumsum([0, *lengths]),
        observations={"x": np.arange(steps, dtype=np.float32)[:, None]},
        final_observations={"x": np.zeros((len(lives), 1), np.float32)},
        columns=given,
        rewards=np.ones(steps, np.float32),
        ticks=np.concatenate([np.array(ticks) for *_, ticks in lives]),
        terminated=np.zeros(len(lives), np.bool_),
        truncated=np.ones(len(lives), np.bool_),
        agent_ids=np.array([agent for agent, *_ in lives], object),
        worlds=np.zeros(len(lives), np.int64),
        episodes=np.array([episode for _, episode, _ in lives]),
    )


def test_ticks_have_their_agents_in_the_order_of_their_first_appearance() -> None:
    record = record_of(small(("zoe", 0, [4, 5, 6]), ("ann", 0, [5, 6, 7])))
    group = record.groups[AGENTS]
    assert (record.first, record.last) == (4, 7)
    assert [group.ids_of(group.rows_at(tick)).tolist() for tick in (3, 4, 5, 7)] == [
        [],
        ["zoe"],
        ["zoe", "ann"],
        ["ann"],
    ]
    assert group.cells_of(group.rows_at(7)).tolist() == [1]  # its own cell, also alone


def test_agents_are_coloured_by_who_decided() -> None:
    batch = small(
        ("ann", 0, [0, 1, 2, 3, 4]),
        source=[Source.SCRIPTED, Source.LEARNED, Source.EXTERNAL, Source.LEARNED, Source.SCRIPTED],
        kind=[Kind.DECISION, Kind.DECISION, Kind.FOREIGN, Kind.DECISION, Kind.FORCED],
        possessed=[0, 0, 1, 0, 0],
        vetoed=[0, 0, 0, 1, 0],
        veto_reason=[0, 0, 0, 2, 0],
        held_action=[-1, -1, -1, -1, 1],
    )
    record = record_of(batch)
    expected = [Decider.SCRIPT, Decider.LEARNED, Decider.PERSON, Decider.VETOED, Decider.COMMITTED]
    assert record.groups[AGENTS].deciders.tolist() == expected
    stage = ReplayStage(record, world="small")
    stage.history.go_to(3)
    assert [point.deciders.tolist() for point in stage.history.points()][3][Decider.VETOED] == 1
    assert stage.history.points()[3].vetoes.tolist() == [0, 1]
    assert stage.history.strip_of("ann")["vetoed"] == [False, False, False, True]


def test_episodes_that_count_from_zero_follow_each_other() -> None:
    record = record_of(small(("ann", 0, [0, 1, 2]), ("ann", 1, [0, 1]), ("ann", 5, [0])))
    assert (record.first, record.last) == (0, 5)
    assert record.groups[AGENTS].ticks.tolist() == [0, 1, 2, 3, 4, 5]
    group, row = record.find("ann", 4)
    assert (group.explained(row).episode, group.explained(row).tick) == (1, 1)


def test_a_tick_can_be_gone_to_in_any_order() -> None:
    ticks = list(range(3, 3 + 2 * STRIP_TICKS))
    stage = ReplayStage(record_of(small(("ann", 0, ticks))), world="small")
    assert stage.seek(300) == 300
    assert [point.tick for point in stage.history.points()] == list(range(3, 301))
    assert stage.history.strip_of("ann")["ticks"] == list(range(101, 301))
    assert stage.seek(0) == 3 and stage.seek(10_000) == ticks[-1]
    assert stage.seek(3) == 3 and [point.tick for point in stage.history.points()] == [3]
    assert stage.history.strip_of("ann")["ticks"] == [3]


def test_at_its_end_it_pauses_and_plays_again_from_the_beginning() -> None:
    stage = ReplayStage(record_of(small(("ann", 0, [0, 1, 2]))), world="small", speed=None)
    paused = threading.Event()
    stage.watch(lambda: paused.set() if stage.snapshot is not None and stage.snapshot.paused else None)
    with running(stage):
        assert paused.wait(5.0)
        assert stage.snapshot is not None and stage.snapshot.tick == 2
        stage.pause()
        paused.clear()
        stage.play()
        assert stage.call(lambda: stage.history.tick).result(5.0) == 0


def test_the_world_is_made_again_and_looks_as_it_did(lived: TrajectoryBatch) -> None:
    record = record_of(lived)
    with closing(worlds().shown(worlds().towns(1))) as town:  # type: ignore[misc]  # it is one
        picture = Resimulation(town, record, seed=SEED)
        late = picture.after(TICKS - 1)
        early = picture.after(100)
        again = picture.after(TICKS - 1)
    assert picture.differs == ""
    assert late is not None and early is not None and again is not None
    assert late.drawn is not None and early.drawn is not None and again.drawn is not None
    np.testing.assert_array_equal(late.drawn[1].positions, again.drawn[1].positions)
    assert not np.array_equal(late.drawn[1].positions, early.drawn[1].positions)


def changed(batch: TrajectoryBatch, tick: int, what: str) -> TrajectoryBatch:
    row = int(batch.offsets[1] + tick)  # of the second agent
    if what == "rewards":
        rewards = batch.rewards.copy()
        rewards[row] += 1.0
        return replace(batch, rewards=rewards)
    seen = {name: array.copy() for name, array in batch.observations.items()}
    seen["features"][row, 0] += 1.0
    return replace(batch, observations=seen)


@pytest.mark.parametrize("what", ["rewards", "observations"])
def test_where_record_and_world_part_a_plain_grid_is_shown_and_said(lived: TrajectoryBatch, what: str) -> None:
    record = record_of(changed(lived, 70, what))
    with closing(worlds().make(1)) as town:
        stage = ReplayStage(record, world="town", picture=Resimulation(town, record, seed=SEED))
        with running(stage):
            shown = []
            for tick in (69, 71, 20):
                stage.pause()
                stage.call(lambda tick=tick: stage.seek(tick)).result(5.0)  # type: ignore[misc]  # its own tick
                stage.call(stage._publish).result(5.0)
                assert stage.snapshot is not None
                shown.append((stage.snapshot.tick, stage.snapshot.scene.width))
    assert shown == [(69, 16.0), (71, 4.0), (20, 4.0)]  # ten agents stand in a grid of four columns
    assert what in stage.note and "from tick 70 on" in stage.note
    assert stage.span["note"] == stage.note


def test_another_seed_is_another_world(lived: TrajectoryBatch) -> None:
    record = record_of(lived)
    with closing(worlds().make(1)) as town:
        picture = Resimulation(town, record, seed=SEED + 1)
        assert picture.after(record.first) is None
    assert picture.differs.startswith("from tick 0 on the ")


def test_a_record_that_lacks_agents_is_not_carried_along(lived: TrajectoryBatch) -> None:
    record = record_of(lived[1:])
    with closing(worlds().make(1)) as town:
        picture = Resimulation(town, record, seed=SEED)
        assert picture.after(record.first) is None
    assert picture.differs == "from tick 0 on the agents of the world are others than recorded"


def test_a_page_goes_through_a_record_and_changes_nothing(lived: TrajectoryBatch) -> None:
    stage = ReplayStage(record_of(lived), world="town", speed=200.0)
    with served(Hub(stage, ReplayDesk(stage), mode="replay"), host="127.0.0.1", port=0) as address, running(stage):
        page = Page(address)
        hello = page.last["hello"]
        assert hello["mode"] == "replay" and hello["world"] == "town"
        assert hello["can"]["seek"] and hello["can"]["step"]
        assert not any(hello["can"][name] for name in ("possess", "ratio", "reset", "again", "label", "teach", "swap"))
        page.until(lambda: "state" in page.last)
        assert page.last["state"]["replay"] == {"first": 0, "last": TICKS - 1, "note": ""}
        page.ask("pause")
        assert page.ask("seek", tick=60)["tick"] == 60
        page.until(lambda: page.tick == 60)
        agent = page.last["roster"]["ids"][0]
        for kind, fields in (("acquire", {"agent": agent}), ("ratio", {"value": 1.0}), ("reset", {"seed": None})):
            refused = page.ask(kind, **fields)
            assert not refused["ok"] and "record of what has happened" in refused["error"]
        page.ask("inspect", agent=agent)
        page.until(lambda: page.last.get("agent", {}).get("tick") == 60)
        group, row = stage.record.find(agent, 60)
        assert page.last["agent"]["explanation"] == group.explained(row).document()
        assert page.last["agent"]["explanation"]["saw"]["numbers"][0]["deviations"] is not None
        assert len(page.ask("strip", agent=agent)["ticks"]) == 61
        assert page.ask("moment", agent=agent, tick=10)["moment"]["tick"] == 10
        assert not page.ask("moment", agent="nobody", tick=10)["ok"]
        page.ask("step", ticks=2)
        page.until(lambda: page.tick == 62)
        page.close()


def console() -> Console:
    return Console(json=False, verbose=False, quiet=True)


def test_a_folder_of_one_record_for_each_group_is_one_record(tmp_path: Path) -> None:
    for group in ("left", "right"):
        save_batch(tmp_path / f"{group}.npz", small((f"{group}-1", 0, [0, 1])))
    (tmp_path / "notes.txt").write_text("of mine")
    assert [path.name for path in records_in(tmp_path)] == ["left.npz", "right.npz"]
    _, groups = read_record(tmp_path, console())
    stage = ReplayStage(Record(groups), world="two")
    assert [one["name"] for one in stage.group_documents()] == ["left", "right"]
    assert stage.places_of_groups() == {"right-1": 1}
    (tmp_path / "none").mkdir()
    with pytest.raises(ArtifactError):
        records_in(tmp_path / "none")


def test_a_run_has_the_record_that_somebody_put_into_it(tmp_path: Path) -> None:
    for name in ("begun.json", "manifest.json", "config.yaml", "summary.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(CommandError, match="a run with one record in it, found none"):
        records_in(tmp_path)
    save_batch(tmp_path / "shown.npz", small(("ann", 0, [0, 1])))
    assert records_in(tmp_path) == [tmp_path / "shown.npz"]
    save_batch(tmp_path / "again.npz", small(("ann", 0, [0, 1])))
    with pytest.raises(CommandError, match=r"found again\.npz, shown\.npz"):
        records_in(tmp_path)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_batch(tmp_path / "agents.npz", small(("ann", 0, [0, 1, 2])))
    monkeypatch.setattr(command, "MAX_STEPS", 2)
    with pytest.raises(ConfigError, match="expected at most 2 steps of agents and 2,048 MiB, got 3 and 0 MiB"):
        read_record(tmp_path, console())
    monkeypatch.setattr(command, "MAX_STEPS", 3)
    monkeypatch.setattr(command, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="3 steps"):
        read_record(tmp_path, console())
    with pytest.raises(ConfigError, match="at most 10,000,000 ticks, got 0 to 10,000,000"):
        record_of(small(("ann", 0, [0]), ("ben", 0, [10_000_000])))
    with pytest.raises(ConfigError, match="at least one step"):
        record_of(small(("ann", 0, [0]))[:0])


def test_options_that_would_change_a_record_are_refused() -> None:
    require_unchanged(WorldOptions(env="town"), {"--policy": None})
    with pytest.raises(CommandError, match="--policy: --replay shows a record"):
        require_unchanged(WorldOptions(), {"--policy": Path("p.onnx")})
    with pytest.raises(CommandError, match="--guardrail"):
        require_unchanged(WorldOptions(guardrails=("a:b",)), {})


def test_nothing_is_found_where_nothing_was_recorded() -> None:
    record = record_of(small(("ann", 0, [0, 1])))
    with pytest.raises(SimulationError, match="nothing is recorded of 'ben' at tick 1"):
        record.find("ben", 1)


def test_a_record_names_no_code_that_is_run(tmp_path: Path) -> None:
    asked = ReplayOptions(record=tmp_path, config=None, world=WorldOptions(), pace=None, seed=None, settings=())
    info = DatasetInfo(notes={"environment": "os:system"})
    with pytest.raises(CommandError, match="of the code os:system"):
        command._config_of(info, asked, console())

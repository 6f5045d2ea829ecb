from pathlib import Path

import pytest
from beginnings import begun
from installed import install

from townlet_behavior import RivalryGuardrail
from townlet_runtime.cli import main
from townlet_runtime.cli.recording import FileTarget, SinkTarget, parse_target, recorder_of, require_room
from townlet_runtime.errors import ConfigError, RunDirectoryError, SimulationError
from townlet_runtime.testing import Corridor, CorridorConfig
from townlet_trajectory import DatasetInfo
from townlet_trajectory.formats.open import open_dataset

CORRIDOR = ("--env", "townlet_runtime.testing:Corridor")
SINK = """
from contextlib import contextmanager

taken = []

@contextmanager
def memory(target, *, schema, info):
    class Sink:
        def write(self, batch):
            taken.append((target, info.group, info.notes["environment"], batch.num_steps))
    yield Sink()

def narrow(target):
    pass

@contextmanager
def full(target, *, schema, info):
    class Sink:
        def write(self, batch):
            raise OverflowError("full")
    yield Sink()
"""


@pytest.fixture
def sinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_sinks.py").write_text(SINK)
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, {"townlet.sinks": {name: f"my_sinks:{name}" for name in ("memory", "narrow", "full", "gone")}})
    return tmp_path


def test_a_target_is_a_folder_a_format_or_a_sink(sinks: Path) -> None:
    assert parse_target("samples") == FileTarget(folder=Path("samples"), format=None)
    assert parse_target("shards:samples") == FileTarget(folder=Path("samples"), format="shards")
    assert parse_target("a:b") == FileTarget(folder=Path("a:b"), format=None)
    sink = parse_target("memory:s3://bucket/key")
    assert sink == SinkTarget(name="memory", target="s3://bucket/key")
    assert (sink.place, parse_target("npz:samples").place) == ("memory:s3://bucket/key", "samples")


@pytest.mark.parametrize(("target", "name"), [("{}", "agents.npz"), ("npz:{}", "agents.npz"), ("shards:{}", "agents")])
def test_other_worlds_are_recorded_as_npz_or_in_another_format(target: str, name: str, tmp_path: Path) -> None:
    if target.startswith("shards"):
        pytest.importorskip("pyarrow")
    folder = tmp_path / "steps"
    assert main(["run", *CORRIDOR, "--ticks", "25", "--record", target.format(folder), "-q", "--seed", "3"]) == 0
    with open_dataset(folder / name) as opened:
        assert set(opened.source.schema.observations) == {"features", "map", "action_mask"}
        assert opened.source.table.lengths.sum() > 25


def test_a_registered_sink_takes_the_recording(sinks: Path) -> None:
    import my_sinks

    my_sinks.taken.clear()
    assert main(["run", *CORRIDOR, "--ticks", "25", "--record", "memory:here", "-q"]) == 0
    ((target, group, world, rows),) = my_sinks.taken
    assert (target, group, world) == ("here", "agents", CORRIDOR[1])
    assert 25 <= rows <= 75


def test_a_sink_that_cannot_be_used_is_named(sinks: Path) -> None:
    corridor, info = Corridor(), DatasetInfo()
    batch = recorder_of(corridor.spec, begun(corridor, 1), corridor.scripted("scripted"), []).collect()
    with pytest.raises(ConfigError, match="the sink `narrow` must take a target, and `schema` and `info` as keyword"):
        SinkTarget(name="narrow", target="x").write(batch, info)
    with pytest.raises(SimulationError, match="the sink `full` raised OverflowError: full"):
        SinkTarget(name="full", target="x").write(batch, info)
    with pytest.raises(ConfigError, match="`gone` of .* `townlet.sinks`: my_sinks:gone cannot be imported"):
        SinkTarget(name="gone", target="x").require("road", is_town=False)
    with pytest.raises(ConfigError, match="no sink `lost` is registered in `townlet.sinks`"):
        SinkTarget(name="lost", target="x").require("road", is_town=False)


def test_what_a_folder_cannot_take_is_refused_before_the_first_tick(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="captures hold what a town shows, and the world is `road`"):
        FileTarget(folder=tmp_path, format="captures").require("road", is_town=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="is no directory"):
        FileTarget(folder=tmp_path / "file" / "x", format=None).require("road", is_town=False)


def test_a_recorder_keeps_masks_where_the_world_shows_them_and_all_names() -> None:
    for masked in (True, False):
        corridor = Corridor(CorridorConfig(masked=masked))
        guardrails = [RivalryGuardrail(wait=0)]
        schema = recorder_of(corridor.spec, begun(corridor, 1), corridor.scripted("scripted"), guardrails).schema
        assert ("action_mask" in schema.observations) is masked
        assert (schema.proposers, schema.feature_names) == (("script",), corridor.spec.feature_names)
        assert schema.veto_reasons == ("action_mask", *RivalryGuardrail.reasons)


def test_more_than_memory_holds_is_refused() -> None:
    specs = {"agents": Corridor().spec}
    require_room(1_000, specs, option="--record", remedy="--ticks")
    assert Corridor().spec.capacity == 3
    with pytest.raises(ConfigError, match="^--record: keeps at most 2,000,000 .*, and these are 2,000,001; lower"):
        require_room(666_667, specs, option="--record", remedy="--ticks")

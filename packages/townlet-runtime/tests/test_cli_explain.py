"""`townlet explain`: a recording of the town is explained tick by tick, and what is not there is named."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_run import write_finished_run
from foreign_models import FLOAT, model_of, node, saved
from onnx_files import ElmanNetwork, card

from townlet_behavior import BatchController, BridgeConfig, CommitmentConfig, proposers_of, veto_reasons_of
from townlet_runtime import BatchLoop, BatchRuntime, schema_of
from townlet_runtime.cli import main
from townlet_runtime.policy.foreign import ModelParts
from townlet_runtime.policy.seal import seal
from townlet_runtime.policy.seal_spec import SealSpec
from townlet_runtime.testing import Corridor
from townlet_runtime.town import Town, TownConfig
from townlet_trajectory import (
    ArraySpec,
    Box,
    Kind,
    Trajectory,
    TrajectoryBatch,
    TrajectorySchema,
    TrajectoryService,
    default_decision_columns,
    load_batch,
)
from townlet_trajectory.formats.convert import convert
from townlet_trajectory.formats.open import open_dataset

TICKS = 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished run, and a recording in which its policy decides half of the time."""
    folder = tmp_path_factory.mktemp("explained")
    run_dir = write_finished_run(folder / "run")
    recording = ["--ticks", str(TICKS), "--seed", "3", "--record", f"shards:{folder / 'record'}"]
    assert main(["run", "-q", "--policy", str(run_dir), "--ratio", "0.5", *recording]) == 0
    return folder


@pytest.fixture(scope="module")
def batch(folder: Path) -> TrajectoryBatch:
    """All that was recorded."""
    with open_dataset(folder / "record" / "agents") as opened:
        return opened.source.load_block(0)


@pytest.fixture
def explain(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Explains the recording, and returns the exit code and what was printed."""

    def call(*arguments: str, record: Path | None = None) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["explain", str(record or folder / "record" / "agents"), *arguments])
        return (code, *capsys.readouterr())

    return call


def a_step(batch: TrajectoryBatch, where: np.ndarray) -> tuple[str, int, int]:
    """Agent, tick and row of a step in the middle of those that are meant."""
    rows = np.flatnonzero(where)
    row = int(rows[len(rows) // 2])
    return str(batch.agent_ids[batch.trajectory_of_row[row]]), int(batch.ticks[row]), row


def test_all_ticks_of_an_agent(explain: Any, batch: TrajectoryBatch) -> None:
    code, out, err = explain("--agent", "agent_02")
    assert (code, err) == (0, "")
    assert "another source than before" in out
    assert out.endswith("Name one of these ticks with --tick to see why.\n")
    code, out, _ = explain("--agent", "agent_02", "--json")
    (life,) = json.loads(out)["trajectories"]
    mine = batch.trajectory(batch.agent_ids.tolist().index("agent_02"))
    assert (life["first_tick"], life["last_tick"]) == (0, TICKS - 1)
    assert life["marks"]["held"] == mine.ticks[mine.columns["held_action"] >= 0].tolist()
    assert sum(span["reward"] for span in life["spans"]) == pytest.approx(float(mine.rewards.sum()), rel=1e-5)
    assert [span["first_tick"] for span in life["spans"][1:]] == [span["last_tick"] + 1 for span in life["spans"][:-1]]


def test_a_drawn_step_and_its_policy(explain: Any, batch: TrajectoryBatch, folder: Path) -> None:
    agent, tick, row = a_step(batch, (batch.columns["kind"] == Kind.DECISION) & (batch.columns["source"] == 1))
    code, out, _ = explain("--agent", agent, "--tick", str(tick), "--policy", str(folder / "run"))
    assert code == 0
    lines = out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 80
    assert ", as recorded" in out
    assert "need_hunger" in explain("--agent", agent, "--tick", str(tick), "--json")[1]
    policy = str(folder / "run" / "policy.onnx")
    document = json.loads(explain("--agent", agent, "--tick", str(tick), "--policy", policy, "--json")[1])
    asked = document["proposed"]["policy"]
    assert asked["agrees"] is True
    assert asked["chosen_log_prob"] == pytest.approx(float(batch.columns["policy_log_prob"][row]), abs=1e-4)
    keys = batch.schema.vocabulary
    assert document["decided"]["chosen_action"] == keys[batch.columns["chosen_action"][row]]
    assert document["came"]["reward"] == pytest.approx(float(batch.rewards[row]))
    assert document["decided"]["by"] == "policy"
    mask = batch.observations["action_mask"][row]
    assert document["saw"]["legal_actions"] == [key for key, legal in zip(keys, mask, strict=True) if legal]
    assert all(one["action"] in document["saw"]["legal_actions"] for one in asked["top_actions"] if one["probability"])


def test_every_drawn_step_is_that_policys(explain: Any, batch: TrajectoryBatch, folder: Path) -> None:
    rows = np.flatnonzero(batch.columns["kind"] == Kind.DECISION)[::17]
    for row in rows.tolist():
        agent = str(batch.agent_ids[batch.trajectory_of_row[row]])
        options = ["--agent", agent, "--tick", str(batch.ticks[row]), "--policy", str(folder / "run" / "policy.onnx")]
        assert json.loads(explain(*options, "--json")[1])["proposed"]["policy"]["agrees"] is True


def test_an_option_since_its_choice(explain: Any, batch: TrajectoryBatch) -> None:
    held = batch.columns["held_action"]
    agent, tick, row = a_step(batch, (held >= 0) & (batch.columns["ticks_left"] == 3))
    document = json.loads(explain("--agent", agent, "--tick", str(tick), "--around", "2", "--json")[1])
    since = document["option"]["since"]
    begun = row - (tick - since)
    assert held[begun] == -1
    assert batch.columns["chosen_action"][begun] == held[row]
    assert (held[begun + 1 : row + 1] == held[row]).all()
    assert document["decided"]["by"] == "commitment"
    assert document["around"][0]["first_tick"] == tick - 2
    assert document["around"][-1]["last_tick"] == tick + 2
    _, out, _ = explain("--agent", agent, "--tick", str(tick), "--around", "2")
    assert re.search(r"^ticks +did +decided by +reward +marks$", out, re.MULTILINE)


@pytest.mark.parametrize("form", ["npz", "minari", "captures"])
def test_every_form_of_the_record_is_explained_alike(
    explain: Any, batch: TrajectoryBatch, folder: Path, form: str
) -> None:
    target = {"npz": "b.npz", "minari": "town-v0", "captures": "captures"}[form]
    path = folder / target
    if form == "captures":
        assert main(["run", "-q", "--ticks", "20", "--seed", "3", "--record", str(path)]) == 0
        assert main(["run", "-q", "--ticks", "20", "--seed", "3", "--record", f"npz:{folder / 'same'}"]) == 0
        other = folder / "same" / "agents.npz"
    else:
        convert(batch, path, to=form)
        other = folder / "record" / "agents"
    options = ["--agent", "agent_01", "--tick", "15", "--json"]
    shown, expected = explain(*options, record=path), explain(*options, record=other)
    assert shown == expected
    assert json.loads(shown[1])["saw"]["numbers"][0]["mean"] is not None


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--agent", "agent_2"), "no agent 'agent_2' in the record; the nearest of its"),
        (("--agent", "agent_02", "--tick", "5000"), "--tick 5000: agent 'agent_02' has none; the nearest is 149"),
        (("--agent", "agent_02", "--world", "4"), "agent 'agent_02' has no world 4; the nearest is world 0"),
        (("--agent", "agent_02", "--around", "4"), "--around and --policy are about one step: name its --tick"),
        (("--agent", "agent_02", "--policy", "x"), "--around and --policy are about one step: name its --tick"),
        (("--agent", "agent_02", "--tick", "-1"), "expected a whole number from 0"),
        ((), "Missing option '--agent'"),
    ],
)
def test_what_is_not_there_is_one_line(explain: Any, options: tuple[str, ...], said: str) -> None:
    code, out, err = explain(*options)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_other_policies_are_refused(explain: Any, batch: TrajectoryBatch, tmp_path: Path) -> None:
    shapes = {name: spec.shape for name, spec in batch.schema.observations.items() if name != "action_mask"}
    (width,) = shapes["features"]
    for name, keys, said in (
        ("recurrent", batch.schema.vocabulary, "it has a recurrent state, and the record has no column `policy_state`"),
        ("others", ("wait", "fly"), "it was made for other actions than those of the record"),
    ):
        path = tmp_path / f"{name}.onnx"
        label = card(keys, shapes, world="town", state_size=3)
        path.write_bytes(ElmanNetwork(width, len(keys)).file(label, shapes))
        code, _, err = explain("--agent", "agent_02", "--tick", "3", "--policy", str(path))
        assert code == 2
        assert said in err


def test_a_policy_with_a_memory_is_asked_with_what_it_remembered(
    explain: Any, batch: TrajectoryBatch, tmp_path: Path
) -> None:
    shapes = {name: spec.shape for name, spec in batch.schema.observations.items() if name != "action_mask"}
    network = ElmanNetwork(shapes["features"][0], len(batch.schema.vocabulary))
    policy = tmp_path / "policy.onnx"
    policy.write_bytes(network.file(card(batch.schema.vocabulary, shapes, world="town", state_size=3), shapes))
    row = int(batch.offsets[1]) + 9
    memory = np.random.default_rng(2).normal(size=(batch.num_steps, 3)).astype(np.float32)
    for width, said in ((3, None), (2, "it has 3 numbers of recurrent state, `policy_state` of the record 2")):
        decisions = {**batch.schema.decisions, "policy_state": ArraySpec("float32", (width,))}
        remembered = replace(
            batch,
            schema=replace(batch.schema, decisions=decisions),
            columns={**batch.columns, "policy_state": memory[:, :width].copy()},
        )
        record = tmp_path / f"remembered-{width}.npz"
        convert(remembered, record, to="npz")
        options = ("--agent", str(batch.agent_ids[1]), "--tick", str(batch.ticks[row]), "--policy", str(policy))
        code, out, err = explain(*options, "--json", record=record)
        if said is not None:
            assert code == 2 and said in err
            continue
        drawn = row - int(batch.columns["observation_age"][row])
        seen = {name: array[drawn : drawn + 1] for name, array in batch.observations.items()}
        expected = network.act(seen, seen["action_mask"], memory[drawn : drawn + 1])[0][0]
        asked = json.loads(out)["proposed"]["policy"]
        assert asked["chosen_log_prob"] == pytest.approx(expected[batch.columns["chosen_action"][row]], abs=1e-4)


@pytest.mark.parametrize("distribution", ["clipped", "squashed"])
def test_a_policy_of_numbers_says_the_density_of_the_choice(explain: Any, tmp_path: Path, distribution: str) -> None:
    box = Box(names=("steer",), low=(-2.0,), high=(2.0,))
    weights = np.random.default_rng(3).normal(size=(4, 2)).astype(np.float32)
    model = model_of(
        [node("MatMul", ["features", "W"], ["said"])],
        {"features": (FLOAT, ["N", 4])},
        {"said": (FLOAT, ["N", 2])},
        {"W": weights},
    )
    spec = SealSpec(
        vocabulary=(), actions=box, distribution=distribution, observation_shapes={"features": (4,)}, world="road"
    )
    policy = seal(saved(model, tmp_path), tmp_path / "p.onnx", spec=spec, parts=ModelParts(output_kind="gaussian")).path
    steps = 3
    chosen = np.array([[0.5], [1.0], [-1.5]], np.float32)
    features = np.random.default_rng(4).normal(size=(steps + 1, 4)).astype(np.float32)
    decisions = default_decision_columns(box)
    columns = {name: np.zeros((steps, *one.shape), one.dtype) for name, one in decisions.items()}
    schema = TrajectorySchema(
        observations={"features": ArraySpec("float32", (4,))}, decisions=decisions, vocabulary=(), actions=box
    )
    params = features[:steps] @ weights
    mean, dev = params[:, 0].astype(np.float64), np.exp(params[:, 1].astype(np.float64))
    z, stretch = chosen[:, 0].astype(np.float64), np.zeros(steps)
    if distribution == "squashed":
        u = z / 2.0  # 2 (a + 2) / 4 - 1
        z, stretch = np.arctanh(u), np.log(1.0 - u**2) + np.log(2.0)
    densities = -0.5 * ((z - mean) / dev) ** 2 - np.log(dev) - 0.5 * np.log(2.0 * np.pi) - stretch
    life = Trajectory(
        schema=schema,
        observations={"features": features},
        columns=columns | {"chosen_action": chosen, "action": chosen, "policy_log_prob": densities.astype(np.float32)},
        rewards=np.zeros(steps, np.float32),
        ticks=np.arange(steps),
        terminated=True,
        truncated=False,
        agent_id="ann",
        world=0,
        episode=0,
    )
    convert(TrajectoryBatch.from_trajectories([life]), tmp_path / "record.npz", to="npz")
    options = ("--agent", "ann", "--tick", "1", "--policy", str(policy))
    code, out, _ = explain(*options, "--json", record=tmp_path / "record.npz")
    asked = json.loads(out)["proposed"]["policy"]
    assert (code, asked["top_actions"], asked["agrees"]) == (0, [], True)
    assert asked["chosen_log_prob"] == pytest.approx(densities[1], abs=1e-4)
    assert "log density" in explain(*options, record=tmp_path / "record.npz")[1]


def test_the_memory_of_a_recorded_run_is_that_of_its_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = Corridor().spec
    (width,) = spec.observation_shapes["features"]
    label = card(spec.vocabulary.keys, spec.observation_shapes, world=spec.name, state_size=3)
    path = tmp_path / "policy.onnx"
    path.write_bytes(ElmanNetwork(width, len(spec.vocabulary)).file(label, spec.observation_shapes))
    env = ("--env", "townlet_runtime.testing:Corridor")
    assert main(["run", "-q", *env, "--policy", str(path), "--ticks", "30", "--record", str(tmp_path / "steps")]) == 0
    capsys.readouterr()
    record = tmp_path / "steps" / "agents.npz"
    batch = load_batch(record)
    # the last step of the agent that has lived longest: it remembers something
    longest = int(np.diff(batch.offsets).argmax())
    last = int(batch.offsets[longest + 1]) - 1
    assert batch.columns["policy_state"][last].any()
    step = ("--agent", str(batch.agent_ids[longest]), "--tick", str(batch.ticks[last]))
    assert main(["explain", str(record), *step, "--policy", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["proposed"]["policy"]["agrees"] is True


def test_a_tick_of_several_episodes_needs_one(explain: Any, batch: TrajectoryBatch, folder: Path) -> None:
    twice = TrajectoryBatch.concatenate([batch, replace(batch, episodes=batch.episodes + 1)])
    path = folder / "twice.npz"
    convert(twice, path, to="npz")
    code, _, err = explain("--agent", "agent_01", "--tick", "3", record=path)
    assert code == 2
    assert "has it in the episodes 0, 1: name --episode" in err
    assert explain("--agent", "agent_01", "--tick", "3", "--episode", "1", record=path)[0] == 0


class TwoMinds:
    """The town's script; in even slots another mind proposes the same, from what it saw three ticks before."""

    proposers = ("script", "model A")

    def __init__(self, script: BatchController) -> None:
        self._script = script
        self.propose, self.settled, self.forget = script.propose, script.settled, script.forget
        self.save_state, self.restore = script.save_state, script.restore

    def proposed_by(self, view: Any) -> tuple[np.ndarray, np.ndarray]:
        other = view.slots % 2 == 0
        return other.astype(np.int8), np.where(other, 3, 0).astype(np.int32)


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default town, in which a possessor asks for something, for what is illegal, and for nothing."""
    town = Town(TownConfig(), num_worlds=1)
    script, guardrails = TwoMinds(town.scripted("scripted")), town.guardrails()
    schema = schema_of(town.spec, masked=True, proposers=proposers_of(script), veto_reasons=veto_reasons_of(guardrails))
    service = TrajectoryService(schema, max_rows=10_000)
    runtime = BatchRuntime(
        town.spec,
        script,
        config=BridgeConfig(commitment=CommitmentConfig(ticks=town.spec.option_ticks)),
        policy=None,
        service=service,
        seed=0,
        guardrails=guardrails,
    )
    loop = BatchLoop(town, runtime)
    loop.reset(seed=1)
    loop.run_for(100)
    assert runtime.acquire_possession("agent_02", owner="ann")
    for action in ("wait", "start", None):
        if action is not None:
            runtime.feed_action("agent_02", action, owner="ann")
        loop.step()
    runtime.release_possession("agent_02", owner="ann")
    loop.run_for(50)
    path = tmp_path_factory.mktemp("lives") / "town.npz"
    convert(service.collect(), path, to="npz")
    return path


def test_the_default_town_explained(explain: Any, lives: Path) -> None:
    def said(agent: str, tick: int) -> str:
        code, out, err = explain("--agent", agent, "--tick", str(tick), record=lives)
        assert (code, err) == (0, "")
        assert len(out.splitlines()) <= 40
        assert max(map(len, out.splitlines())) <= 80
        assert not any(unnamed in out for unnamed in ("proposer 1", "reason 1", "features["))
        return " ".join(out.split())

    assert "The agent was possessed, and its possessor asked for wait: neither blend" in said("agent_02", 100)
    refused = said("agent_02", 101)
    assert "A guardrail vetoed start, for the reason `action_mask`: the agent did wait instead." in refused
    assert "its possessor asked for nothing at this tick: it did wait." in said("agent_02", 102)
    (life,) = json.loads(explain("--agent", "agent_02", "--json", record=lives)[1])["trajectories"]
    assert (life["marks"]["possessed"], life["marks"]["takeover"]) == ([100, 101, 102], [100, 103])
    assert life["marks"]["veto"] == [101]

    (life,) = json.loads(explain("--agent", "agent_01", "--json", record=lives)[1])["trajectories"]
    free, held = life["marks"]["proposer"], life["marks"]["held"]
    assert sorted(free + held) == list(range(153))
    screen = said("agent_01", free[5])
    assert f"The choice is that of `model A` (in the script's place), from what it saw at tick {free[5] - 3}:" in screen
    assert "(from what it saw 3 ticks before)" in screen
    screen = said("agent_01", held[3])
    assert f"`model A` (in the script's place) chose go_to:workplace at tick {held[0] - 1}, held for" in screen

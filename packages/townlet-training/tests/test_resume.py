"""A run that was broken off at any moment comes to what the unbroken run comes to."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corridor import SPEC, CorridorCollector, CorridorEvaluator, network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pairs import SPECS as PAIR_SPECS
from pairs import PairCollector, PairEvaluator
from strategies import spread_out
from torch import Tensor

from townlet_training.config import ONE_GROUP, AnnealConfig, GatesConfig, TrainingConfig
from townlet_training.errors import CheckpointError, ResumeError, TrainingError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import weights_of, weights_sha256
from townlet_training.run import checkpoint, directory, metrics, result
from townlet_training.run.checkpoint import CheckpointStore, read_checkpoint
from townlet_training.run.metrics import WALL_TIME_KEYS
from townlet_training.run.monitor import Progress
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_training.run.state import EarlierTotal
from townlet_trajectory.evaluation import promotion
from townlet_trajectory.evaluation.interfaces import (
    Actor,
    Collected,
    Collector,
    EpisodeScores,
    Evaluator,
    selection_seeds,
)
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import ExportedPolicy, RunSummary
from townlet_trajectory.storage.manifest import write_directory

pytestmark = pytest.mark.long

ANNEAL = TrainingConfig(
    seed=7,
    total_env_steps=4 * (24 + 8 * 6),
    num_envs=4,
    rollout_ticks=8,
    eval_every=2,
    eval_episodes=10,
    final_episodes=10,
    keep_checkpoints=1,
    baselines=("scripted", "idle"),
    network=NetworkConfig(hidden_sizes=(4,)),
    ppo=PPOConfig(learning_rate=3e-3, num_minibatches=2, num_epochs=1, clip_schedule="linear"),
    bc=BCConfig(num_epochs=2, learning_rate=3e-2),
    anneal=AnnealConfig(clone_ticks=24, warmup_updates=1, blend_fraction=0.4, max_retries=1),
    gates=GatesConfig(clone_accuracy=0.1, kept_fraction=0.0, num_resamples=100),
    promotion=PromotionConfig(num_episodes=10, num_resamples=100),
)
"""24 ticks of cloning, 1 update of warm-up, 2 of blend, 3 of PPO alone; evaluated after 3, 5 and 6 updates."""
ADAPTIVE = replace(ANNEAL, anneal=replace(ANNEAL.anneal, blend_fraction=0.8, adaptive_ratio=True, ratio_episodes=10))
"""4 updates of blend; the ratio is looked at after the second of them."""
PPO = replace(ANNEAL, mode="ppo", total_env_steps=4 * 8 * 5)
BC = replace(ANNEAL, mode="bc")


NOTES = {"controller": "none"}


class Killed(BaseException):
    """What nothing catches, in the place of kill -9."""


@dataclass
class Fuse:
    """Ends the process (as far as a test can) the `moment`-th time it is asked."""

    moment: int = -1
    count: int = 0

    def burn(self) -> None:
        self.count += 1
        if self.count == self.moment:
            raise Killed


@dataclass
class BurningCollector:
    inner: Collector
    fuse: Fuse

    def collect(self, actors: Mapping[str, Actor] | None, *, num_ticks: int, ratio: float) -> Collected:
        self.fuse.burn()
        collected = self.inner.collect(actors, num_ticks=num_ticks, ratio=ratio)
        self.fuse.burn()
        return collected

    def save_state(self) -> Mapping[str, NDArray[np.generic]] | None:
        return self.inner.save_state()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self.inner.restore(state)


@dataclass
class BurningEvaluator:
    inner: Evaluator
    fuse: Fuse
    sabotaged: frozenset[str] = frozenset()
    """Digests of weights that are found to have earned very little on the episodes of selection."""

    def __post_init__(self) -> None:
        self.selected: list[str] = []

    def evaluate(self, actors: Mapping[str, Any], *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        self.fuse.burn()
        scores = self.inner.evaluate(actors, seeds=seeds, sample=sample)
        if seeds[0] not in selection_seeds(1000):
            return scores
        digest = "+".join(weights_sha256(actor) for actor in actors.values())
        if seeds[0] == selection_seeds(1)[0]:
            self.selected.append(digest)
        if digest not in self.sabotaged:
            return scores
        return replace(scores, returns=tuple(value - 9.0 for value in scores.returns))

    def baseline(self, name: str, *, seeds: NDArray[np.int64]) -> EpisodeScores:
        self.fuse.burn()
        return self.inner.baseline(name, seeds=seeds)


@dataclass(frozen=True)
class Case:
    """A run to break off: its worlds are made anew each time it is taken up."""

    config: TrainingConfig
    specs: Mapping[str, PolicySpec]
    collector: Callable[[], Collector]
    evaluator: Callable[[], Evaluator]
    sabotaged: frozenset[str] = frozenset()
    initial: Mapping[str, Tensor] | None = None
    earlier_totals: tuple[EarlierTotal, ...] = ()

    def run(
        self, run_dir: Path, *, resume: bool, fuse: Fuse | None = None, stop: Callable[[], bool] = lambda: False
    ) -> RunSummary:
        fuse = fuse or Fuse()
        return TrainingOrchestrator(
            self.config,
            BurningCollector(self.collector(), fuse),
            BurningEvaluator(self.evaluator(), fuse, self.sabotaged),
            specs=self.specs,
            run_dir=run_dir,
            stop=stop,
            notes=NOTES,
            resume=resume,
            initial=self.initial,
            earlier_totals=self.earlier_totals,
        ).run()


def alone(config: TrainingConfig, *, sabotaged: frozenset[str] = frozenset()) -> Case:
    collector = lambda: CorridorCollector(config.num_envs, seed=config.seed)  # noqa: E731
    return Case(config, {ONE_GROUP: SPEC}, collector, CorridorEvaluator, sabotaged)


def failing(config: TrainingConfig, *numbers: int, run_dir: Path) -> Case:
    """The case in which those selection evaluations fail that have these `numbers`, counted from 1."""
    case = alone(config)
    for number in numbers:
        evaluator = BurningEvaluator(CorridorEvaluator(), Fuse(), case.sabotaged)
        path = run_dir / str(number)
        path.mkdir()
        collector = case.collector()
        TrainingOrchestrator(config, collector, evaluator, specs=case.specs, run_dir=path).run()
        case = replace(case, sabotaged=case.sabotaged | {evaluator.selected[number - 1]})
    return case


def pair() -> Case:
    collector = lambda: PairCollector(4, seed=7, away=frozenset({2, 4}))  # noqa: E731
    return Case(ANNEAL, PAIR_SPECS, collector, PairEvaluator)


@pytest.fixture(autouse=True, scope="module")
def quick() -> Iterator[None]:
    """Sync nothing, and export nothing: what costs more than the run."""

    def noted(network: ActorCritic, path: Path, *, spec: PolicySpec, seed: int) -> ExportedPolicy:
        path.write_text(weights_sha256(network))
        return ExportedPolicy(path=path, weights_sha256=weights_sha256(network), file_sha256="0" * 64)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "export_policy", noted)
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


WRITERS = [
    (metrics, "append_line"),
    (directory, "write_bytes_atomic"),
    (checkpoint, "write_directory"),
    (checkpoint, "remove_directory"),
    (promotion, "write_json_atomic"),
    (result, "export_policy"),
]


def burning_writes(patch: pytest.MonkeyPatch, fuse: Fuse) -> None:
    """Ask `fuse` before and after everything that is written."""
    for module, name in WRITERS:
        real = vars(module)[name]

        def asked(*args: Any, real: Callable[..., Any] = real, **kwargs: Any) -> Any:
            fuse.burn()
            made = real(*args, **kwargs)
            fuse.burn()
            return made

        patch.setattr(module, name, asked)


def outcome(run_dir: Path, summary: RunSummary) -> dict[str, Any]:
    """Everything that a run comes to, and that has nothing to do with wall time."""
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    final = summary.final
    assert final is not None
    scores = {"learned": final.learned, **({} if final.clone is None else {"clone": final.clone}), **final.baselines}
    return {
        "log": [{key: value for key, value in line.items() if key not in WALL_TIME_KEYS} for line in lines],
        "weights": summary.weights_sha256,
        "policies": {group: replace(each, path=Path(each.path.name)) for group, each in summary.policies.items()},
        "checkpoint": summary.checkpoint.name,
        "records": (summary.clone, summary.history, summary.gates, summary.failure, summary.counters),
        "final": {name: each.returns for name, each in scores.items()},
        "judged": (final.summaries, final.paired, final.normalized),
        "promotion": summary.promotion,
        "interrupted": summary.interrupted,
        "files": {
            path.relative_to(run_dir).as_posix(): path.read_bytes()
            for path in sorted(run_dir.rglob("*"))
            if path.is_file()
            and path.name in ("promotion.json", "policy.onnx", "policy.vectors.json", "weights.safetensors")
        },
        # The log holds wall times.
        "states": {
            path.parent.name: {
                key: value
                for key, value in json.loads(path.read_text()).items()
                if key not in ("elapsed", "timings", "played", "log")
            }
            for path in run_dir.rglob("state.json")
        },
    }


@dataclass(frozen=True)
class Whole:
    """A case, what it comes to when nothing happens to it, and how many moments there are for something to happen."""

    case: Case
    outcome: Mapping[str, Any]
    num_moments: int
    num_asks: int
    """How often it is asked whether to stop."""


def case_of(name: str, folder: Path) -> Case:
    match name:
        case "retry":
            return failing(ANNEAL, 2, run_dir=folder)
        case "failure":
            return failing(ANNEAL, 2, 3, run_dir=folder)
        case "pair":
            return pair()
        case "adaptive":
            return failing(ADAPTIVE, 3, run_dir=folder)
        case "initial":
            return replace(alone(ANNEAL), initial=weights_of(spread_out(network(3, (4,)))))
        case "tuned":
            return replace(alone(BC), initial=weights_of(spread_out(network(3, (4,)))))
        case mode:
            return alone({"anneal": ANNEAL, "ppo": PPO, "bc": BC}[mode])


def whole(name: str, folder: Path) -> Whole:
    case = case_of(name, folder)
    path, fuse, asks = folder / name, Fuse(), Fuse()
    path.mkdir()

    def count() -> bool:
        asks.burn()
        return False

    with pytest.MonkeyPatch.context() as patch:
        burning_writes(patch, fuse)
        summary = case.run(path, resume=False, fuse=fuse, stop=count)
    return Whole(case, outcome(path, summary), fuse.count, asks.count)


CASES = ("anneal", "retry", "failure", "ppo", "bc", "pair", "initial", "tuned", "adaptive")


@pytest.fixture(scope="module")
def wholes(quick: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Whole]:
    return {name: whole(name, tmp_path_factory.mktemp(name)) for name in CASES}


def kill(case: Case, run_dir: Path, moment: int, *, resume: bool) -> bool:
    """Let it go on until it is killed; whether it was finished before."""
    fuse = Fuse(moment)
    with pytest.MonkeyPatch.context() as patch:
        burning_writes(patch, fuse)
        try:
            case.run(run_dir, resume=resume, fuse=fuse)
        except Killed:
            return False
    return True


def stopped_at(ask: int) -> Callable[[], bool]:
    asks = Fuse(ask)

    def stop() -> bool:
        try:
            asks.burn()
        except Killed:
            return True
        return False

    return stop


def test_the_cases_are_what_they_are_meant_to_be(wholes: dict[str, Whole]) -> None:
    gates = {name: [not gate.failed for gate in each.outcome["records"][2]] for name, each in wholes.items()}
    assert gates["anneal"] == [True] * 4
    assert gates["retry"] == [True, False, True]
    assert gates["failure"] == [True, False, False]
    assert (gates["ppo"], gates["bc"]) == ([], [True])
    assert (gates["initial"], gates["tuned"]) == ([True] * 5, [True])
    assert wholes["failure"].outcome["records"][3].startswith("kept_score_")
    assert wholes["pair"].outcome["records"][4].num_left_out == 2
    assert len(wholes["pair"].outcome["log"]) == 2 * 6 - 2
    adaptive = [line["ratio_comparisons"] for line in wholes["adaptive"].outcome["log"]]
    assert adaptive[0] == 0 and adaptive[-1] > 0 and wholes["adaptive"].outcome["records"][4].num_retries == 1
    for each in wholes.values():
        assert not [name for name in each.outcome["files"] if "interim" in name]


@pytest.mark.parametrize(("name", "stride"), [("bc", 1), ("retry", 5), ("adaptive", 11), ("pair", 17)])
def test_killed_at_any_moment_it_comes_to_the_same(
    wholes: dict[str, Whole], tmp_path: Path, name: str, stride: int
) -> None:
    each = wholes[name]
    for moment in range(1, each.num_moments + 1, stride):
        run_dir = tmp_path / str(moment)
        run_dir.mkdir()
        assert not kill(each.case, run_dir, moment, resume=False)
        assert outcome(run_dir, each.case.run(run_dir, resume=True)) == each.outcome, f"killed at {moment}"


@pytest.mark.parametrize(("name", "stride"), [("bc", 1), ("retry", 3), ("adaptive", 5), ("pair", 9)])
def test_asked_to_stop_at_any_moment_it_comes_to_the_same(
    wholes: dict[str, Whole], tmp_path: Path, name: str, stride: int
) -> None:
    each = wholes[name]
    for ask in range(1, each.num_asks + 1, stride):
        run_dir = tmp_path / str(ask)
        run_dir.mkdir()
        summary = each.case.run(run_dir, resume=False, stop=stopped_at(ask))
        assert summary.interrupted
        assert read_checkpoint(summary.checkpoint).state.weights_sha256 == summary.weights_sha256
        assert outcome(run_dir, each.case.run(run_dir, resume=True)) == each.outcome, f"stopped at {ask}"


# The thorough session asks for 500 examples.
@settings(max_examples=max(1, settings.default.max_examples // 8), suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(CASES),
    ends=st.lists(st.tuples(st.sampled_from(["kill", "stop"]), st.integers(0, 10**6)), min_size=1, max_size=4),
)
def test_however_often_a_run_is_broken_off_it_comes_to_the_same(
    wholes: dict[str, Whole], tmp_path_factory: pytest.TempPathFactory, name: str, ends: list[tuple[str, int]]
) -> None:
    each, run_dir = wholes[name], tmp_path_factory.mktemp(name)
    for number, (how, when) in enumerate(ends):
        if how == "kill":
            kill(each.case, run_dir, 1 + when % each.num_moments, resume=number > 0)
        else:
            each.case.run(run_dir, resume=number > 0, stop=stopped_at(1 + when % each.num_asks))
    assert outcome(run_dir, each.case.run(run_dir, resume=True)) == each.outcome
    shutil.rmtree(run_dir)


CALLS = ("mkdir", "open", "write", "rename", "replace", "unlink", "rmdir", "ftruncate")


def in_child(work: Callable[[], object]) -> int:
    """Let `work` be done in a process of its own; its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(0)
    finally:
        traceback.print_exc()  # pytest shows it where the test fails
        sys.stderr.flush()
        os._exit(1)


def exit_code(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at_call(number: int) -> None:
    """Let this process be killed (-9) at its call to the file system with this `number`, counted from 1."""
    left = [number]
    for name in CALLS:
        real = getattr(os, name)

        def dying(*args: Any, real: Callable[..., Any] = real, **kwargs: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)

        setattr(os, name, dying)


@pytest.mark.parametrize("seed", range(8))
def test_really_killed_it_comes_to_the_same(wholes: dict[str, Whole], tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    each = wholes[CASES[seed % len(CASES)]]
    codes = []
    for resume in (False, True, True):
        call = rng.randint(1, 130)

        def work(resume: bool = resume, call: int = call) -> None:
            kill_at_call(call)
            each.case.run(tmp_path, resume=resume)

        codes.append(exit_code(in_child(work)))
    assert -signal.SIGKILL in codes
    assert set(codes) <= {-signal.SIGKILL, 0}
    assert outcome(tmp_path, each.case.run(tmp_path, resume=True)) == each.outcome
    # Nothing unfinished is left.
    names = {path.name for path in tmp_path.rglob("*")}
    assert not [name for name in names if name.endswith((".tmp", ".partial")) or "interim" in name]


@pytest.mark.parametrize("num_lines", [1, 4])
def test_killed_between_two_calls_it_comes_to_the_same(
    wholes: dict[str, Whole], tmp_path: Path, num_lines: int
) -> None:
    each, log = wholes["anneal"], tmp_path / "metrics.jsonl"

    def stop() -> bool:
        time.sleep(0.03)
        return False

    child = in_child(lambda: each.case.run(tmp_path, resume=False, stop=stop))
    while not (log.exists() and log.read_bytes().count(b"\n") >= num_lines):
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended by itself"
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    assert exit_code(child) == -signal.SIGKILL
    assert outcome(tmp_path, each.case.run(tmp_path, resume=True)) == each.outcome


@pytest.fixture(scope="module")
def stopped(wholes: dict[str, Whole], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of an anneal that was asked to stop after four updates."""
    each = wholes["anneal"]
    for ask in range(1, each.num_asks):
        run_dir = tmp_path_factory.mktemp("stopped")
        each.case.run(run_dir, resume=False, stop=stopped_at(ask))
        if (run_dir / "metrics.jsonl").read_bytes().count(b"\n") == 4:
            return run_dir
    raise AssertionError("it never came to four updates")


@pytest.fixture
def broken(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(stopped, tmp_path / "broken"))


def newest(run_dir: Path) -> Path:
    path = CheckpointStore(run_dir / "checkpoints", keep_last=1).newest()
    assert path is not None
    return path


def test_what_was_logged_behind_the_checkpoint_is_logged_again(wholes: dict[str, Whole], broken: Path) -> None:
    with (broken / "metrics.jsonl").open("ab") as log:
        log.write(b'{"epoch": 5}\n{"epo')
    each = wholes["anneal"]
    assert outcome(broken, each.case.run(broken, resume=True)) == each.outcome


def test_time_goes_on(wholes: dict[str, Whole], broken: Path) -> None:
    before = read_checkpoint(newest(broken)).state
    seen: list[Progress] = []
    each = wholes["anneal"].case
    summary = TrainingOrchestrator(
        each.config,
        each.collector(),
        each.evaluator(),
        specs=each.specs,
        run_dir=broken,
        on_progress=seen.append,
        notes={"controller": "none"},
        resume=True,
    ).run()
    rows = [json.loads(line) for line in (broken / "metrics.jsonl").read_text().splitlines()]
    times = [row["wall_time_s"] for row in rows]
    assert times == sorted(times)
    assert times[4] > before.elapsed > times[3]
    assert all(summary.timings[part] >= seconds for part, seconds in before.timings.items())
    assert [each.env_steps for each in seen] == sorted(each.env_steps for each in seen)
    assert seen[0].env_steps == 4 * (24 + 8 * 5)


def test_a_finished_run_comes_to_the_same_again(wholes: dict[str, Whole], tmp_path: Path) -> None:
    each = wholes["retry"]
    each.case.run(tmp_path, resume=False)
    for _ in range(2):
        assert outcome(tmp_path, each.case.run(tmp_path, resume=True)) == each.outcome


def test_where_nothing_was_begun_it_begins(wholes: dict[str, Whole], tmp_path: Path) -> None:
    assert outcome(tmp_path, wholes["bc"].case.run(tmp_path, resume=True)) == wholes["bc"].outcome


@pytest.mark.parametrize("name", ["state.json", "worlds.npz", "weights.safetensors", "manifest.json"])
def test_a_damaged_checkpoint_is_named(wholes: dict[str, Whole], broken: Path, name: str) -> None:
    path = newest(broken) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = sorted(broken.rglob("*"))
    with pytest.raises(CheckpointError, match=newest(broken).name) as caught:
        wholes["anneal"].case.run(broken, resume=True)
    assert caught.value.path.is_relative_to(newest(broken))
    assert sorted(broken.rglob("*")) == before


def test_a_checkpoint_that_is_still_needed_is_looked_at(wholes: dict[str, Whole], broken: Path) -> None:
    clone = broken / "checkpoints" / "step-000000096"
    assert clone != newest(broken)
    (clone / "weights.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="step-000000096"):
        wholes["anneal"].case.run(broken, resume=True)


def test_a_checkpoint_of_the_first_version_is_refused(wholes: dict[str, Whole], broken: Path) -> None:
    path = newest(broken)
    files = {"state.json": b'{"schema_version": 1}', "weights.safetensors": b"", "optimizer.safetensors": b""}
    shutil.rmtree(path)
    write_directory(path, files)
    with pytest.raises(CheckpointError, match="`schema_version` must be 4, got 1"):
        wholes["anneal"].case.run(broken, resume=True)


def test_a_log_that_was_cut_or_changed_is_refused(wholes: dict[str, Whole], broken: Path) -> None:
    log = broken / "metrics.jsonl"
    data = log.read_bytes()
    log.write_bytes(data[:-1])
    with pytest.raises(ResumeError, match=f"metrics.jsonl has {len(data) - 1} bytes, but the newest checkpoint"):
        wholes["anneal"].case.run(broken, resume=True)
    log.write_bytes(data.replace(b"anneal", b"ANNEAL", 1))
    with pytest.raises(ResumeError, match="are not those"):
        wholes["anneal"].case.run(broken, resume=True)
    log.write_bytes(data)
    assert outcome(broken, wholes["anneal"].case.run(broken, resume=True)) == wholes["anneal"].outcome


def test_a_log_without_a_checkpoint_is_no_run(wholes: dict[str, Whole], tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(ResumeError, match="holds a log without a checkpoint"):
        wholes["bc"].case.run(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seed": 8}, "`seed` 7, not 8"),
        ({"total_env_steps": 10**6}, "`total_env_steps` 288, not 1000000"),
        ({"mode": "ppo"}, "`mode` 'anneal', not 'ppo'"),
        ({"ppo": replace(ANNEAL.ppo, discount=0.9)}, "`ppo.discount` 0.99, not 0.9"),
        ({"ppo": replace(ANNEAL.ppo, target_kl=0.1)}, "`ppo.target_kl` None, not 0.1"),
        ({"network": NetworkConfig(hidden_sizes=(5,))}, r"`network.hidden_sizes` \[4\], not \[5\]"),
        ({"baselines": ("scripted", "random")}, "`baselines`"),
    ],
)
def test_another_config_is_refused_by_name(
    wholes: dict[str, Whole], broken: Path, changes: dict[str, Any], name: str
) -> None:
    case = replace(wholes["anneal"].case, config=replace(ANNEAL, **changes))
    with pytest.raises(ResumeError, match=f"{broken} holds a run with {name}"):
        case.run(broken, resume=True)


def test_another_config_is_refused_from_the_first_moment(wholes: dict[str, Whole], tmp_path: Path) -> None:
    case = wholes["anneal"].case
    case.run(tmp_path, resume=False, stop=lambda: True)
    with pytest.raises(ResumeError, match="`seed` 7, not 9"):
        replace(case, config=replace(ANNEAL, seed=9)).run(tmp_path, resume=True)


def test_other_worlds_or_notes_are_refused_by_name(wholes: dict[str, Whole], broken: Path) -> None:
    case = wholes["anneal"].case
    for spec, name in (
        (replace(SPEC, world="town"), "specs.agents.world"),
        (replace(SPEC, vocabulary=("wait", "right", "left")), "specs.agents.vocabulary"),
        (replace(SPEC, observation_shapes={"cell": (5,), "clock": (5,)}), "specs.agents.observation_shapes.clock"),
    ):
        with pytest.raises(ResumeError, match=f"holds a run with `{name}`"):
            replace(case, specs={ONE_GROUP: spec}).run(broken, resume=True)
    with pytest.raises(ResumeError, match="`notes.controller` 'none', not 'heuristic'"):
        TrainingOrchestrator(
            ANNEAL,
            case.collector(),
            case.evaluator(),
            specs=case.specs,
            run_dir=broken,
            notes={"controller": "heuristic"},
            resume=True,
        ).run()


def test_a_run_is_not_begun_where_there_is_one(wholes: dict[str, Whole], broken: Path) -> None:
    with pytest.raises(TrainingError, match="holds a run already"):
        wholes["anneal"].case.run(broken, resume=False)


class Fleeting(CorridorCollector):
    """Corridors that cannot be saved."""

    def save_state(self) -> None:
        return None


def test_worlds_that_cannot_be_saved_cannot_go_on(wholes: dict[str, Whole], tmp_path: Path) -> None:
    each = wholes["anneal"]
    fleeting = replace(each.case, collector=lambda: Fleeting(4, seed=7))
    summary = fleeting.run(tmp_path, resume=False, stop=stopped_at(each.num_asks - 12))
    assert summary.interrupted
    assert read_checkpoint(summary.checkpoint).worlds is None
    with pytest.raises(ResumeError, match="the worlds of this run cannot be saved, so it cannot go on"):
        fleeting.run(tmp_path, resume=True)


def test_worlds_that_cannot_be_saved_are_not_needed_to_begin_or_to_judge(
    wholes: dict[str, Whole], tmp_path: Path
) -> None:
    each = wholes["anneal"]
    fleeting = replace(each.case, collector=lambda: Fleeting(4, seed=7))
    for number, ask in enumerate((2, each.num_asks - 1)):
        fleeting.run(tmp_path, resume=number > 0, stop=stopped_at(ask))
    # Without worlds there is one file less in each checkpoint, and nothing else differs.
    assert outcome(tmp_path, fleeting.run(tmp_path, resume=True)) == each.outcome


CONSTANT = replace(
    PPO, ppo=replace(PPO.ppo, clip_schedule="constant", learning_rate_schedule="constant"), total_env_steps=4 * 8 * 9
)
"""8 updates, evaluated after every second one; nothing of an update depends on how many there are."""
SHORTER = replace(CONSTANT, total_env_steps=4 * 8 * 5)
EARLIER = (EarlierTotal(total_env_steps=SHORTER.total_env_steps, notes=NOTES),)


def longer(case: Case, total: int) -> Case:
    """The case, extended to `total` world steps."""
    earlier = EarlierTotal(total_env_steps=case.config.total_env_steps, notes=NOTES)
    config = replace(case.config, total_env_steps=total)
    return replace(case, config=config, earlier_totals=(*case.earlier_totals, earlier))


def test_an_extended_run_comes_to_what_a_longer_one_comes_to(tmp_path: Path) -> None:
    whole_dir, run_dir = tmp_path / "whole", tmp_path / "extended"
    whole_dir.mkdir(), run_dir.mkdir()
    expected = outcome(whole_dir, alone(CONSTANT).run(whole_dir, resume=False))
    short = alone(SHORTER)
    before = short.run(run_dir, resume=False)
    assert before.counters.num_updates == 4
    summary = longer(short, CONSTANT.total_env_steps).run(run_dir, resume=True)
    assert summary.counters.num_updates == 8
    assert outcome(run_dir, summary) == expected


@pytest.mark.parametrize("ask", [3, 5, 9])
def test_an_unfinished_run_is_extended_too_and_more_than_once(tmp_path: Path, ask: int) -> None:
    whole_dir, run_dir = tmp_path / "whole", tmp_path / "extended"
    whole_dir.mkdir(), run_dir.mkdir()
    expected = outcome(whole_dir, alone(CONSTANT).run(whole_dir, resume=False))
    short = alone(replace(SHORTER, total_env_steps=4 * 8 * 3))
    assert short.run(run_dir, resume=False, stop=stopped_at(ask)).interrupted
    middle = longer(short, SHORTER.total_env_steps)
    middle.run(run_dir, resume=True, stop=stopped_at(4))
    assert outcome(run_dir, longer(middle, CONSTANT.total_env_steps).run(run_dir, resume=True)) == expected


def test_an_extended_run_that_is_killed_comes_to_the_same(tmp_path: Path) -> None:
    short, first = alone(SHORTER), tmp_path / "first"
    first.mkdir()
    short.run(first, resume=False)
    long = longer(short, CONSTANT.total_env_steps)
    whole_dir = tmp_path / "whole"
    shutil.copytree(first, whole_dir)
    fuse = Fuse()
    with pytest.MonkeyPatch.context() as patch:
        burning_writes(patch, fuse)
        expected = outcome(whole_dir, long.run(whole_dir, resume=True, fuse=fuse))
    for moment in range(1, fuse.count + 1, 3):
        run_dir = tmp_path / str(moment)
        shutil.copytree(first, run_dir)
        assert not kill(long, run_dir, moment, resume=True)
        assert outcome(run_dir, long.run(run_dir, resume=True)) == expected, f"killed at {moment}"


def test_a_total_that_the_run_never_had_is_refused(tmp_path: Path) -> None:
    short = alone(SHORTER)
    short.run(tmp_path, resume=False)
    long = replace(longer(short, CONSTANT.total_env_steps), earlier_totals=())
    with pytest.raises(ResumeError, match="with `total_env_steps` 160, not 288"):
        long.run(tmp_path, resume=True)
    # It is the total and the notes together that it had before.
    other = replace(long, earlier_totals=(replace(EARLIER[0], notes={"controller": "other"}),))
    with pytest.raises(ResumeError, match="with `total_env_steps` 160, not 288"):
        other.run(tmp_path, resume=True)


def test_an_extended_anneal_keeps_its_blend(tmp_path: Path) -> None:
    short = alone(ANNEAL)
    short.run(tmp_path, resume=False)
    longer(short, ANNEAL.total_env_steps + 4 * 8 * 3).run(tmp_path, resume=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["warmup", "anneal", "anneal", *["ppo"] * 6]

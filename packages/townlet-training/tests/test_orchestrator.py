"""Whole runs in small corridors: what follows what, what is left behind, and what happens when things go wrong."""

import itertools
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from corridor import SPEC, CorridorCollector, CorridorEvaluator, network
from numpy.typing import NDArray
from pairs import SLEEPWALKER, WALKER, PairCollector, PairEvaluator
from pairs import SPECS as PAIR_SPECS

from townlet_training.config import ONE_GROUP, AnnealConfig, GatesConfig, TrainingConfig
from townlet_training.errors import ConfigError, TrainingError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.spec import PolicySpec
from townlet_training.network.weights import set_weights, weights_digest, weights_sha256
from townlet_training.planning import plan
from townlet_training.run import result as result_module
from townlet_training.run.checkpoint import read_checkpoint
from townlet_training.run.metrics import ANNEAL_KEYS, CONTRACT_KEYS, OWN_KEYS, WALL_TIME_KEYS
from townlet_training.run.monitor import Progress
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_trajectory import ArtifactError, BatchSource
from townlet_trajectory.evaluation.gates import Verdict
from townlet_trajectory.evaluation.interfaces import HELD_OUT, Actor, EpisodeScores, promotion_seeds, selection_seeds
from townlet_trajectory.evaluation.promotion import Decision, PromotionConfig
from townlet_trajectory.evaluation.results import ExportedPolicy, RunSummary
from townlet_trajectory.storage.files import DirectoryLock

CONFIG = TrainingConfig(
    baselines=("scripted", "nearest", "idle", "random"),
    seed=7,
    total_env_steps=8 * 48 * 24,
    num_envs=8,
    rollout_ticks=48,
    eval_every=4,
    eval_episodes=10,
    final_episodes=12,
    network=NetworkConfig(hidden_sizes=(16,)),
    ppo=PPOConfig(learning_rate=3e-3, num_minibatches=4, entropy_coef=0.02),
    bc=BCConfig(num_epochs=3, learning_rate=1e-2),
    anneal=AnnealConfig(clone_ticks=72, warmup_updates=2, kickstart_start=0.1, max_retries=1),
    gates=GatesConfig(num_resamples=500),
    promotion=PromotionConfig(num_episodes=12, num_resamples=500),
)
SHORT = replace(CONFIG, total_env_steps=8 * 48 * 10)
"""One and a half times 384 steps of cloning, 2 updates of warm-up, 3 of blend, 3 of PPO alone."""


def run(run_dir: Path, config: TrainingConfig, evaluator: CorridorEvaluator | None = None, **hooks: Any) -> RunSummary:
    return TrainingOrchestrator(
        config,
        CorridorCollector(8, seed=config.seed),
        evaluator or CorridorEvaluator(),
        specs={ONE_GROUP: SPEC},
        run_dir=run_dir,
        **hooks,
    ).run()


def log_of(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


class Sabotaged(CorridorEvaluator):
    """Finds that the policy earned nothing, at the given ones of its evaluations on the episodes of selection."""

    def __init__(self, *bad: int) -> None:
        super().__init__()
        self.bad = bad
        self.num_selections = 0

    def evaluate(self, actors: Mapping[str, Actor], *, seeds: NDArray[np.int64], sample: bool) -> EpisodeScores:
        scores = super().evaluate(actors, seeds=seeds, sample=sample)
        if seeds[0] not in selection_seeds(1000):
            return scores
        # A gate that lacks evidence asks for more episodes of the same evaluation.
        self.num_selections += int(seeds[0] == selection_seeds(1)[0])
        return replace(scores, returns=(0.0,) * len(seeds)) if self.num_selections in self.bad else scores


@pytest.fixture
def without_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write nothing where a policy would be exported: that costs more than the run."""

    def noted(network: ActorCritic, path: Path, *, spec: PolicySpec, seed: int) -> ExportedPolicy:
        return ExportedPolicy(path=path, weights_sha256=weights_sha256(network), file_sha256="0" * 64)

    monkeypatch.setattr(result_module, "export_policy", noted)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("anneal")


@pytest.fixture(scope="module")
def evaluator() -> CorridorEvaluator:
    return CorridorEvaluator()


@pytest.fixture(scope="module")
def watched() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def annealed(run_dir: Path, evaluator: CorridorEvaluator, watched: list[Progress]) -> RunSummary:
    return run(run_dir, CONFIG, evaluator, on_progress=watched.append)


def test_the_learned_policy_beats_the_script_and_is_promoted(annealed: RunSummary) -> None:
    assert annealed.final is not None
    assert annealed.promotion is not None
    assert annealed.final.paired["scripted"].ci[0] > 0.5
    assert annealed.final.normalized["scripted"] > 0.2
    assert annealed.promotion.decision is Decision.PROMOTE
    assert annealed.failure is None
    assert not annealed.interrupted


def test_one_run_leaves_these_files(annealed: RunSummary, run_dir: Path) -> None:
    assert sorted(file.name for file in run_dir.iterdir()) == [
        "checkpoints",
        "metrics.jsonl",
        "policy.onnx",
        "policy.vectors.json",
        "promotion.json",
    ]
    kept = sorted(file.name for file in (run_dir / "checkpoints").iterdir())
    assert annealed.checkpoint.name in kept
    # The newest, the best, and the clone's.
    assert len(kept) <= CONFIG.keep_checkpoints + 2
    assert not [name for name in kept if "interim" in name]


def test_stages_follow_each_other_in_the_log(annealed: RunSummary, run_dir: Path) -> None:
    rows, schedule = log_of(run_dir), plan(CONFIG)
    assert len(rows) == schedule.num_updates == annealed.counters.num_updates
    planned = [schedule.update(index) for index in range(len(rows))]
    assert [row["stage"] for row in rows] == [each.stage for each in planned]
    assert [row["ratio"] for row in rows] == [each.ratio for each in planned]
    assert [row["kickstart_coef"] for row in rows] == [each.kickstart_coef for each in planned]
    assert [row["lr"] for row in rows] == [each.learning_rate for each in planned]
    assert [row["cycle_id"] for row in rows] == [{"warmup": 1, "anneal": 2, "ppo": 3}[row["stage"]] for row in rows]
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
    assert all(list(row) == [*CONTRACT_KEYS, *ANNEAL_KEYS, *OWN_KEYS] for row in rows)
    assert rows[-1]["env_steps"] == annealed.counters.env_steps <= CONFIG.total_env_steps


def test_the_policy_takes_the_share_of_decisions_that_the_ratio_gives_it(annealed: RunSummary, run_dir: Path) -> None:
    for row in log_of(run_dir):
        # 384 coins: four deviations are at most 0.1.
        assert row["decision_share_learned"] == pytest.approx(row["ratio"], abs=0.1)


def test_the_history_begins_with_the_clone_and_follows_the_plan(annealed: RunSummary) -> None:
    schedule = plan(CONFIG)
    assert annealed.clone is not None
    assert annealed.history[0] == annealed.clone.evaluation
    assert annealed.history[0].stage == "clone"
    assert annealed.clone.results[ONE_GROUP].accuracy == 1.0
    assert len(annealed.history) == 1 + schedule.num_evaluations
    assert [each.env_steps for each in annealed.history] == sorted(each.env_steps for each in annealed.history)
    assert {gate.verdict for gate in annealed.gates} == {Verdict.PASSED}
    assert len(annealed.gates) == len(annealed.history)
    assert annealed.history[-1].return_mean > annealed.history[0].return_mean


def test_the_policy_is_the_best_of_those_in_charge_alone(annealed: RunSummary) -> None:
    schedule = plan(CONFIG)
    before = CONFIG.num_envs * (CONFIG.anneal.clone_ticks + CONFIG.rollout_ticks * schedule.num_warmup)
    alone = before + CONFIG.num_envs * CONFIG.rollout_ticks * schedule.num_blend
    best = max((each for each in annealed.history if each.env_steps >= alone), key=lambda each: each.return_mean)
    checkpoint = read_checkpoint(annealed.checkpoint)
    assert checkpoint.state.env_steps == best.env_steps
    assert weights_digest(checkpoint.weights) == annealed.weights_sha256


def test_the_exported_policy_is_that_of_the_checkpoint(annealed: RunSummary, run_dir: Path) -> None:
    (entry,) = onnx.load(run_dir / "policy.onnx").metadata_props
    assert json.loads(entry.value)["weights_sha256"] == annealed.weights_sha256
    assert annealed.policies[ONE_GROUP].path == run_dir / "policy.onnx"
    assert annealed.promotion is not None
    assert annealed.promotion.latest.candidate == annealed.weights_sha256


def test_nothing_is_judged_on_worlds_that_were_trained_or_chosen_on(
    annealed: RunSummary, evaluator: CorridorEvaluator
) -> None:
    blocks = {(first, count) for _, first, count in evaluator.asked}
    passes = {(int(promotion_seeds(7, number, 12)[0]), 12) for number in range(2)}
    assert annealed.final is not None
    final = (int(annealed.final.learned.seeds[0]), 12)
    assert blocks == {(int(selection_seeds(10)[0]), 10), final, *passes}
    spans = sorted(blocks)
    assert spans[0][0] >= HELD_OUT
    for (lower, count), (upper, _) in itertools.pairwise(spans):
        assert lower + count <= upper


def test_normalization_is_frozen_after_cloning(annealed: RunSummary, run_dir: Path) -> None:
    names = ("observation_mean", "observation_std", "value_scale")
    digests = set()
    for path in (run_dir / "checkpoints").iterdir():
        weights = read_checkpoint(path).weights
        digests.add(weights_digest({name: weights[name] for name in names}))
    assert len(digests) == 1


def test_progress_goes_forward(annealed: RunSummary, watched: list[Progress]) -> None:
    assert [each.env_steps for each in watched] == sorted(each.env_steps for each in watched)
    assert watched[0].stage == "clone"
    learning = [each for each in watched if each.stage != "judge"]
    assert learning[-1].stage == "ppo"
    assert learning[-1].last_return == annealed.history[-1].return_mean
    assert annealed.clone is not None
    num_epochs = len(annealed.clone.results[ONE_GROUP].epochs)
    assert len(learning) == num_epochs + annealed.counters.num_updates + len(annealed.history)
    # Policy, clone and four baselines for the final score; policy and script in each of two promotion passes.
    assert [each.stage for each in watched[len(learning) :]] == ["judge"] * (6 + 2 * 2)
    assert set(annealed.timings) == {"clone", "evaluation", "warmup", "anneal", "ppo", "export", "final", "promotion"}


def test_the_same_seed_gives_the_same_run(tmp_path: Path) -> None:
    summaries = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        summaries.append(run(tmp_path / name, SHORT))
    first, second = (
        [{key: value for key, value in row.items() if key not in WALL_TIME_KEYS} for row in log_of(tmp_path / name)]
        for name in ("first", "second")
    )
    assert first == second
    assert summaries[0].weights_sha256 == summaries[1].weights_sha256
    assert summaries[0].history == summaries[1].history
    assert summaries[0].promotion == summaries[1].promotion
    for name in ("policy.onnx", "promotion.json"):
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    digests = set()
    for seed in (7, 8):
        (tmp_path / str(seed)).mkdir()
        digests.add(run(tmp_path / str(seed), replace(SHORT, seed=seed), stop=stop_after(6)).weights_sha256)
    assert len(digests) == 2


@pytest.mark.usefixtures("without_export")
def test_a_failed_gate_goes_back_to_the_last_good_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # The first evaluation is the clone's; the second, after the blend of 3 updates, finds nothing left of it.
    with caplog.at_level(logging.INFO, logger="townlet_training"):
        summary = run(tmp_path, SHORT, Sabotaged(2))
    rows = log_of(tmp_path)
    assert [row["attempt"] for row in rows] == [0] * 5 + [1] * 3
    # It goes back to the end of the warm-up, and through the blend once more, until the steps are used up.
    assert [row["stage"] for row in rows] == ["warmup"] * 2 + ["anneal"] * 6
    assert [row["ratio"] for row in rows[2:5]] == [row["ratio"] for row in rows[5:8]]
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert summary.counters.num_retries == 1
    assert summary.failure is None
    assert [gate.failed for gate in summary.gates] == [False, True, False]
    assert [each.attempt for each in summary.history] == [0, 0, 1]
    assert summary.promotion is not None
    assert not any(gate.failed for gate in summary.promotion.gates)
    assert "attempt 1 goes on from the checkpoint at 1344 world steps" in caplog.text


@pytest.mark.usefixtures("without_export")
def test_gates_that_keep_failing_stop_the_run(tmp_path: Path) -> None:
    summary = run(tmp_path, SHORT, Sabotaged(2, 3))
    assert summary.counters.num_retries == 1
    assert summary.counters.num_updates == 8
    assert summary.failure is not None
    assert summary.failure.startswith("kept_score_3648: mean ")
    assert summary.promotion is not None
    assert summary.promotion.decision is Decision.FAIL
    assert summary.promotion.latest.comparison is None
    assert [gate.name for gate in summary.promotion.gates] == ["clone_accuracy", "kept_score_3648"]
    # What is left are the last weights that were good: those of the warm-up.
    assert summary.checkpoint.name == "step-000001344"
    assert read_checkpoint(summary.checkpoint).state.stage == "warmup"
    assert read_checkpoint(summary.checkpoint).state.weights_sha256 == summary.weights_sha256
    assert summary.final is not None
    assert summary.clone is not None
    np.testing.assert_array_equal(summary.final.learned.returns, summary.final.clone.returns)


@pytest.mark.usefixtures("without_export")
def test_steps_that_run_out_before_the_policy_is_alone_fail(tmp_path: Path) -> None:
    config = replace(SHORT, eval_every=2, anneal=replace(SHORT.anneal, blend_fraction=0.8, max_retries=4))
    summary = run(tmp_path, config, Sabotaged(3, 4))
    assert summary.counters.num_retries == 2
    assert summary.failure == "acts_alone: the policy was not in charge alone within 3840 world steps"
    assert summary.promotion is not None
    assert summary.promotion.decision is Decision.FAIL


@pytest.mark.usefixtures("without_export")
def test_a_clone_that_does_not_resemble_the_script_stops_the_run(tmp_path: Path) -> None:
    summary = run(tmp_path, replace(SHORT, bc=BCConfig(num_epochs=1, learning_rate=1e-9)))
    assert summary.failure is not None
    assert summary.failure.startswith("clone_accuracy: accuracy 0.")
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
    assert summary.counters.num_updates == 0
    assert summary.promotion is not None
    assert summary.promotion.decision is Decision.FAIL
    assert list(summary.policies) == [ONE_GROUP]


def stop_after(calls: int) -> Callable[[], bool]:
    left = [calls]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


@pytest.mark.parametrize("calls", [0, 1, 4, 6, 9])
def test_a_run_that_is_stopped_leaves_a_checkpoint(tmp_path: Path, calls: int) -> None:
    summary = run(tmp_path, SHORT, stop=stop_after(calls))
    assert summary.interrupted
    assert (summary.policies, summary.final, summary.promotion) == ({}, None, None)
    checkpoint = read_checkpoint(summary.checkpoint)
    assert checkpoint.state.weights_sha256 == summary.weights_sha256
    assert checkpoint.state.env_steps == summary.counters.env_steps
    assert checkpoint.state.num_updates == summary.counters.num_updates
    assert not (tmp_path / "policy.onnx").exists()


@pytest.mark.usefixtures("without_export")
def test_a_run_that_is_stopped_while_it_is_judged_promotes_nothing(tmp_path: Path) -> None:
    class Impatient(CorridorEvaluator):
        stopped = False

        def baseline(self, name: str, *, seeds: NDArray[np.int64]) -> EpisodeScores:
            self.stopped = name == "random"
            return super().baseline(name, seeds=seeds)

    evaluator = Impatient()
    summary = run(tmp_path, SHORT, evaluator, stop=lambda: evaluator.stopped)
    assert summary.interrupted
    assert summary.promotion is None
    assert not (tmp_path / "promotion.json").exists()
    assert read_checkpoint(summary.checkpoint).state.weights_sha256 == summary.weights_sha256


@pytest.mark.usefixtures("without_export")
def test_ppo_alone_needs_no_script(tmp_path: Path) -> None:
    config = replace(SHORT, mode="ppo", total_env_steps=8 * 48 * 8, baselines=("idle", "random"))
    summary = run(tmp_path, config)
    assert summary.clone is None
    assert summary.promotion is None
    assert summary.gates == ()
    assert summary.final is not None
    assert summary.final.clone is None
    assert summary.final.normalized == {"idle": None, "random": None}
    rows = log_of(tmp_path)
    assert {(row["stage"], row["ratio"]) for row in rows} == {("ppo", 1.0)}
    assert all(list(row) == [*CONTRACT_KEYS, *OWN_KEYS] for row in rows)
    assert summary.history[0].env_steps == 384
    assert summary.final.learned.mean > summary.history[0].return_mean


@pytest.mark.usefixtures("without_export")
def test_cloning_alone_is_judged_too(tmp_path: Path) -> None:
    summary = run(tmp_path, replace(SHORT, mode="bc"))
    assert summary.counters.num_updates == 0
    assert summary.clone is not None
    assert [gate.name for gate in summary.gates] == ["clone_accuracy"]
    assert summary.final is not None
    np.testing.assert_array_equal(summary.final.learned.returns, summary.final.clone.returns)
    assert summary.promotion is not None
    assert summary.promotion.decision is Decision.HOLD
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""


def test_a_directory_holds_one_run(tmp_path: Path) -> None:
    run(tmp_path, SHORT, stop=stop_after(0))
    with pytest.raises(TrainingError, match="holds a run already"):
        run(tmp_path, SHORT)


def test_two_writers_do_not_share_a_directory(tmp_path: Path) -> None:
    with DirectoryLock(tmp_path), pytest.raises(ArtifactError, match="lock"):
        run(tmp_path, SHORT)
    assert not list(tmp_path.iterdir())


def test_too_few_steps_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`total_env_steps`"):
        run(tmp_path, replace(SHORT, total_env_steps=1000))
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def pair_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pair")


@pytest.fixture(scope="module")
def paired(pair_dir: Path) -> RunSummary:
    """A run of two agent groups; there are no sleepwalkers in the third update."""
    gates = replace(CONFIG.gates, clone_accuracy=0.3)
    return TrainingOrchestrator(
        replace(SHORT, gates=gates),
        PairCollector(8, seed=7, away=frozenset({3})),
        PairEvaluator(),
        specs=PAIR_SPECS,
        run_dir=pair_dir,
    ).run()


def test_every_group_has_its_lines_in_the_log(paired: RunSummary, pair_dir: Path) -> None:
    rows = log_of(pair_dir)
    assert all(list(row) == [*CONTRACT_KEYS, *ANNEAL_KEYS, *OWN_KEYS, "group"] for row in rows)
    groups = [(row["epoch"], row["group"]) for row in rows]
    assert groups == [(n, group) for n in range(1, 9) for group in PAIR_SPECS if (n, group) != (3, SLEEPWALKER)]
    assert (paired.counters.num_updates, paired.counters.num_left_out) == (8, 1)
    last = {row["group"]: row for row in rows}
    # 8 worlds × 48 ticks, 4 passes; the critic warms up with those of 2 of the updates.
    assert [last[group]["steps"] for group in PAIR_SPECS] == [8 * 384 * 4, 7 * 384 * 4]
    assert last[WALKER]["env_steps"] == last[SLEEPWALKER]["env_steps"] == paired.counters.env_steps
    assert last[WALKER]["anneal_bc_accuracy"] > last[SLEEPWALKER]["anneal_bc_accuracy"]


def test_every_group_has_its_policy_file(paired: RunSummary, pair_dir: Path) -> None:
    assert sorted(file.name for file in pair_dir.iterdir()) == [
        "checkpoints",
        "metrics.jsonl",
        f"policy-{SLEEPWALKER}.onnx",
        f"policy-{SLEEPWALKER}.vectors.json",
        f"policy-{WALKER}.onnx",
        f"policy-{WALKER}.vectors.json",
        "promotion.json",
    ]
    weights = read_checkpoint(paired.checkpoint).weights
    assert weights_digest(weights) == paired.weights_sha256
    for group, policy in paired.policies.items():
        own = {name.removeprefix(f"{group}/"): weights[name] for name in weights if name.startswith(f"{group}/")}
        assert policy.weights_sha256 == weights_digest(own)
        (entry,) = onnx.load(pair_dir / f"policy-{group}.onnx").metadata_props
        assert json.loads(entry.value)["weights_sha256"] == policy.weights_sha256
        inputs = [each.name for each in onnx.load(policy.path).graph.input]
        assert inputs == [*PAIR_SPECS[group].observation_shapes, "action_mask"]


def test_every_group_has_its_clone(paired: RunSummary) -> None:
    assert paired.clone is not None
    assert list(paired.clone.results) == [WALKER, SLEEPWALKER]
    gate = paired.gates[0]
    assert gate.name == "clone_accuracy"
    assert f"{WALKER}: accuracy 1 in" in gate.detail
    assert f"; {SLEEPWALKER}: accuracy " in gate.detail
    assert paired.promotion is not None
    assert paired.promotion.latest.candidate == paired.weights_sha256


def test_a_group_without_a_proper_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the name of an agent group must be"):
        TrainingOrchestrator(
            SHORT, CorridorCollector(8, seed=7), CorridorEvaluator(), specs={"a/b": SPEC}, run_dir=tmp_path
        )


BC = replace(CONFIG, mode="bc", num_envs=4, bc=BCConfig(num_epochs=6, learning_rate=1e-2))


def recorded() -> dict[str, list[BatchSource]]:
    """What the script of another twelve corridors does in one episode."""
    collected = CorridorCollector(12, seed=5).collect(None, num_ticks=24, ratio=0.0)
    return {ONE_GROUP: [BatchSource(collected.batches[ONE_GROUP])]}


def from_data(run_dir: Path, config: TrainingConfig = BC, **hooks: Any) -> RunSummary:
    """A run without a world."""
    arguments = {"specs": {ONE_GROUP: SPEC}, "data": recorded(), **hooks}
    return TrainingOrchestrator(config, None, None, run_dir=run_dir, **arguments).run()


def test_a_run_without_a_world_is_judged_by_held_out_labels_and_exported(tmp_path: Path) -> None:
    summary = from_data(tmp_path)
    assert (summary.interrupted, summary.final, summary.promotion, summary.history) == (False, None, None, ())
    assert summary.clone is not None and summary.clone.evaluation is None and summary.failure is None
    # Of 12 episodes 2 are held out: one chooses the epoch, one judges.
    result = summary.clone.results[ONE_GROUP]
    assert (result.num_labels, result.num_held_out, result.accuracy) == (10 * 24, 24, 1.0)
    assert [(gate.name, gate.verdict) for gate in summary.gates] == [("clone_accuracy", summary.clone.gate.verdict)]
    assert (summary.counters.env_steps, summary.counters.num_updates) == (0, 0)
    exported = summary.policies[ONE_GROUP]
    assert exported.weights_sha256 == weights_sha256(copy_of(summary)) and exported.path.stat().st_size > 0
    assert read_checkpoint(summary.checkpoint).state.weights_sha256 == summary.weights_sha256
    assert summary.checkpoint.name == "step-000000000"
    assert log_of(tmp_path) == []


def copy_of(summary: RunSummary) -> ActorCritic:
    """The network in the checkpoint of `summary`."""
    own = network(hidden_sizes=(16,))
    set_weights(own, read_checkpoint(summary.checkpoint).weights)
    return own


def test_a_clone_of_data_that_is_not_good_enough_fails_its_gate_without_a_world(tmp_path: Path) -> None:
    config = replace(BC, bc=BCConfig(num_epochs=1, learning_rate=1e-6), gates=GatesConfig(num_resamples=500))
    summary = from_data(tmp_path, config, data=drawn())
    assert summary.failure is not None and summary.failure.startswith("clone_accuracy: ")
    assert [gate.failed for gate in summary.gates] == [True]
    assert summary.policies.keys() == {ONE_GROUP}


def drawn() -> dict[str, list[BatchSource]]:
    """Recorded steps whose labels are coins."""
    batch = CorridorCollector(100, seed=5).collect(None, num_ticks=24, ratio=0.0).batches[ONE_GROUP]
    coins = np.random.default_rng(3).integers(0, 2, batch.num_steps) * 2
    return {ONE_GROUP: [BatchSource(replace(batch, columns={**batch.columns, "expert_action": coins}))]}


def test_data_takes_the_place_of_the_scripts_rollouts(tmp_path: Path) -> None:
    """A run in a world that clones data ends with the clone of a run without one, and knows what it is worth."""
    for name in ("alone", "world"):
        (tmp_path / name).mkdir()
    alone = from_data(tmp_path / "alone")
    judged = run(tmp_path / "world", replace(BC, num_envs=8), data=recorded())
    assert judged.weights_sha256 == alone.weights_sha256
    assert judged.counters.env_steps == 0 and judged.final is not None and judged.clone is not None
    assert judged.clone.evaluation == judged.history[0] and judged.history[0].env_steps == 0
    np.testing.assert_array_equal(judged.final.learned.returns, judged.final.baselines["scripted"].returns)


def test_an_anneal_from_data_spends_its_world_steps_on_what_follows(tmp_path: Path) -> None:
    summary = run(tmp_path, SHORT, data=recorded())
    assert summary.failure is None and summary.final is not None
    lines = log_of(tmp_path)
    assert [line["stage"] for line in lines[:2]] == ["warmup", "warmup"] and lines[0]["env_steps"] == 8 * 48
    assert lines[0]["baseline_sample_count"] == 12 and lines[0]["anneal_bc_accuracy"] == 1.0
    # What the script's rollouts would have cost is spent on updates.
    assert summary.counters.num_updates == 10 and summary.counters.env_steps == 10 * 8 * 48


@pytest.mark.parametrize(
    ("config", "data", "message"),
    [
        (replace(BC, mode="ppo"), recorded(), "mode `ppo` learns from what its own policy does"),
        (SHORT, recorded(), "a run is one of mode `bc` with `data`, got `anneal`"),
        (BC, None, "a run is one of mode `bc` with `data`, got `bc`"),
        (BC, {"walker": recorded()[ONE_GROUP]}, r"`data` must be of the agent groups \['agents'\], got \['walker'\]"),
        (BC, {ONE_GROUP: []}, "`data` of agent group `agents` must be at least one source, got none"),
    ],
)
def test_a_run_needs_a_world_or_data_that_its_mode_has_a_use_for(
    tmp_path: Path, config: TrainingConfig, data: dict[str, list[BatchSource]] | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        from_data(tmp_path, config, data=data)

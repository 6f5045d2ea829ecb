"""Groups that do not learn are played by the script, by a policy that stays, or by an earlier self of a learner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import SPEC, CorridorCollector, CorridorEvaluator, agents, network
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from townlet_training.config import ONE_GROUP, AnnealConfig, GatesConfig, GroupConfig, PastSelf, TrainingConfig
from townlet_training.errors import ConfigError, ShapeError
from townlet_training.learning.config import BCConfig, PPOConfig
from townlet_training.network.actor_critic import ActorCritic
from townlet_training.network.config import NetworkConfig
from townlet_training.network.weights import weights_sha256
from townlet_training.run.agent_groups import GroupLearners
from townlet_training.run.checkpoint import read_checkpoint
from townlet_training.run.metrics import WALL_TIME_KEYS
from townlet_training.run.opponents import EarlierSelf, GroupOpponents, Roles
from townlet_training.run.orchestrator import TrainingOrchestrator
from townlet_trajectory.evaluation.interfaces import NO_OPPONENTS, Actor, Collected, EpisodeScores, Opponents
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.results import RunSummary

LEFT, RIGHT, OTHER = "left", "right", "other"
BLIND = replace(SPEC, observation_shapes={"cell": SPEC.observation_shapes["cell"]})
CONFIG = TrainingConfig(
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
    ppo=PPOConfig(learning_rate=3e-3, num_minibatches=2, num_epochs=1),
    bc=BCConfig(num_epochs=1),
    anneal=AnnealConfig(clone_ticks=24, warmup_updates=1, blend_fraction=0.4, max_retries=1),
    gates=GatesConfig(clone_accuracy=0.0, kept_fraction=0.0, num_resamples=100),
    promotion=PromotionConfig(num_episodes=10, num_resamples=100),
)


def of(**policies: str) -> TrainingConfig:
    return replace(CONFIG, groups={group: GroupConfig(policy=policy) for group, policy in policies.items()})


@pytest.mark.parametrize(
    ("policy", "past", "file"),
    [
        ("learn", None, None),
        ("script", None, None),
        ("past(0)", PastSelf(None, 0), None),
        ("past(12)", PastSelf(None, 12), None),
        ("past(left, 5)", PastSelf("left", 5), None),
        ("past(left-1.b,5)", PastSelf("left-1.b", 5), None),
        ("runs/a", None, Path("runs/a")),
        ("script.onnx", None, Path("script.onnx")),
    ],
)
def test_a_policy_is_learned_scripted_an_earlier_self_or_a_file(
    policy: str, past: PastSelf | None, file: Path | None
) -> None:
    group = GroupConfig(policy=policy)
    assert (group.past, group.file) == (past, file)


@pytest.mark.parametrize("policy", ["past", "past()", "past(-1)", "past(1000)", "past(a)", "past(a,b,1)", "past (3)"])
def test_an_earlier_self_that_is_none_is_refused(policy: str) -> None:
    with pytest.raises(ConfigError, match=r"`policy` must be past\(k\) or past\(GROUP, k\), k from 0 to 999"):
        GroupConfig(policy=policy)
    with pytest.raises(ConfigError, match="`policy` must be"):
        GroupConfig(policy="")


def test_roles_of_the_groups_of_a_world() -> None:
    frozen = network()
    specs = {LEFT: SPEC, RIGHT: SPEC, OTHER: BLIND, "fourth": BLIND}
    roles = Roles.of(of(right="past(3)", other="a.onnx", fourth="script"), specs, {OTHER: frozen})
    assert roles.learning == {LEFT: SPEC}
    assert roles.fixed == {OTHER: frozen, "fourth": None}
    assert roles.past == {RIGHT: EarlierSelf(LEFT, 3)}
    named = Roles.of(of(fourth="past(right, 2)"), {LEFT: SPEC, RIGHT: SPEC, "fourth": SPEC}, {})
    assert named.past == {"fourth": EarlierSelf(RIGHT, 2)}


@pytest.mark.parametrize(
    ("policies", "problem"),
    [
        ({"nobody": "script"}, "`groups` must be of left, right, other, got nobody"),
        ({LEFT: "script", RIGHT: "script", OTHER: "script"}, "must leave one of left, right, other to learn, got none"),
        ({RIGHT: "a.onnx"}, r"expected frozen policies of \['right'\], got those of \[\]"),
        ({OTHER: "past(1)"}, r"`groups.other` must be an earlier self .* \(there is none\), got past\(1\)"),
        ({RIGHT: "past(other, 1)"}, r"\(there is left\), got past\(other, 1\)"),
        ({RIGHT: "past(right, 1)"}, r"\(there is left\), got past\(right, 1\)"),
    ],
)
def test_roles_that_cannot_be_are_refused(policies: Mapping[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Roles.of(of(**policies), {LEFT: SPEC, RIGHT: SPEC, OTHER: BLIND}, {})


def test_an_earlier_self_of_one_of_several_learners_must_be_named() -> None:
    with pytest.raises(ConfigError, match=r"\(there is left, right\), got past\(1\)"):
        Roles.of(of(fourth="past(1)"), {LEFT: SPEC, RIGHT: SPEC, "fourth": SPEC}, {})


def opponents(**updates: int) -> tuple[GroupOpponents, ActorCritic]:
    roles = Roles(learning={LEFT: SPEC}, fixed={}, past={name: EarlierSelf(LEFT, k) for name, k in updates.items()})
    return GroupOpponents(roles, {name: network(seed=9) for name in updates}), network(seed=1)


def learn(net: ActorCritic) -> str:
    """Change weights in place, as an optimizer does."""
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.5
    return weights_sha256(net)


def played(group: str, own: GroupOpponents) -> str:
    actor = own.playing()[group]
    assert isinstance(actor, ActorCritic)
    return weights_sha256(actor)


def test_who_plays_by_hand() -> None:
    own, net = opponents(now=0, before=2)
    assert own.playing() == {"now": None, "before": None}  # nothing was learned: the script
    assert own.digest() == ""
    history = [weights_sha256(net)]
    own.begin({LEFT: net})
    for _ in range(4):
        history.append(learn(net))
        # the learner's memory changes under its optimizer, not that of the snapshots
        assert played("now", own) == history[-2]
        own.note_update({LEFT: net})
        assert played("now", own) == history[-1]
        assert played("before", own) == history[max(0, len(history) - 3)]
    own.begin({LEFT: net})
    assert played("before", own) == history[-1]


@settings(max_examples=20)
@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 6), st.integers(0, 6))
def test_snapshots_are_those_of_a_list_of_all_weights_and_go_on_from_what_was_saved(
    first: int, second: int, before: int, after: int
) -> None:
    own, net = opponents(first=first, second=second)
    history = [weights_sha256(net)]
    own.begin({LEFT: net})
    for number in range(before + after):
        if number == before:
            state = {name: tensor.clone() for name, tensor in own.state().items()}
            assert len({name.split("/")[2] for name in state}) == min(max(first, second), before) + 1
            own, _ = opponents(first=first, second=second)
            rest = {"exp_avg": torch.ones(2)}
            assert own.restore(state | rest).keys() == rest.keys()
        history.append(learn(net))
        own.note_update({LEFT: net})
        for name, updates in (("first", first), ("second", second)):
            assert played(name, own) == history[max(0, len(history) - 1 - updates)]


def test_the_digest_says_when_an_earlier_self_is_another() -> None:
    own, net = opponents(past=1)
    own.begin({LEFT: net})
    digests = [own.digest()]
    for _ in range(3):
        learn(net)
        own.note_update({LEFT: net})
        digests.append(own.digest())
    assert digests[0] == digests[1]  # one update ago there was the first
    assert len(set(digests)) == 3
    fixed = GroupOpponents(Roles(learning={LEFT: SPEC}, fixed={RIGHT: None}, past={}), {})
    assert (fixed.digest(), fixed.moving, own.moving) == ("", False, True)


def test_snapshots_of_another_group_are_refused() -> None:
    own, net = opponents(past=1)
    own.begin({LEFT: net})
    state = {name.replace(LEFT, OTHER): tensor for name, tensor in own.state().items()}
    with pytest.raises(ShapeError, match=r"expected snapshots of the groups \['left'\], got `other/0/"):
        own.restore(state)


def test_learners_alone_have_networks_optimizers_and_moments() -> None:
    own = GroupLearners(of(right="past(2)", other="script"), {LEFT: SPEC, RIGHT: SPEC, OTHER: BLIND})
    assert own.specs == {LEFT: SPEC}
    assert own.networks.keys() == {LEFT}
    alone = GroupLearners(CONFIG, {LEFT: SPEC})
    assert alone.sha256() == own.sha256()
    assert alone.state().keys() == own.state().keys()  # no snapshot before there is something learned


@dataclass
class Meeting:
    """Worlds of two groups: `left` walks its corridors, and who plays `right` is noted."""

    seed: int = 7
    met: list[tuple[str, str]] = field(default_factory=list)
    """What was done, and the digest of who played `right`."""

    def __post_init__(self) -> None:
        self.collector = CorridorCollector(4, seed=self.seed)
        self.evaluator = CorridorEvaluator()

    def collect(
        self,
        actors: Mapping[str, Actor] | None,
        *,
        num_ticks: int,
        ratio: float,
        opponents: Opponents = NO_OPPONENTS,
    ) -> Collected:
        self._meet("collect", opponents)
        own = None if actors is None else agents(actors[LEFT])
        collected = self.collector.collect(own, num_ticks=num_ticks, ratio=ratio)
        return replace(collected, batches={LEFT: collected.batches[ONE_GROUP]})

    def save_state(self) -> Mapping[str, NDArray[np.generic]] | None:
        return self.collector.save_state()

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        self.collector.restore(state)

    def evaluate(
        self,
        actors: Mapping[str, Actor],
        *,
        seeds: NDArray[np.int64],
        sample: bool,
        opponents: Opponents = NO_OPPONENTS,
    ) -> EpisodeScores:
        assert actors.keys() == {LEFT}
        self._meet("evaluate", opponents)
        return self._shifted(self.evaluator.evaluate(agents(actors[LEFT]), seeds=seeds, sample=sample), opponents)

    def baseline(self, name: str, *, seeds: NDArray[np.int64], opponents: Opponents = NO_OPPONENTS) -> EpisodeScores:
        self._meet(name, opponents)
        return self._shifted(self.evaluator.baseline(name, seeds=seeds), opponents)

    def _meet(self, event: str, opponents: Opponents) -> None:
        assert opponents.keys() == {RIGHT}
        self.met.append((event, who(opponents[RIGHT])))

    def _shifted(self, scores: EpisodeScores, opponents: Opponents) -> EpisodeScores:
        """Every opponent takes something else away, so that scores against another one cannot be taken for these."""
        toll = int(who(opponents[RIGHT]).encode().hex()[:6], 16) / 2**24
        return replace(scores, returns=tuple(value - toll for value in scores.returns))


def who(actor: Any) -> str:
    return "script" if actor is None else weights_sha256(actor) if isinstance(actor, ActorCritic) else "frozen"


def run(config: TrainingConfig, run_dir: Path, worlds: Meeting, *, frozen: Any = None, **options: Any) -> RunSummary:
    run_dir.mkdir(exist_ok=True)
    return TrainingOrchestrator(
        config,
        worlds,
        worlds,
        specs={LEFT: SPEC, RIGHT: SPEC},
        frozen={} if frozen is None else {RIGHT: frozen},
        run_dir=run_dir,
        **options,
    ).run()


def log(run_dir: Path) -> list[dict[str, Any]]:
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in WALL_TIME_KEYS} for line in lines]


def test_a_run_against_an_earlier_self_meets_the_weights_of_so_many_updates_ago(tmp_path: Path) -> None:
    weights: list[str | None] = []

    class Watched(Meeting):
        def collect(self, actors: Any, **given: Any) -> Collected:
            weights.append(None if actors is None else weights_sha256(actors[LEFT]))
            return super().collect(actors, **given)

    worlds = Watched()
    summary = run(of(right="past(2)"), tmp_path / "run", worlds)
    collected = [name for event, name in worlds.met if event == "collect"]
    # the script is cloned beside the script; then comes the clone, and from the third update on the learner's past
    assert weights[0] is None
    learned = weights[1:]
    assert collected == ["script", *(learned[max(0, index - 2)] for index in range(len(learned)))]
    assert summary.history[-1].env_steps == summary.counters.env_steps
    # scores against other opponents are not comparable: the run ends with its last policy
    assert summary.final is not None
    assert not any(event in ("scripted", "idle") and name == "script" for event, name in worlds.met)
    final = read_checkpoint(summary.checkpoint)
    assert final.state.env_steps == summary.history[-1].env_steps
    assert (tmp_path / "run" / "opponent-right.onnx").exists()
    assert [path.name for path in sorted((tmp_path / "run").glob("policy*.onnx"))] == ["policy-left.onnx"]
    assert {line["group"] for line in log(tmp_path / "run")} == {LEFT}


def test_every_score_that_is_compared_is_against_the_same_opponent(tmp_path: Path) -> None:
    worlds = Meeting()
    summary = run(of(right="past(1)"), tmp_path / "run", worlds)
    evaluator = CorridorEvaluator()
    scripted = evaluator.baseline("scripted", seeds=np.array(range(10)) + 2**31).mean
    assert summary.final is not None
    assert summary.final.baselines["scripted"].mean < scripted  # less the toll of the earlier self
    for record, before in zip(summary.history[1:], summary.history, strict=False):
        assert record.baselines["idle"] != before.baselines["idle"]


def test_a_frozen_policy_and_the_script_play_from_the_first_tick_to_the_last(tmp_path: Path) -> None:
    class Frozen:
        def act(self, observations: Any, action_mask: Any) -> Any:
            raise AssertionError("these worlds do not ask it")

    worlds = Meeting()
    summary = run(of(right="a.onnx"), tmp_path / "frozen", worlds, frozen=Frozen())
    assert {name for _, name in worlds.met} == {"frozen"}
    # against an opponent that stays, the selection scores of the baselines are played once
    assert [event for event, _ in worlds.met].count("idle") == 2
    scripted = Meeting()
    other = run(of(right="script"), tmp_path / "scripted", scripted)
    assert {name for _, name in scripted.met} == {"script"}
    assert other.weights_sha256 == summary.weights_sha256  # these corridors have no way to meet
    assert not (tmp_path / "frozen" / "opponent-right.onnx").exists()


@pytest.mark.long
@pytest.mark.parametrize("mode", ["anneal", "ppo"])
def test_a_run_against_an_earlier_self_goes_on_where_it_was_broken_off(tmp_path: Path, mode: str) -> None:
    config = replace(of(right="past(3)"), mode=mode)
    whole = run(config, tmp_path / "whole", Meeting())
    for moment in (3, 6, 9):
        asked = iter(range(1000))
        path = tmp_path / f"broken-{moment}"
        run(config, path, Meeting(), stop=lambda asked=asked, moment=moment: next(asked) == moment)
        resumed = run(config, path, Meeting(), resume=True)
        assert resumed.weights_sha256 == whole.weights_sha256
        assert log(path) == log(tmp_path / "whole")
        assert resumed.final == whole.final
        assert (path / "opponent-right.onnx").read_bytes() == (tmp_path / "whole" / "opponent-right.onnx").read_bytes()

"""The end of a run: the candidate as a file, its final score, and whether it may replace the script."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.network.onnx_export import export_policy
from townlet_training.run.agent_groups import Learners
from townlet_training.run.clock import RunClock
from townlet_training.run.evaluator import SCRIPTED, Judge
from townlet_training.run.group_names import group_seed
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.interfaces import Actor
from townlet_trajectory.evaluation.promotion import PromotionDecision, PromotionRegistry
from townlet_trajectory.evaluation.results import ExportedPolicy, FinalEvaluation

log = logging.getLogger(__name__)

POLICY_NAME, PROMOTION_NAME = "policy.onnx", "promotion.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Conclusion:
    """What a candidate came to."""

    policies: Mapping[str, ExportedPolicy]
    """By agent group."""
    final: FinalEvaluation
    promotion: PromotionDecision | None
    """None where there is no script to replace."""


def conclude(
    learners: Learners,
    judge: Judge,
    *,
    config: TrainingConfig,
    specs: Mapping[str, PolicySpec],
    run_dir: Path,
    clone: Mapping[str, Actor] | None,
    gates: Sequence[GateResult],
    clock: RunClock,
) -> Conclusion:
    """Export the candidate, give it its final score, and let it try to replace the script.

    What an attempt to do so that was broken off has left behind is written anew.

    Args:
        learners: with the weights of the candidate.
        clone: what it began as, by agent group; None in mode `ppo`.
        gates: that it has to have passed; where one failed, it is not compared with the script.

    Raises:
        ExportError: if the exported policy does not act as the network does.
        ArtifactError: if a file cannot be written.
    """
    with clock.measure("export"):
        policies = {
            group: export_policy(
                learners.networks[group],
                run_dir / _policy_name(group, num_groups=len(specs)),
                spec=spec,
                seed=group_seed(config.seed, "export", group),
            )
            for group, spec in specs.items()
        }
    with clock.measure("final"):
        final = judge.final(learners.networks, clone)
    promotion = None
    if SCRIPTED in config.baselines:
        with clock.measure("promotion"):
            promotion = _promote(learners, judge, config=config, run_dir=run_dir, gates=gates)
        log.info("%s: %s", promotion.decision, promotion.reason)
    return Conclusion(policies=policies, final=final, promotion=promotion)


def _policy_name(group: str, *, num_groups: int) -> str:
    return POLICY_NAME if num_groups == 1 else f"policy-{group}.onnx"


def _promote(
    learners: Learners, judge: Judge, *, config: TrainingConfig, run_dir: Path, gates: Sequence[GateResult]
) -> PromotionDecision:
    # A file that is there already is of this run, which was broken off while it was judged.
    registry = PromotionRegistry(run_dir / PROMOTION_NAME, config=config.promotion, seed=config.seed, anew=True)
    digest = learners.sha256()
    passed = all(gate.passed for gate in gates)
    while True:
        comparison = judge.promotion_pass(learners.networks, registry.next_seeds()) if passed else None
        decision = registry.record(digest, SCRIPTED, comparison=comparison, gates=gates)
        if decision.latest.outcome != "better" or decision.candidate_ready:
            return decision

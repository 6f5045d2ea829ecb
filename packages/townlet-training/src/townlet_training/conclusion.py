"""The end of a run: the candidate as a file, its final score, and whether it may replace the script."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from townlet_training.collect import Actor
from townlet_training.config import PolicySpec, TrainingConfig
from townlet_training.export import ExportedPolicy, export_policy
from townlet_training.gates import GateResult
from townlet_training.judge import SCRIPTED, Judge
from townlet_training.networks import ActorCritic
from townlet_training.progress import RunClock
from townlet_training.promotion import PromotionDecision, PromotionRegistry
from townlet_training.records import FinalEvaluation
from townlet_training.seeds import derive_seed
from townlet_training.weights import weights_sha256

log = logging.getLogger(__name__)

POLICY_NAME, PROMOTION_NAME = "policy.onnx", "promotion.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Conclusion:
    """What a candidate came to."""

    policy: ExportedPolicy
    final: FinalEvaluation
    promotion: PromotionDecision | None
    """None where there is no script to replace."""


def conclude(
    network: ActorCritic,
    judge: Judge,
    *,
    config: TrainingConfig,
    spec: PolicySpec,
    run_dir: Path,
    clone: Actor | None,
    gates: Sequence[GateResult],
    clock: RunClock,
) -> Conclusion:
    """Export the candidate, give it its final score, and let it try to replace the script.

    Args:
        network: the candidate.
        clone: what it began as; None in mode `ppo`.
        gates: that it has to have passed; where one failed, it is not compared with the script.

    Raises:
        ExportError: if the exported policy does not act as the network does.
        ArtifactError: if a file cannot be written.
    """
    with clock.measure("export"):
        seed = derive_seed(config.seed, "export")
        policy = export_policy(network, run_dir / POLICY_NAME, spec=spec, seed=seed)
    with clock.measure("final"):
        final = judge.final(network, clone)
    promotion = None
    if SCRIPTED in config.baselines:
        with clock.measure("promotion"):
            promotion = _promote(network, judge, config=config, run_dir=run_dir, gates=gates)
        log.info("%s: %s", promotion.decision, promotion.reason)
    return Conclusion(policy=policy, final=final, promotion=promotion)


def _promote(
    network: ActorCritic, judge: Judge, *, config: TrainingConfig, run_dir: Path, gates: Sequence[GateResult]
) -> PromotionDecision:
    registry = PromotionRegistry(run_dir / PROMOTION_NAME, config=config.promotion, seed=config.seed)
    digest = weights_sha256(network)
    passed = all(gate.passed for gate in gates)
    while True:
        comparison = judge.promotion_pass(network, registry.next_block()) if passed else None
        decision = registry.record(digest, SCRIPTED, comparison=comparison, gates=gates)
        if decision.latest.outcome != "better" or decision.candidate_ready:
            return decision

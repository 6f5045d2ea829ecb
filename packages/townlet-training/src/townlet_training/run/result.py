"""The result of a run: its candidate exported, scored on fresh episodes, tried against the script, and summed up."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_training.config import ONE_GROUP
from townlet_training.groups import group_seed
from townlet_training.network.export.onnx_export import export_policy
from townlet_training.run.agent_groups import GroupLearners
from townlet_training.run.monitor import RunClock
from townlet_training.run.state import TrainingState
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.promotion import PROMOTION_NAME, PromotionDecision, RunPromotion
from townlet_trajectory.evaluation.results import SCRIPTED, ExportedPolicy, FinalEvaluation, RunSummary

if TYPE_CHECKING:
    from townlet_training.run.evaluator import Actors, RunEvaluator

log = logging.getLogger(__name__)

POLICY_NAME = "policy.onnx"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunResult:
    """Files and scores of the policy that a run ends with."""

    policies: Mapping[str, ExportedPolicy]
    """By agent group."""
    final: FinalEvaluation | None
    """None without a world."""
    promotion: PromotionDecision | None
    """None where there is no script to replace, or no world."""


def export_and_score(
    learners: GroupLearners,
    evaluator: RunEvaluator,
    *,
    state: TrainingState,
    run_dir: Path,
    clone: Actors | None,
    clock: RunClock,
    promote: bool = True,
) -> RunResult:
    """Export the candidate, give it its final score, and let it try to replace the script; without a world, export it.

    Files of an earlier attempt that was interrupted are replaced.

    Args:
        learners: with the weights of the candidate.
        evaluator: plays the episodes.
        state: of the run; where a gate of the candidate failed, it is not compared with the script.
        run_dir: that the files are written to.
        clone: of the candidate, by agent group; None in mode `ppo`.
        clock: measures the parts.
        promote: whether the candidate may try to replace the script.

    Returns:
        The files, the final scores and the decision.

    Raises:
        ExportError: if the exported policy does not act as the network does.
        ArtifactError: if a file cannot be written.
    """
    config, specs = state.config, state.specs
    with clock.measure("export"):
        policies = {
            group: export_policy(
                learners.networks[group],
                run_dir / (POLICY_NAME if tuple(specs) == (ONE_GROUP,) else f"policy-{group}.onnx"),
                spec=spec,
                seed=group_seed(config.seed, "export", group),
            )
            for group, spec in specs.items()
        }
        for group, (learner, network) in learners.opponents.earlier_selves().items():
            seed = group_seed(config.seed, "export", group)
            export_policy(network, run_dir / f"opponent-{group}.onnx", spec=specs[learner], seed=seed)
    if not evaluator.has_world:
        return RunResult(policies=policies, final=None, promotion=None)
    with clock.measure("final"):
        final = evaluator.final(learners.networks, clone)
    promotion = None
    if promote and SCRIPTED in config.baselines:
        with clock.measure("promotion"):
            # A file that is there already is of this run, which was interrupted while it was judged.
            registry = RunPromotion(run_dir / PROMOTION_NAME, config=config.promotion, seed=config.seed, anew=True)
            promotion = _promote(learners, evaluator, registry, state.history.candidate_gates)
        log.info("%s: %s", promotion.decision, promotion.reason)
    return RunResult(policies=policies, final=final, promotion=promotion)


def _promote(
    learners: GroupLearners, evaluator: RunEvaluator, registry: RunPromotion, gates: Sequence[GateResult]
) -> PromotionDecision:
    digest, failed = learners.sha256(), any(gate.failed for gate in gates)
    while True:
        comparison = None if failed else evaluator.promotion_pass(learners.networks, registry.next_seeds())
        decision = registry.record(digest, SCRIPTED, comparison=comparison, gates=gates)
        if decision.latest.outcome != "better" or decision.candidate_ready:
            return decision


def summary_of(
    state: TrainingState, learners: GroupLearners, result: RunResult | None, *, checkpoint: Path, clock: RunClock
) -> RunSummary:
    """Sum up a run.

    Args:
        state: of the run.
        learners: with the weights that the run ends with.
        result: None where the run was interrupted before it had one.
        checkpoint: that holds these weights.
        clock: of the run.

    Returns:
        Everything that is known about the run.
    """
    history = state.history
    failure = history.failure
    return RunSummary(
        mode=state.config.mode,
        acting=state.config.acting,
        seed=state.config.seed,
        interrupted=result is None,
        failure=None if failure is None else f"{failure.name}: {failure.detail}",
        weights_sha256=learners.sha256(),
        policies={} if result is None else result.policies,
        checkpoint=checkpoint,
        clone=history.clone,
        history=history.evaluations,
        gates=history.gates,
        final=None if result is None else result.final,
        promotion=None if result is None else result.promotion,
        counters=state.counters,
        elapsed=clock.elapsed,
        timings=clock.parts,
        rounds=state.rounds,
    )

"""`evaluation.json`, `promotion.json` and `summary.json` of a run: the shared records of a run as files."""

from __future__ import annotations

import operator
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter

from townlet_runtime.runs.directory import file_sha256
from townlet_runtime.runs.strict_json import (
    EXACT,
    OPEN,
    Interval,
    ReportError,
    read_record,
    require_digest,
    require_finite,
    require_interval,
    write_record,
)
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.promotion import Decision, PromotionPass
from townlet_trajectory.evaluation.results import (
    LEARNED,
    SCRIPTED,
    Acting,
    CloneRecord,
    CloneResult,
    DaggerRound,
    EvaluationRecord,
    FinalEvaluation,
    Mode,
    RunSummary,
)

PACKAGES = (
    "townlet-runtime",
    "townlet-behavior",
    "townlet-trajectory",
    "townlet-training",
    "numpy",
    "onnxruntime",
    "scipy",
    "torch",
)
"""Distributions whose versions a result may depend on."""
NO_EVIDENCE = "no evidence: the policy fits no world"
"""Why a run without a world takes no promotion decision."""
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def require_digests(record: str, key: str, digests: Mapping[str, str | None]) -> None:
    """Refuse digests by agent group that are none, or whose group is no part of a file name.

    Args:
        record: named in the error.
        key: of the digests.
        digests: by group; None is let through.

    Raises:
        ReportError: names the group.
    """
    for group, digest in digests.items():
        if _GROUP.fullmatch(group) is None:
            expected = "names that can be part of a file name"
            raise ReportError(record, key=key, expected=expected, came=repr(group)[:80])
        require_digest(record, f"{key}.{group}", digest)


class FileRecord:
    """A record that is a JSON file of a run."""

    def values(self) -> dict[str, Any]:
        """Return what the file holds, as plain values."""
        values: dict[str, Any] = TypeAdapter(type(self)).dump_python(self, mode="json")
        return values

    def write(self, path: Path) -> None:
        """Replace `path` by this record, atomically."""
        write_record(TypeAdapter(type(self)), self, path)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the record in `path`; `ReportError` names the file, the key, what was expected and what came."""
        return read_record(TypeAdapter(cls), path)


@dataclass(frozen=True, kw_only=True)
class CloningFile(FileRecord):
    """`cloning.json`: the clones of a run, judged by the labels that were held out."""

    __pydantic_config__ = EXACT

    schema_version: Literal[1]
    results: Mapping[str, CloneResult]
    """By agent group."""
    gate: GateResult
    """Of their accuracies."""

    def __post_init__(self) -> None:
        if not self.results:
            raise ReportError("CloningFile", key="results", expected="at least one agent group", came="none")
        for group, clone in self.results.items():
            for accuracy in (clone.accuracy, *(epoch.held_out_accuracy for epoch in clone.epochs)):
                if not 0.0 <= accuracy <= 1.0:
                    key = f"results.{group}: accuracy"
                    raise ReportError("CloningFile", key=key, expected="a share in [0, 1]", came=repr(accuracy))

    @property
    def accuracy(self) -> float:
        """The lowest accuracy of a group."""
        return min(result.accuracy for result in self.results.values())


@dataclass(frozen=True, kw_only=True)
class EvaluationFile(FileRecord):
    """`evaluation.json`: every score of a run. Its parts are the records of `townlet_trajectory.evaluation.results`."""

    __pydantic_config__ = EXACT

    schema_version: Literal[3]
    acting: Acting
    horizon: int
    """Ticks of an episode."""
    history: tuple[EvaluationRecord, ...]
    final: FinalEvaluation

    def __post_init__(self) -> None:
        final = self.final
        intervals = {f"history.{index}.return_ci": each.return_ci for index, each in enumerate(self.history)}
        intervals |= {f"final.summaries.{name}.ci": each.ci for name, each in final.summaries.items()}
        intervals |= {f"final.paired.{name}.ci": each.ci for name, each in final.paired.items()}
        for key, interval in intervals.items():
            require_interval("EvaluationFile", key, interval)
        if any(scores.seeds != final.learned.seeds for scores in final.scores.values()):
            raise ReportError("EvaluationFile", key="final", expected="equal seeds of all policies", came="others")
        for key, found, expected in (
            ("summaries", final.summaries.keys(), final.scores.keys()),
            ("paired", final.paired.keys(), final.baselines.keys()),
            ("normalized", final.normalized.keys(), final.baselines.keys()),
        ):
            if found != expected:
                came = ", ".join(found) or "none"
                raise ReportError("EvaluationFile", key=f"final.{key}", expected=", ".join(expected), came=came)

    @classmethod
    def of(cls, summary: RunSummary, final: FinalEvaluation, *, horizon: int) -> EvaluationFile:
        """Take from `summary` what belongs to the scores.

        Args:
            summary: of a run that was not interrupted.
            final: of `summary`.
            horizon: ticks of an episode, at least 1.
        """
        return cls(
            schema_version=3,
            acting=summary.acting,
            horizon=horizon,
            history=summary.history,
            final=final,
        )


@dataclass(frozen=True, kw_only=True)
class PromotionFile(FileRecord):
    """`promotion.json` as the report needs it; `RunPromotion` writes more keys."""

    __pydantic_config__ = OPEN

    schema_version: Literal[2]
    decision: Decision
    reason: str
    gates: tuple[GateResult, ...]
    history: tuple[PromotionPass, ...]
    """At least one."""

    def __post_init__(self) -> None:
        if not self.history:
            raise ReportError("PromotionFile", key="history", expected="at least one pass", came="none")
        require_digest("PromotionFile", "candidate", self.latest.candidate)
        if self.latest.comparison is not None:
            require_interval("PromotionFile", "ci", self.latest.comparison.ci)

    @property
    def latest(self) -> PromotionPass:
        """The pass that decided."""
        return self.history[-1]


ROUND_HEAD = ("round", "script's share", "states", "labels", "agreed before", "accuracy", "mean return", "gained")
"""Of the rows of `round_rows`."""


def round_rows(rounds: Sequence[DaggerRound]) -> list[tuple[str, ...]]:
    """Return a row of text for each round of DAgger, below `ROUND_HEAD`."""
    return [
        (
            str(each.number),
            f"{each.script_share:.2f}",
            f"{each.num_states:,}",
            f"{each.num_labels:,}",
            "" if each.agreement_before is None else f"{each.agreement_before:.3f}",
            f"{each.accuracy:.4f}",
            f"{each.return_mean:.3f}",
            "" if each.gained is None else f"{each.gained:+.3f}",
        )
        for each in rounds
    ]


@dataclass(frozen=True, kw_only=True)
class SummaryFile(FileRecord):
    """`summary.json`: one run in a few numbers, for people and dashboards. None where the run has no such thing.

    A run without a world has no `env` and no scores: its policy was learned from data, and fits no world that was
    named. Returns are those of whole episodes, averaged over agents as the evaluation does it.
    """

    __pydantic_config__ = EXACT

    schema_version: Literal[3]
    mode: Mode
    env: str | None
    """Name of the world."""
    preset: str | None
    seed: int
    threads: int
    env_steps: int
    agent_steps: int
    wall_time_s: float
    env_steps_per_s: float | None
    acting: Acting
    """How the policy chose its actions in the evaluation."""
    eval_episodes: int
    """0 without a world."""
    eval_return_mean: float | None
    eval_return_iqm: float | None
    eval_return_ci: Interval | None
    baseline_return_means: Mapping[str, float]
    """By the name of the behavior: `random`, and those of the world."""
    clone_return_mean: float | None
    clone_accuracies: Mapping[str, float]
    """By agent group: means over the held-out episodes that chose nothing; none without cloning."""
    improvement_mean: float | None
    """Mean over episodes of learned minus scripted on the same seed."""
    improvement_ci: Interval | None
    improvement_normalized: float | None
    """`improvement_mean` in units of scripted minus idle, or minus random where the world has no idle behavior."""
    promotion: Decision | None
    policy_sha256: str | None
    """Of `policy.onnx`; None where every group has a policy of its own."""
    policies_sha256: Mapping[str, str] | None
    """Of `policy-GROUP.onnx`, by group that learned; None where there is one group, `agents`."""
    opponents_sha256: Mapping[str, str | None]
    """By agent group that did not learn, of `opponent-GROUP.onnx`, which played it in the end; None for the script."""
    weights_sha256: str
    controller: str | None
    """Name of the controller that played the script; None: the world's own script, or no script."""
    guardrails: tuple[str, ...]
    """Names of the guardrails beside the world's own."""
    config_sha256: str | None
    """Digest of the resolved config; None where the world was made in Python."""
    versions: Mapping[str, str]
    rounds: Annotated[tuple[DaggerRound, ...], Field(exclude_if=operator.not_)] = ()
    """Of a run of mode `dagger`, what each gained; the file of another run has no such key."""

    def __post_init__(self) -> None:
        name = "SummaryFile"
        require_finite(name, **vars(self))
        for key, count in (
            ("threads", self.threads),
            ("env_steps", self.env_steps),
            ("agent_steps", self.agent_steps),
            ("wall_time_s", self.wall_time_s),
            ("eval_episodes", self.eval_episodes),
        ):
            if count < 0:
                raise ReportError(name, key=key, expected="a number >= 0", came=repr(count))
        for key in ("eval_return_mean", "eval_return_iqm", "eval_return_ci"):
            if (vars(self)[key] is None) != (self.env is None):
                expected = "null without a world, and only then"
                raise ReportError(name, key=key, expected=expected, came=repr(vars(self)[key]))
        require_interval(name, "eval_return_ci", self.eval_return_ci)
        require_interval(name, "improvement_ci", self.improvement_ci)
        for key in ("policy_sha256", "weights_sha256", "config_sha256"):
            require_digest(name, key, vars(self)[key])
        require_digests(name, "policies_sha256", self.policies_sha256 or {})
        require_digests(name, "opponents_sha256", self.opponents_sha256)

    @classmethod
    def of(
        cls,
        summary: RunSummary,
        *,
        environment: str | None,
        threads: int,
        controller: str | None = None,
        guardrails: tuple[str, ...] = (),
        preset: str | None = None,
        config_sha256: str | None = None,
        opponents: Mapping[str, Path | None] = MappingProxyType({}),
    ) -> SummaryFile:
        """Make the figures of a run, to be written as `summary.json`, from its record.

        Args:
            summary: of a run that was not interrupted; its policy files are read.
            environment: name of the worlds; None: there was none.
            threads: of the numerical libraries, at least 1.
            controller: name of the controller that played the script, if it was named.
            guardrails: names of the guardrails beside the world's own.
            preset: name of the start values of training, if any.
            config_sha256: digest of the resolved config, if there is one.
            opponents: files of the policies that played groups that do not learn, by group; None for the script.
        """
        final, counters = summary.final, summary.counters
        learned, scripted = (None, None) if final is None else (final.summaries[LEARNED], final.paired.get(SCRIPTED))
        digests = {group: file_sha256(policy.path) for group, policy in summary.policies.items()}
        return cls(
            schema_version=3,
            mode=summary.mode,
            env=environment,
            preset=preset,
            seed=summary.seed,
            threads=threads,
            env_steps=counters.env_steps,
            agent_steps=counters.agent_steps,
            wall_time_s=summary.elapsed,
            env_steps_per_s=counters.env_steps / summary.elapsed if summary.elapsed > 0.0 else None,
            acting=summary.acting,
            eval_episodes=0 if final is None else len(final.learned.seeds),
            eval_return_mean=None if learned is None else learned.mean,
            eval_return_iqm=None if learned is None else learned.iqm,
            eval_return_ci=None if learned is None else learned.ci,
            baseline_return_means={} if final is None else {name: each.mean for name, each in final.baselines.items()},
            clone_return_mean=None if final is None or final.clone is None else final.clone.mean,
            clone_accuracies={} if summary.clone is None else _accuracies(summary.clone),
            improvement_mean=None if scripted is None else scripted.mean,
            improvement_ci=None if scripted is None else scripted.ci,
            improvement_normalized=None if final is None else final.normalized.get(SCRIPTED),
            promotion=None if summary.promotion is None else summary.promotion.decision,
            policy_sha256=digests[AGENTS] if digests.keys() == {AGENTS} else None,
            policies_sha256=digests if digests and digests.keys() != {AGENTS} else None,
            opponents_sha256={group: None if path is None else file_sha256(path) for group, path in opponents.items()},
            weights_sha256=summary.weights_sha256,
            controller=controller,
            guardrails=guardrails,
            config_sha256=config_sha256,
            versions={"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
            rounds=summary.rounds,
        )


def _accuracies(clone: CloneRecord) -> dict[str, float]:
    return {group: result.accuracy for group, result in clone.results.items()}

"""`townlet distill`: a slow or costly mind is taught to a small network, in rounds of questions."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from townlet_runtime.adapters.equipped import WithScript
from townlet_runtime.adapters.named_code import is_reference, made_by, named_factory, takes_parameter
from townlet_runtime.cli.console import GATE_FAILED, SUCCESS, CommandError, Console, Json, stop_on_signals, table
from townlet_runtime.cli.named_policy import load_policy
from townlet_runtime.cli.training.plan import TrainOptions, TrainPlan, plan_of, settings_of
from townlet_runtime.cli.training.run_options import DeviceName, RunOptions
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.core.teachers import (
    ArrayTeacher,
    AskedTeacher,
    BatchTeacher,
    MindTeacher,
    PolicyTeacher,
    ScriptTeacher,
)
from townlet_runtime.core.teaching import TaughtPlay
from townlet_runtime.errors import SimulationError, require_report_extra
from townlet_runtime.runs.directory import MANIFEST
from townlet_runtime.runs.distilled import DISTILLED, DistilFile
from townlet_runtime.runs.records import SummaryFile
from townlet_runtime.simulation.interface import AGENTS, GroupedSimulation, SimulationSpec
from townlet_trajectory.evaluation.interfaces import derive_seed
from townlet_trajectory.evaluation.results import SCRIPTED, Agreement, DistilRecord, DistilRound, RunSummary

if TYPE_CHECKING:
    from townlet_runtime.training import DistilConfig, DistilProgress, DistilRun, TrainingConfig

SCRIPT = "script"
"""Beginning of the name of a teacher that is a behavior of the world: `script:NAME`, or `script` alone."""


@dataclass(frozen=True, kw_only=True)
class DistillOptions:
    """The options of `townlet distill`; None where one was not given."""

    config: Path | None
    world: WorldOptions
    teacher: str | None
    sample_teacher: bool
    run_dir: Path | None
    resume: Path | None
    seed: int | None
    num_envs: int | None
    threads: int | None
    device: DeviceName | None
    preset: str | None
    settings: Sequence[str]
    questions: Mapping[str, int | float | str]
    """Settings of `DistilConfig` that were given, by name."""

    @property
    def train(self) -> TrainOptions:
        """The options of a run that clones."""
        return TrainOptions(
            config=self.config,
            world=self.world,
            mode=None if self.resume is not None else "bc",
            total_steps=None,
            num_envs=self.num_envs,
            seed=self.seed,
            run_dir=self.run_dir,
            resume=self.resume,
            threads=self.threads,
            run=RunOptions(device=self.device),
            preset=self.preset,
            settings=self.settings,
        )


@dataclass(frozen=True, kw_only=True)
class _Teaching:
    """A teacher, and the behavior that stands for the script in the worlds."""

    teacher: AskedTeacher
    name: str
    sha256: str | None
    script: str | None
    """None: the world's own script."""

    def shown(self, simulation: GroupedSimulation) -> GroupedSimulation:
        return simulation if self.script is None else WithScript(simulation, self.script)


def distill_policy(options: DistillOptions, console: Console) -> int:
    """Distill, write the run directory, print the agreement, and return the exit code."""
    console.mute_ticks()
    before = None if options.resume is None else _begun(options, options.resume)
    if options.teacher is None and before is None:
        raise CommandError("name the mind to learn from with --teacher FILE, --teacher script or --teacher module:name")
    plan = plan_of(options.train, console)
    if tuple(plan.specs) != (AGENTS,):
        raise CommandError(f"a teacher answers for one group of agents; this world has {', '.join(plan.specs)}")
    from townlet_runtime.training import DistilConfig, TrainingError

    plan, training = settings_of(plan)
    try:
        distil = DistilConfig(**_questions(options, before))
    except TrainingError as error:
        raise CommandError(str(error)) from error
    teaching = _teaching(options, before, plan, distil)
    require_report_extra()
    return _distill(plan, training, distil, teaching, before, options, console)


def _begun(options: DistillOptions, path: Path) -> DistilFile:
    """Read how a distillation was begun that is to be resumed."""
    if (path / MANIFEST).exists():
        raise CommandError(f"{path}: this distillation has finished; there is nothing to go on with")
    before = DistilFile.read(path / DISTILLED)
    if options.questions or options.config is not None:
        raise CommandError(f"--resume {path}: goes on with the config and the questions it was begun with")
    if is_reference(before.teacher) and before.teacher != options.teacher:
        raise CommandError(f"{path}: begun with code that no file may name; add --teacher {before.teacher}")
    if options.teacher not in (None, before.teacher):
        raise CommandError(f"--teacher {options.teacher}: {path} was begun with {before.teacher}")
    return before


def _questions(options: DistillOptions, before: DistilFile | None) -> dict[str, Any]:
    return dict(options.questions if before is None else before.settings)


def _teaching(options: DistillOptions, before: DistilFile | None, plan: TrainPlan, distil: DistilConfig) -> _Teaching:
    """Open the teacher that was named.

    Raises:
        CommandError: if there is no such behavior or file, or it cannot be asked.
        ConfigError: if code cannot be imported.
    """
    name = options.teacher if options.teacher is not None or before is None else before.teacher
    sampled = options.sample_teacher if before is None else before.sampled
    assert name is not None
    spec, label = plan.specs[AGENTS], f"the teacher {name!r}"
    kind, _, behavior = name.partition(":")
    if distil.strategy == "disagree" and SCRIPTED not in plan.behaviors:
        raise CommandError(f"--strategy disagree: `{plan.worlds.environment}` has no script to differ from")
    if kind == SCRIPT:
        behavior = behavior or SCRIPTED
        if behavior not in plan.behaviors:
            raise CommandError(f"--teacher {name}: expected a behavior of the world: {', '.join(plan.behaviors)}")
        if distil.strategy == "disagree":
            raise CommandError(
                "--strategy disagree: the teacher is the script itself, which the student would be given"
            )
        return _Teaching(teacher=ScriptTeacher(spec, label=label), name=name, sha256=None, script=behavior)
    if is_reference(name):
        return _Teaching(teacher=code_teacher(name, spec), name=name, sha256=None, script=None)
    named = load_policy(Path(name))
    named.require_fit(plan.specs)
    policy = named.policies[AGENTS]
    if before is not None and policy.digest != before.teacher_sha256:
        raise CommandError(f"{name}: another policy than {before.teacher_sha256}, which the run was begun with")
    seed = derive_seed(plan.seed, "distil/teacher") if sampled else None
    try:
        teacher = PolicyTeacher(spec, policy, seed=seed, label=label)
    except SimulationError as error:
        raise CommandError(str(error)) from error
    return _Teaching(teacher=teacher, name=name, sha256=policy.digest, script=None)


def code_teacher(name: str, spec: SimulationSpec) -> AskedTeacher:
    """Import a teacher that a person named on the command line; never call this with words of a file.

    It is a `BatchTeacher` or a `Mind`, or a function with a parameter `spec` that makes one of them.

    Args:
        name: `module:name`.
        spec: of the agents that it is asked about.

    Raises:
        ConfigError: if it cannot be imported, or is none of these.
    """
    label = f"the teacher {name!r}"
    found: object = named_factory(name, label=label)
    if not isinstance(found, BatchTeacher) and callable(found) and takes_parameter(found, "spec"):
        found = made_by(found, settings={"spec": spec}, label=label, takes="the parameter `spec`")
    if isinstance(found, BatchTeacher):
        return ArrayTeacher(spec, found, label=label)
    if callable(found):
        return MindTeacher(spec, found, label=label)
    raise CommandError(f"{label} must be a mind or have a method `teach`, or be a function of `spec` that makes one")


def _distill(
    plan: TrainPlan,
    training: TrainingConfig,
    distil: DistilConfig,
    teaching: _Teaching,
    before: DistilFile | None,
    options: DistillOptions,
    console: Console,
) -> int:
    from townlet_runtime.cli.training.beginning import claimed, notes_of
    from townlet_runtime.training import TrainingError

    with (
        stop_on_signals() as stop,
        console.progress(total=distil.num_labels, unit="labels", told=True) as shown,
    ):

        def on_progress(progress: DistilProgress) -> None:
            shown.update(progress.stage, progress.num_labels, progress.note)

        try:
            with claimed(plan) as (run_dir, begun):
                write = _Writer(
                    path=run_dir / DISTILLED,
                    teaching=teaching,
                    settings=asdict(distil),
                    sampled=options.sample_teacher if before is None else before.sampled,
                )
                run = _prepared(
                    replace(plan, run_dir=run_dir),
                    training,
                    distil,
                    teaching,
                    rounds=() if before is None else before.rounds,
                    on_round=write,
                    on_progress=on_progress,
                    stop=stop,
                    notes=notes_of(begun),
                )
                if before is None:
                    write(())
            summary, record = run.run()
        except TrainingError as error:
            raise CommandError(str(error)) from error
    if record is None:
        command = shlex.join(["townlet", "distill", "--resume", str(run_dir)])
        code = f" --teacher {shlex.quote(teaching.name)}" if is_reference(teaching.name) else ""
        console.note(f"stopped; go on with: {command}{code} {plan.worlds.options.code().typed()}".rstrip())
        return stop.code
    write(record.rounds, record)
    return _finish(replace(plan, run_dir=run_dir, begun=begun), summary, record, teaching, console)


def _prepared(
    plan: TrainPlan, training: TrainingConfig, distil: DistilConfig, teaching: _Teaching, **hooks: Any
) -> DistilRun:
    """Prepare the distillation in the worlds of the plan; `hooks` are those of `DistilRun`."""
    from townlet_runtime.training import DistilRun, policy_specs, use_threads

    use_threads(plan.threads)
    bridge, num_worlds = plan.worlds.bridge(plan.specs), training.num_envs

    @contextmanager
    def collector(seed: int) -> Iterator[Collector]:
        with closing(teaching.shown(plan.worlds.make(num_worlds))) as simulation:
            most = distil.round_ticks * simulation.specs[AGENTS].capacity
            yield Collector(simulation, config=bridge, seed=seed, max_rows=most)

    def play_in(num_worlds: int) -> GroupedSimulation:
        return teaching.shown(plan.worlds.make_scored(num_worlds))

    return DistilRun(
        training,
        distil,
        teaching.teacher,
        specs=policy_specs(plan.specs, training.network),
        collector=collector,
        held_out=TaughtPlay(play_in, teaching.teacher, config=bridge, seed=plan.seed, num_worlds=num_worlds),
        evaluator=Evaluator(plan.worlds.make_scored, config=bridge, seed=plan.seed, num_worlds=num_worlds),
        run_dir=plan.run_dir,
        has_script=SCRIPTED in plan.behaviors,
        **hooks,
    )


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Writes `distill.json` anew after every round."""

    path: Path
    teaching: _Teaching
    settings: Mapping[str, int | float | str]
    sampled: bool

    def __call__(self, rounds: Sequence[DistilRound], record: DistilRecord | None = None) -> None:
        DistilFile(
            schema_version=1,
            teacher=self.teaching.name,
            teacher_sha256=self.teaching.sha256,
            sampled=self.sampled,
            settings=self.settings,
            rounds=tuple(rounds),
            record=record,
        ).write(self.path)


def _finish(plan: TrainPlan, summary: RunSummary, record: DistilRecord, teaching: _Teaching, console: Console) -> int:
    """Write the records of the run, then its report, and print the agreement."""
    from townlet_runtime.cli.commands.train import write_finished

    figures, _ = write_finished(plan, summary, console, horizon=plan.specs[AGENTS].episode_ticks, opponents={})
    console.result(distill_record(record, plan.run_dir, teaching.name), distill_lines(record, plan.run_dir, figures))
    return GATE_FAILED if record.gate.failed or figures.promotion == "FAIL" else SUCCESS


def distill_record(record: DistilRecord, run_dir: Path, teacher: str) -> dict[str, Json]:
    """Return the record that `--json` prints.

    Args:
        record: of the distillation.
        run_dir: of the run.
        teacher: as it was named.
    """
    return {
        "run_dir": str(run_dir),
        "teacher": teacher,
        "labels": record.num_labels,
        "judged": record.num_judged,
        "cost_per_1000": record.cost_per_1000,
        "agreement": _agreement_record(record.agreement),
        "in_play_of": {name: _agreement_record(each) for name, each in record.in_play_of.items()},
        "gate": {"verdict": str(record.gate.verdict), "detail": record.gate.detail},
        "rounds": [asdict(each) for each in record.rounds],
    }


def _agreement_record(found: Agreement) -> dict[str, Json]:
    return {
        "states": found.num_states,
        "episodes": len(found.student),
        "student": found.student_mean,
        "student_ci": list(found.student_ci),
        "repeat": found.repeat_mean,
        "repeat_ci": list(found.repeat_ci),
        "share": found.share,
        "student_balanced": found.student_balanced,
        "repeat_balanced": found.repeat_balanced,
    }


def distill_lines(record: DistilRecord, run_dir: Path, figures: SummaryFile) -> list[str]:
    """Return the lines for people; see `distill_record`.

    Args:
        record: of the distillation.
        run_dir: of the run.
        figures: of the run's summary.
    """
    rounds = [
        (
            str(each.number),
            f"{each.num_states:,}",
            f"{each.num_asked:,}",
            f"{each.num_declined:,}",
            "-" if each.agreement_before is None else f"{each.agreement_before:.3f}",
            f"{each.cost:.4g}",
        )
        for each in record.rounds
    ]
    shown = {"states of both": record.agreement} | {f"{name}'s play": one for name, one in record.in_play_of.items()}
    found = [
        (
            name,
            f"{one.num_states:,}",
            f"{one.student_mean:.3f}",
            f"{one.student_ci[0]:.3f} to {one.student_ci[1]:.3f}",
            f"{one.repeat_mean:.3f}",
            f"{one.share:.3f}",
            f"{one.student_balanced:.3f}",
            f"{one.repeat_balanced:.3f}",
        )
        for name, one in shown.items()
    ]
    agreement = record.agreement
    return [
        *table(("round", "decisions", "asked", "declined", "agreed before", "cost"), rounds),
        "",
        *table(
            ("held-out episodes", "states", "student", "95 % interval", "teacher again", "share", "balanced", "again"),
            found,
        ),
        f"{record.num_labels:,} labels, {record.num_judged:,} questions to judge by in {len(agreement.student)} "
        f"episodes; cost of 1,000 decisions {record.cost_per_1000:.4g}",
        f"gate {record.gate.name}: {record.gate.verdict}: {record.gate.detail}",
        f"promotion: {figures.promotion or 'none'}",
        f"{run_dir}: act with it: townlet run --policy {shlex.quote(str(run_dir))}",
    ]

"""What a schedule learns from apart from rollouts: the record, the data to clone, and whether they fit the world."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from townlet_runtime.cli.console import CommandError, Console
from townlet_runtime.cli.training.schedule_options import ScheduleOptions
from townlet_runtime.cli.training.training_data import misfits_of, place_of, require_alike
from townlet_runtime.runs.recorded import RecordedData, open_recorded

if TYPE_CHECKING:
    from townlet_runtime.cli.training.plan import TrainPlan

_LESSONS = "training.bc.manifest"
_OPTIONS = {"record": "--replay-manifest", "lessons": "--bc-manifest"}


@dataclass(frozen=True, kw_only=True)
class ScheduleData:
    """What a run learns from, apart from rollouts."""

    record: RecordedData | None
    lessons: RecordedData | None

    @property
    def notes(self) -> dict[str, str]:
        """Digests of the data, which must be the same when the run is resumed."""
        named = {"record": self.record, "lessons": self.lessons}
        return {name: data.source.fingerprint for name, data in named.items() if data is not None}


def open_data_of_schedule(
    plan: TrainPlan, options: ScheduleOptions, console: Console, opened: ExitStack
) -> ScheduleData:
    """Open the record and the data to clone; where the latter is not named, it is the former.

    Args:
        plan: of the run.
        options: that name the record.
        console: prints what is odd about it.
        opened: keeps the files open.

    Raises:
        CommandError: if a stage clones data, and none are named, or a file names a URL.
        ArtifactError: if a file is missing or damaged.
    """
    stages = plan.config.schedule.get("stages", ()) if plan.mode == "anneal" else ()
    clones = any(stage.get("mode") == "bc" for stage in stages)
    said = plan.config.training.get("replay_manifest") if plan.mode != "rollout" else None
    named = {"record": said, "lessons": plan.config.training.get("bc_manifest") if clones else None}

    root = Path(plan.config.training.get("data_root") or ".")

    def of(name: str) -> RecordedData | None:
        if (text := named[name]) is None:
            return None
        path = place_of(text, plan.urls, name=_OPTIONS[name])
        if options.replay_meta is not None and name == "record":
            path = _described(Path(text), options.replay_meta)
        return opened.enter_context(open_recorded(path, data_root=root, warn=console.warning))

    record = of("record")
    lessons = record if named["lessons"] == named["record"] else of("lessons")
    if clones and lessons is None and record is None:
        raise CommandError(f"a stage `bc` clones data: name it with --bc-manifest, or `{_LESSONS}`")
    return ScheduleData(record=record, lessons=(lessons or record) if clones else None)


def _described(sample: Path, meta: Path) -> Path:
    if meta.absolute() != sample.with_suffix(".json").absolute():
        raise CommandError(f"--replay-meta {meta}: the description of {sample} must lie beside it, with the same name")
    return sample


def fits_world(plan: TrainPlan, data: ScheduleData, console: Console) -> bool:
    """Whether a policy for the data is one for the world.

    Args:
        plan: of the run.
        data: that it learns from.
        console: warns where it is not.

    Raises:
        CommandError: if it is not, and the mode learns in the world too, or if two data sets do not fit each other.
    """
    named = [each for each in (data.record, data.lessons) if each is not None]
    if named:
        require_alike(named)
    misfits = misfits_of(named, plan.specs)
    if not misfits:
        return True
    if plan.mode in ("mixed", "rollout"):
        raise CommandError(f"mode {plan.mode} learns in the world too: {misfits[0]}")
    console.warning(f"{misfits[0]}: the policy is not evaluated, and not promoted")
    return False

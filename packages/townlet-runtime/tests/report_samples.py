"""Run directories for the tests of the report."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from townlet_runtime.report.data import ReportData, read_data
from townlet_runtime.runs.finished import FinishedRun, read_run, write_manifest
from townlet_runtime.runs.records import CloningFile, EvaluationFile, PromotionFile, SummaryFile
from townlet_runtime.town.picture import PictureAgent, PictureObject, TownPicture

SAMPLE = Path(__file__).parent / "data" / "run_sample"


def copy_run(target: Path) -> Path:
    """Copy the sample run directory to `target`."""
    shutil.copytree(SAMPLE, target)
    return target


def move_elsewhere(run: Path) -> Path:
    """Make the run in `run` one of a world without script, idling, events of a town, or a decision; return it."""
    (run / "promotion.json").unlink()
    gone = ("promotion", "improvement_mean", "improvement_ci", "improvement_normalized")
    edit(run / "summary.json", lambda content: content.update(env="gymnasium:Walk-v1", **dict.fromkeys(gone)))

    def forget(content: Any) -> None:
        final = content["final"]
        for name in ("scripted", "nearest", "idle"):
            for part in ("baselines", "summaries", "paired", "normalized"):
                del final[part][name]
        final["normalized"] = {"random": None}
        for scores in (final["learned"], final["clone"], final["baselines"]["random"]):
            scores["events"] = {}
        for point in content["history"]:
            point.update(baselines={"random": 3.0}, normalized=None)

    edit(run / "evaluation.json", forget)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    counted = ("faint_events", "late_ticks", "meal_events", "queue_conflict_events")
    rows = [{key: value for key, value in row.items() if key not in counted} for row in rows]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run


def leave_the_world(run: Path) -> Path:
    """Make the run in `run` one that was learned from data alone, without a world; return it."""
    for name in ("promotion.json", "evaluation.json", "metrics.jsonl"):
        (run / name).unlink(missing_ok=True)
    gone = ("env", "eval_return_mean", "eval_return_iqm", "eval_return_ci", "clone_return_mean", "promotion")
    improvement = ("improvement_mean", "improvement_ci", "improvement_normalized")
    more = {"mode": "bc", "eval_episodes": 0, "env_steps": 0, "agent_steps": 0, "baseline_return_means": {}}
    edit(run / "summary.json", lambda content: content.update(more, **dict.fromkeys((*gone, *improvement))))
    return run


def data_of(run: Path = SAMPLE) -> ReportData:
    """The data of a run directory without a manifest or a policy."""
    promotion, metrics, evaluation = run / "promotion.json", run / "metrics.jsonl", run / "evaluation.json"
    return read_data(
        FinishedRun(
            path=run,
            summary=SummaryFile.read(run / "summary.json"),
            cloning=CloningFile.read(run / "cloning.json") if (run / "cloning.json").exists() else None,
            evaluation=EvaluationFile.read(evaluation) if evaluation.exists() else None,
            promotion=PromotionFile.read(promotion) if promotion.exists() else None,
            policies={},
            opponents={},
            metrics=metrics if metrics.exists() else None,
            config=run / "config.yaml",
            has_report=False,
        )
    )


def finish(run: Path, policies: dict[str, bytes] | None = None) -> FinishedRun:
    """Give the run in `run` its policies (by group) and its manifest, and read it."""
    groups = {"agents": b"a policy"} if policies is None else policies
    digests = {group: hashlib.sha256(data).hexdigest() for group, data in groups.items()}
    one = digests.get("agents")
    edit(
        run / "summary.json",
        lambda content: content.update(policy_sha256=one, policies_sha256=None if one or not digests else digests),
    )
    for group, data in groups.items():
        (run / ("policy.onnx" if group == "agents" else f"policy-{group}.onnx")).write_bytes(data)
    write_manifest(run)
    return read_run(run)


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Apply `change` to the object in `path`."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def edit_line(path: Path, number: int, change: Callable[[Any], object]) -> None:
    """Apply `change` to the object in line `number` (from 1) of `path`."""
    lines = path.read_text().splitlines()
    content = json.loads(lines[number - 1])
    change(content)
    lines[number - 1] = json.dumps(content)
    path.write_text("".join(line + "\n" for line in lines))


def town() -> TownPicture:
    """A town of 8 x 6 cells with a used fridge, a free bed, a crowd and a lone agent."""
    return TownPicture(
        title="A small town",
        width=8,
        height=6,
        objects=(
            PictureObject(type="fridge", x=1, y=1, users=1, line_length=2),
            PictureObject(type="bed", x=6, y=4, users=0, line_length=0),
        ),
        agents=(
            PictureAgent(id="ann", x=1, y=1, needs=(0.5, 0.9, 0.2), using=True),
            PictureAgent(id="bob", x=1, y=1, needs=(0.1, 0.4, 1.0), using=False),
            PictureAgent(id="cyd", x=1, y=1, needs=(0.3, 0.0, 0.6), using=False),
            PictureAgent(id="dan<i>", x=4, y=2, needs=(0.7, 0.7, 0.7), using=False),
        ),
    )

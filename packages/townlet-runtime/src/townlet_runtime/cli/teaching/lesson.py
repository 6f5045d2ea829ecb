"""A lesson: train on what was shown, measure agreement on what was held out, compare, and ask the registry."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from townlet_runtime.cli.console import SUCCESS, CommandError, Console, Json, Progress, ResultKeeper, guarded
from townlet_runtime.cli.named_policy import NamedPolicy, load_policy
from townlet_runtime.cli.promotion import CandidateResult, compare_candidate, create_registry
from townlet_runtime.cli.teaching.agreement import agreement
from townlet_runtime.cli.training.plan import DataOptions, TrainOptions
from townlet_runtime.cli.training.run_options import RunOptions
from townlet_runtime.cli.training.run_starts import require_initial
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds, require_unchanged
from townlet_runtime.config import Config, config_from, dump_config, training_settings
from townlet_runtime.errors import TownletError
from townlet_runtime.live.teaching.teacher import HELD_OUT, NOVICE, RUN, SHOWN
from townlet_runtime.runs.directory import CONFIG, MANIFEST, registry_of
from townlet_runtime.runs.finished import FinishedRun, read_run
from townlet_runtime.runs.release import release_of
from townlet_runtime.simulation.interface import AGENTS
from townlet_trajectory import TrajectoryBatch
from townlet_trajectory.evaluation.interfaces import EpisodeScores
from townlet_trajectory.evaluation.promotion import Decision
from townlet_trajectory.evaluation.registry import JOURNAL_NAME
from townlet_trajectory.evaluation.results import SCRIPTED
from townlet_trajectory.formats.batch_file import load_batch
from townlet_trajectory.storage.files import remove_directory, write_bytes_atomic
from townlet_trajectory.storage.json import JsonValue

Say = Callable[[Mapping[str, Json]], None]

_LABELS_SEEN, _LEAST_EPOCHS, _MOST_EPOCHS, _BATCH = 100_000, 4, 1000, 64
"""A lesson has so many passes that it sees about so many labels: a person shows hundreds of steps, not a million. Kept
is the pass that does best on steps that are not learned from."""
_TOLD_S = 0.25
"""Least time between two messages about one stage."""
_EPISODES = 10
"""Of the run's own scores, which decide nothing here: the registry compares."""
_BY = "townlet live"
_SHORT = 12
"""Characters of a digest in a sentence."""


class LessonConsole(ResultKeeper):
    """A console whose progress is said to the process of the world; everything else is in the lesson's log.

    Args:
        say: tells the other process.
    """

    def __init__(self, say: Say) -> None:
        super().__init__(json=False, verbose=False, quiet=False)
        self._say = say

    def error(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)

    @contextmanager
    def progress(self, *, total: int, unit: str, begun_at: int = 0, told: bool = False) -> Iterator[Progress]:
        """See `Console.progress`; only a run that tells what is left has a share that is done."""
        yield _Told(self._say) if told else _Untold()


class _Told:
    """Says which share of the time is over."""

    def __init__(self, say: Say) -> None:
        self._say, self._begun, self._share = say, time.monotonic(), 0.0
        self._stage, self._told_at = "", -math.inf

    def update(self, stage: str, done: int, note: str = "", *, left: float | None = None) -> None:
        """See `Progress`."""
        now = time.monotonic()
        if stage == self._stage and now - self._told_at < _TOLD_S:
            return
        self._stage, self._told_at = stage, now
        if left is not None and math.isfinite(left):
            elapsed = now - self._begun
            self._share = max(self._share, elapsed / max(elapsed + left, 1e-9))
        words = {"clone": "learning from what was shown", "judge": "playing the first episodes"}
        self._say({"progress": self._share, "line": ", ".join(filter(None, [words.get(stage, stage), note]))})


class _Untold:
    def update(self, stage: str, done: int, note: str = "", *, left: float | None = None) -> None:
        """Say nothing: what goes on is said by the lesson itself."""


def learn(order: Mapping[str, Any], say: Say) -> int:
    """Learn the lesson that `order` describes, and return the exit code; an error that is expected is one line.

    Args:
        order: as `Teacher` gives it.
        say: tells how far it is, and at last what came of it, as fields of the page's message.
    """
    console = LessonConsole(say)
    console.mute_ticks()
    return guarded(lambda: _Lesson.of(order, console, say).learn(), console)


@dataclass(frozen=True, kw_only=True)
class _Lesson:
    """One lesson, in a folder with its steps."""

    folder: Path
    method: str
    config: Config
    world: WorldOptions
    policy: Path | None
    """That acts now."""
    registry: Path
    console: Console
    say: Say

    @classmethod
    def of(cls, order: Mapping[str, Any], console: Console, say: Say) -> _Lesson:
        options = dict(order["options"])
        guardrails, groups = (tuple(options.pop(name)) for name in ("guardrails", "groups"))
        lesson = cls(
            folder=Path(order["folder"]),
            method=order["method"],
            config=config_from(order["config"], source="the config of the world").config,
            world=WorldOptions(**options, guardrails=guardrails, groups=groups),
            policy=None if order["policy"] is None else Path(order["policy"]),
            registry=Path(order["registry"]),
            console=console,
            say=say,
        )
        write_bytes_atomic(lesson.folder / CONFIG, dump_config(lesson.config).encode())
        return lesson

    def learn(self) -> int:
        """Carry it out."""
        present = None if self.policy is None else load_policy(self.policy)
        begins_with = self._initial()
        if self.method == "dagger" and begins_with is None:
            begins_with = self._novice()
        run = self._from_shown(begins_with)
        held_out = load_batch(self.folder / HELD_OUT)
        learned = load_policy(run.path).policies[AGENTS]
        self.say(
            {
                "phase": "judging",
                "progress": None,
                "agreement": {
                    "before": agreement_before(present, held_out),
                    "after": agreement(learned, held_out),
                    "held_out_steps": held_out.num_steps,
                },
                "line": "playing the same episodes with the new policy and the present one",
            }
        )
        found, scores = self._compare(run, present)
        self.say({**_outcome(found, scores), "digest": learned.digest})
        return SUCCESS

    def _initial(self) -> Path | None:
        """The directory to begin from; None: there is none, or only a file, which can act but not be trained on."""
        if self.policy is None or registry_of(self.policy) is not None:
            return None
        try:
            require_initial(self.policy)
        except TownletError as error:
            self.console.note(f"begins anew: {error}")
            return None
        return self.policy

    def _novice(self) -> Path:
        """The run of a clone of the script, which all lessons of a sitting begin with that have nothing better."""
        run = self.registry.with_name(NOVICE)
        if not (run / MANIFEST).exists():
            with closing(Worlds.of(self.config, self.world).make(1)) as one:
                if SCRIPTED not in one.behaviors:
                    raise CommandError(
                        "HG-DAgger begins with the present policy or with a clone of the script, and there is neither"
                        " here: choose behavioral cloning"
                    )
            if run.exists():  # of a lesson that was stopped
                remove_directory(run)
            self._train(run, [], words="learning what the script does", data=DataOptions(), begins_with=None)
        return run

    def _from_shown(self, begins_with: Path | None) -> FinishedRun:
        """Clone the demonstrated steps."""
        steps = load_batch(self.folder / SHOWN).num_steps
        settings: dict[str, JsonValue] = {
            "bc.demonstrated": True,
            "bc.batch_size": _BATCH,
            "bc.num_epochs": min(_MOST_EPOCHS, max(_LEAST_EPOCHS, _LABELS_SEEN // steps)),
        }
        if "gates.clone_accuracy" not in training_settings(self.config):
            # Two people, or one twice, do not act alike: what counts is the return, which the registry compares.
            settings["gates.clone_accuracy"] = 0.0
        self._train(
            self.folder / RUN,
            [f"{key}={json.dumps(value)}" for key, value in settings.items()],
            words="learning from what was shown",
            data=DataOptions(paths=(self.folder / SHOWN,)),
            begins_with=begins_with,
        )
        return read_run(self.folder / RUN)

    def _train(
        self,
        run: Path,
        settings: list[str],
        *,
        words: str,
        data: DataOptions,
        begins_with: Path | None,
    ) -> None:
        """Carry out a run of mode `bc`; without data it clones the script."""
        from townlet_runtime.cli.commands.train import train_policy

        self.say({"phase": "training", "progress": 0.0, "line": words})
        options = TrainOptions(
            threads=1,
            config=self.folder / CONFIG,
            world=self.world.code(),
            mode="bc",
            run_dir=run,
            init_from=begins_with,
            settings=[f"training.eval_episodes={_EPISODES}", f"training.final_episodes={_EPISODES}", *settings],
            data=data,
            run=RunOptions(processes=1),
            compares=False,
        )
        if train_policy(options, self.console) != SUCCESS:
            cloning = read_run(run).cloning
            raise CommandError(f"the clone did not pass its gate: {'' if cloning is None else cloning.gate.detail}")

    def _compare(
        self, run: FinishedRun, present: NamedPolicy | None
    ) -> tuple[CandidateResult, list[tuple[EpisodeScores, EpisodeScores]]]:
        """Let the registry decide, which has what acts now as its incumbent."""
        scores: list[tuple[EpisodeScores, EpisodeScores]] = []
        if not (self.registry / JOURNAL_NAME).is_file():
            begun = require_unchanged(run.path)
            registry = create_registry(self.registry, run, begun, self.world.code(), seed=run.summary.seed)
            if present is not None:
                release = registry.submit(release_of(present.policies, acting=run.summary.acting), metadata={})
                registry.record_manual_swap(release, reason="acted when the sitting began", by=_BY)

        def played(ours: EpisodeScores, theirs: EpisodeScores) -> None:
            scores.append((ours, theirs))
            self.say({"line": f"{len(scores)} of the comparisons done"})

        _, found = compare_candidate(
            run.path,
            self.registry,
            self.world.code(),
            seed=run.summary.seed,
            promote=False,
            console=self.console,
            on_scores=played,
        )
        return found, scores


def agreement_before(present: NamedPolicy | None, held_out: TrajectoryBatch) -> float | None:
    """Return how often who decides now would have done what was shown: the policy, else the script; None: neither.

    Args:
        present: the policy that acts; None: there is none.
        held_out: the steps.
    """
    if present is not None:
        return agreement(present.policies[AGENTS], held_out)
    columns = held_out.columns
    if not np.any(np.asarray(columns["proposer"], np.int64) >= 0):
        return None
    same = np.asarray(columns["expert_action"] == columns["action"])
    return float((same if same.ndim == 1 else same.all(axis=1)).mean())


def _outcome(found: CandidateResult, scores: list[tuple[EpisodeScores, EpisodeScores]]) -> dict[str, Json]:
    """What the page shows of a comparison: that of the last pass."""
    incumbent = found.incumbent[:_SHORT]
    outcome: dict[str, Json] = {
        "phase": "ready",
        "progress": None,
        "line": None,
        "verdict": f"{found.decision}: {found.reason.replace(found.incumbent, incumbent)}",
        "allowed": found.decision is Decision.PROMOTE,
        "release": found.candidate,
        "incumbent": found.incumbent,
    }
    last = found.decisions[-1].latest.comparison if found.decisions else None
    if last is not None and scores:
        ours, theirs = scores[-1]
        outcome["comparison"] = {
            "before": theirs.mean,
            "after": ours.mean,
            "difference": last.mean,
            "low": last.ci[0],
            "high": last.ci[1],
            "episodes": last.num_episodes,
        }
    return outcome

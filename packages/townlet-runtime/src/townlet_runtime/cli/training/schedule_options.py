"""The options of the original's `run_training.py`, which `townlet train` has beside its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from townlet_runtime.cli.options import MAX_COUNT, MAX_SEED, whole_number
from townlet_runtime.cli.signatures import Command, option, with_options

if TYPE_CHECKING:
    from townlet_runtime.config import Override
    from townlet_runtime.runs.ppo_log import PPOLog
    from townlet_trajectory.storage.urls import Place, Url
else:
    Place = str  # as it is typed: what tells a URL from a path brings numpy, which `--help` does without

PANEL = "Options for records and schedules"
"""Heading of these options in `--help`."""

_MOST_UPDATES, _MOST_ROWS = 10**6, 2**31 - 1


def _option(help: str, **settings: Any) -> Any:
    return typer.Option(help=help, show_default=False, rich_help_panel=PANEL, **settings)


def _flag(name: str, help: str) -> Any:
    return typer.Option(name, help=help, show_default=False, rich_help_panel=PANEL)


def _count(help: str, high: int = MAX_COUNT, low: int = 1) -> Any:
    return _option(help, parser=whole_number(low, high), metavar="N")


def _number(help: str) -> Any:
    return _option(help, metavar="X")


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Options of `townlet train` by their names; None or false where one was not given."""

    replay_manifest: Annotated[
        Place | None,
        _option(
            "Record for PPO: a manifest, any other data set, or the URL of shards.  [default: "
            "training.replay_manifest]",
            metavar="PATH",
        ),
    ] = None
    capture_dir: Annotated[Path | None, _option("The same: the directory of a capture.", metavar="DIR")] = None
    replay_sample: Annotated[Path | None, _option("The same: one replay sample (.npz).", metavar="FILE")] = None
    replay_meta: Annotated[
        Path | None, _option("Description of that sample.  [default: the .json beside it]", metavar="FILE")
    ] = None
    train_ppo: Annotated[
        bool, _flag("--train-ppo", "Train in mode replay, which otherwise describes the batches of the record.")
    ] = False
    replay_batch_size: Annotated[int | None, _count("Trajectories in a batch.", _MOST_ROWS)] = None
    replay_shuffle: Annotated[
        bool, _flag("--replay-shuffle", "Take the trajectories in a new order in every update.")
    ] = False
    replay_seed: Annotated[int | None, _count("Seed of the orders.  [default: from --seed]", MAX_SEED, 0)] = None
    replay_drop_last: Annotated[bool, _flag("--replay-drop-last", "Leave a smaller last batch out.")] = False
    replay_streaming: Annotated[bool, _flag("--replay-streaming", "Keep the record on disk.")] = False
    bc_manifest: Annotated[
        Place | None,
        _option(
            "Data to clone: a manifest, any other data set, or the URL of shards.  [default: training.bc.manifest]",
            metavar="PATH",
        ),
    ] = None
    epochs: Annotated[int | None, _count("Updates of the modes replay, rollout and mixed.", _MOST_UPDATES)] = None
    rollout_ticks: Annotated[int | None, _count("Ticks of a rollout in each world.", 10**9)] = None
    rollout_auto_seed_agents: Annotated[
        bool, _flag("--rollout-auto-seed-agents", "If no agent is placed: add alice, bob, a stove.")
    ] = False
    rollout_save_dir: Annotated[Path | None, _option("Write the last rollout as a capture.", metavar="DIR")] = None
    anneal_log_dir: Annotated[Path | None, _option("Write anneal_results.json there too.", metavar="DIR")] = None
    anneal_exit_on_failure: Annotated[
        bool, _flag("--anneal-exit-on-failure", "Exit code 1 unless the status is PASS.")
    ] = False
    ppo_log: Annotated[Path | None, _option("Append the log's lines to this file too.", metavar="FILE")] = None
    ppo_log_frequency: Annotated[int, _count("Write every Nth line only.")] = 1
    ppo_log_max_entries: Annotated[int | None, _count("Lines of a file; more go to FILE.1, then FILE.2.")] = None
    ppo_learning_rate: Annotated[float | None, _number("Learning rate of Adam.")] = None
    ppo_clip_param: Annotated[float | None, _number("Range of the clipped surrogate.")] = None
    ppo_value_loss_coef: Annotated[float | None, _number("Coefficient of the value loss.")] = None
    ppo_entropy_coef: Annotated[float | None, _number("Coefficient of the entropy bonus.")] = None
    ppo_num_epochs: Annotated[int | None, _count("Passes over the data of an update.")] = None
    ppo_mini_batch_size: Annotated[int | None, _count("Rows of a gradient step.")] = None
    ppo_num_mini_batches: Annotated[int | None, _count("Gradient steps of a pass.")] = None
    ppo_gae_lambda: Annotated[float | None, _number("Lambda of the advantages.")] = None
    ppo_gamma: Annotated[float | None, _number("Discount.")] = None
    ppo_max_grad_norm: Annotated[float | None, _number("Bound of the gradient's norm.")] = None
    ppo_value_clip: Annotated[float | None, _number("Distance that a value may move in an update.")] = None
    ppo_normalize_advantages: Annotated[
        bool | None,
        typer.Option(
            "--ppo-normalize-advantages/--ppo-no-normalize-advantages",
            help="Advantages with mean 0 and deviation 1, or as they are.",
            show_default=False,
            rich_help_panel=PANEL,
        ),
    ] = None

    def overrides(self) -> list[Override]:
        """Return the overrides of the config that these options mean; None takes a value away."""
        from townlet_runtime.config import Override  # not for `--help`

        record = next((each for each in (self.replay_manifest, self.capture_dir, self.replay_sample) if each), None)
        said: dict[str, tuple[str, Any]] = {
            "training.replay_manifest": ("--replay-manifest", None if record is None else str(record)),
            "training.bc.manifest": ("--bc-manifest", None if self.bc_manifest is None else str(self.bc_manifest)),
            "training.rollout_ticks": ("--rollout-ticks", self.rollout_ticks),
            "training.rollout_auto_seed_agents": (
                "--rollout-auto-seed-agents",
                self.rollout_auto_seed_agents or None,
            ),
            "schedule.epochs": ("--epochs", self.epochs),
            "schedule.batch_size": ("--replay-batch-size", self.replay_batch_size),
            "schedule.shuffle": ("--replay-shuffle", self.replay_shuffle or None),
            "schedule.shuffle_seed": ("--replay-seed", self.replay_seed),
            "schedule.drop_last": ("--replay-drop-last", self.replay_drop_last or None),
            "schedule.streaming": ("--replay-streaming", self.replay_streaming or None),
        }
        for name in (field.name for field in fields(self) if field.name.startswith("ppo_")):
            if not name.startswith("ppo_log"):
                said[_PPO_KEYS.get(name, f"ppo.{name[4:]}")] = (f"--{name.replace('_', '-')}", vars(self)[name])
        taken: list[Override] = []
        if self.ppo_mini_batch_size is not None and self.ppo_num_mini_batches is None:
            # A count in the file would win over the size.
            taken = [Override(path=("ppo", "num_mini_batches"), value=None, label="--ppo-mini-batch-size")]
        return taken + [
            Override(path=tuple(key.split(".")), value=value, label=label if value is True else f"{label} {value}")
            for key, (label, value) in said.items()
            if value is not None
        ]

    def mode_of(self, source: str | None, *, named: bool) -> Literal["replay", "rollout"] | None:
        """Return the mode that these options mean without `--mode`; None: they mean none.

        Args:
            source: `training.source` of the config; None: it is silent.
            named: whether there is a `--mode`.

        Returns:
            `rollout` where the source is `replay` and the ticks of a rollout are named, as in the original; `replay`
            where a record is named and the config is silent.
        """
        if named:
            return None
        if source == "replay" and self.rollout_ticks is not None:
            return "rollout"
        named_record = any((self.replay_manifest, self.capture_dir, self.replay_sample))
        return "replay" if source is None and named_record else None

    def log(self) -> PPOLog:
        """Return the log that these options name."""
        from townlet_runtime.runs.ppo_log import PPOLog

        return PPOLog(self.ppo_log, every=self.ppo_log_frequency, max_lines=self.ppo_log_max_entries)

    @property
    def urls(self) -> tuple[Url, ...]:
        """The URLs that were typed, as they were."""
        from townlet_trajectory.storage.urls import Url

        return tuple(each for each in (self.replay_manifest, self.bc_manifest) if isinstance(each, Url))

    @property
    def given(self) -> bool:
        """Whether any of these options was given."""
        return self != ScheduleOptions()


_PPO_KEYS = {"ppo_normalize_advantages": "ppo.advantage_normalization"}


def with_schedule_options(name: str) -> Callable[[Command], Callable[..., int]]:
    """Give a command the options of `ScheduleOptions`; it gets them as one argument called `name`."""
    hints = get_type_hints(ScheduleOptions, include_extras=True)
    added = [option(each.name, hints[each.name], each.default) for each in fields(ScheduleOptions)]
    return with_options(name, added, _schedule_options)


def _schedule_options(values: Mapping[str, Any]) -> ScheduleOptions:
    """The options of their values, in which a place is the text that was typed."""
    typed = {key: values[key] for key in ("replay_manifest", "bc_manifest") if values[key] is not None}
    if typed:
        from townlet_trajectory.storage.urls import named_place

        typed = {key: named_place(text) for key, text in typed.items()}
    return ScheduleOptions(**{**values, **typed})


class PanelledCommand(TyperCommand):
    """A command whose help lists the options of each panel under a heading of its own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, the options without a panel, then those of each panel."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            heading = "Arguments" if isinstance(parameter, TyperArgument) else "Options"
            if isinstance(parameter, TyperOption) and isinstance(parameter.rich_help_panel, str):
                heading = parameter.rich_help_panel
            panels.setdefault(heading, []).append(record)
        for heading, records in panels.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)

"""`townlet policy adapt`: a trained policy gets the observations and actions of a world that has more of them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.cli.console import Console, table
from townlet_runtime.cli.start import import_trainer
from townlet_runtime.cli.training.run_starts import initial_policy
from townlet_runtime.cli.world_options import WorldOptions
from townlet_runtime.cli.worlds import Worlds, load
from townlet_runtime.config import Config, config_digest, dump_config
from townlet_runtime.config.dump import noted
from townlet_runtime.core.rollouts import Collector
from townlet_runtime.errors import ConfigError
from townlet_runtime.runs.adapted import AdaptedFile, AdaptedGroupRecord, AddedActionRecord
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.directory import ADAPTED, BEGUN, CONFIG, INITIAL, file_sha256, policy_file
from townlet_runtime.runs.finished import write_manifest
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.simulation.spec_entries import spec_entries
from townlet_trajectory.evaluation.interfaces import Actor, derive_seed
from townlet_trajectory.formats.open import open_dataset
from townlet_trajectory.storage.files import filled_directory, make_directory, write_bytes_atomic
from townlet_trajectory.storage.json import JsonValue

if TYPE_CHECKING:
    from townlet_runtime.training import AdaptedGroup, AddedAction, InitialPolicy, ReferenceRows

DEFAULT_PRIOR = 0.01
DEFAULT_TICKS = 256
_NUM_WORLDS = 16
"""Of a rollout for reference rows."""


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """The options of `townlet policy adapt`."""

    source: Path
    """Directory of a finished run, or of an adapted policy."""
    output: Path
    config: Path | None
    world: WorldOptions
    settings: Sequence[str]
    reference: Path | None
    """Data set; None: a rollout."""
    reference_ticks: int
    """Of a rollout, in each of its worlds."""
    priors: Sequence[str]
    """`P` of all new actions, or `KEY=P`."""
    renamed: Mapping[str, str]
    seed: int


class _Rows(NamedTuple):
    """Reference rows, and where they are from."""

    rows: Mapping[str, ReferenceRows]
    """By agent group."""
    fingerprint: str | None


def adapt_policy(options: AdaptOptions, console: Console) -> int:
    """Adapt the policy, write its directory, print the probabilities of new actions, and return the exit code."""
    import_trainer()
    from townlet_runtime.training import TrainingError, adapted_groups, policy_specs, set_priors

    config = load(options.config, options.settings, options.world.overrides(), console).config
    worlds = Worlds.of(config, options.world)
    with closing(worlds.make(1)) as one:
        specs = one.specs
    try:
        source = initial_policy(options.source)
        groups = adapted_groups(source, policy_specs(specs, source.network), options.renamed)
        priors = _priors(options.priors, [key for each in groups.values() for key in each.added_actions])
        added: dict[str, dict[str, AddedAction]] = {group: {} for group in groups}
        num_rows: dict[str, int] = {}
        fingerprint = None
        if any(each.added_actions for each in groups.values()):
            taken = _taken(worlds, groups, options)
            fingerprint = taken.fingerprint
            for group, each in groups.items():
                num_rows[group] = len(taken.rows[group].legal)
                added[group] = set_priors(each, taken.rows[group], priors)
    except TrainingError as error:
        raise ConfigError(str(error), file=str(options.source)) from error
    record = _write(options, config, worlds, specs, source, groups, added, num_rows, fingerprint)
    _show(record, options, console)
    return 0


def _priors(given: Sequence[str], keys: Sequence[str]) -> dict[str, float]:
    """The prior of each new action."""
    of_all, own = DEFAULT_PRIOR, {}
    for text in given:
        key, separator, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0.0 < value < 1.0:
            raise ConfigError(f"expected P or KEY=P with P in (0, 1), got {text!r}", file="--prior")
        if not separator:
            of_all = value
        elif key not in keys:
            raise ConfigError(f"`{key}` is no new action; there are {', '.join(keys) or 'none'}", file="--prior")
        else:
            own[key] = value
    return {key: own.get(key, of_all) for key in keys}


def _taken(worlds: Worlds, groups: Mapping[str, AdaptedGroup], options: AdaptOptions) -> _Rows:
    """Take the rows of the data set that was named, as many as are looked at, else of a rollout."""
    if options.reference is None:
        return _rollout(worlds, groups, options)
    if len(groups) > 1:
        raise ConfigError("a data set is of one agent group, and the policy has several", file="--reference")
    from townlet_runtime.training import reference_rows

    ((group, adapted),) = groups.items()
    with open_dataset(options.reference) as opened:
        blocks = map(opened.source.load_block, range(len(opened.source.block_offsets) - 1))
        return _Rows({group: reference_rows(blocks, adapted, options.renamed)}, opened.source.fingerprint)


@dataclass(frozen=True, kw_only=True)
class _OldActions:
    """The policy before it knew of new actions: those are taken only where nothing else is legal. An `Actor`."""

    network: Actor
    added: NDArray[np.bool_]
    """[A]."""

    def act(
        self, observations: Mapping[str, NDArray[np.float32]], action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        rows = len(next(iter(observations.values())))
        legal = np.ones((rows, len(self.added)), np.bool_) if action_mask is None else action_mask
        old = legal & ~self.added
        return self.network.act(observations, np.where(old.any(axis=1, keepdims=True), old, legal))


def _rollout(worlds: Worlds, groups: Mapping[str, AdaptedGroup], options: AdaptOptions) -> _Rows:
    """Let the old policy act in the new world, its actions drawn."""
    from townlet_runtime.training import reference_rows

    with closing(worlds.make(_NUM_WORLDS)) as simulation:
        most = max(spec.capacity for spec in simulation.specs.values())
        collector = Collector(
            simulation,
            config=worlds.bridge(simulation.specs),
            seed=derive_seed(options.seed, "reference", 0),
            max_rows=options.reference_ticks * most,
        )
        actors = {
            group: _OldActions(
                network=each.network, added=np.isin(np.array(each.new.vocabulary), np.array(each.added_actions))
            )
            for group, each in groups.items()
        }
        collected = collector.collect(actors, num_ticks=options.reference_ticks, ratio=1.0)
    rows = {
        group: reference_rows([batch], groups[group], options.renamed) for group, batch in collected.batches.items()
    }
    return _Rows(rows, None)


def _write(
    options: AdaptOptions,
    config: Config,
    worlds: Worlds,
    specs: Mapping[str, SimulationSpec],
    source: InitialPolicy,
    groups: Mapping[str, AdaptedGroup],
    added: Mapping[str, Mapping[str, AddedAction]],
    num_rows: Mapping[str, int],
    fingerprint: str | None,
) -> AdaptedFile:
    """Fill a new directory, which becomes `options.output` all at once."""
    from townlet_runtime.training import adapted_policy, export_policy

    make_directory(options.output.absolute().parent)
    with filled_directory(options.output.absolute()) as folder:
        initial = adapted_policy(source, groups)
        initial.write(folder / INITIAL)
        records = {}
        for group, each in groups.items():
            path = folder / policy_file(group, groups)
            export_policy(each.network, path, spec=each.new, seed=derive_seed(options.seed, f"export/{group}", 0))
            records[group] = AdaptedGroupRecord(
                observations=each.added_observations,
                actions={
                    key: AddedActionRecord(prior=one.prior, probability=one.probability, bias=one.bias, rows=one.rows)
                    for key, one in added[group].items()
                },
                policy_sha256=file_sha256(path),
            )
        record = AdaptedFile(
            schema_version=1,
            source=str(options.source),
            source_weights_sha256=source.sha256,
            weights_sha256=initial.sha256,
            environment=worlds.environment,
            renamed=dict(options.renamed),
            groups=records,
            reference=None if options.reference is None else str(options.reference),
            reference_sha256=fingerprint,
            reference_rows=dict(num_rows),
            seed=options.seed,
        )
        record.write(folder / ADAPTED)
        BegunFile(
            schema_version=2,
            threads=1,
            environment=worlds.environment,
            controller=worlds.controller,
            guardrails=worlds.guardrails,
            specs={group: spec_entries(spec) for group, spec in specs.items()},
            config_sha256=config_digest(config),
            config=noted(config),
        ).write(folder / BEGUN)
        write_bytes_atomic(folder / CONFIG, dump_config(config).encode())
        write_manifest(folder)
    return record


def _show(record: AdaptedFile, options: AdaptOptions, console: Console) -> None:
    rows, lines = [], []
    for group, one in record.groups.items():
        where = "" if len(record.groups) == 1 else f" of {group}"
        lines.append(f"new observations{where}: {', '.join(one.observations) or 'none'}")
        rows += [
            (key, f"{each.prior:g}", f"{each.probability:.6g}", f"{each.bias:.4f}", f"{each.rows:,}")
            for key, each in one.actions.items()
        ]
    if rows:
        origin = "the policy in its new world" if record.reference is None else record.reference
        lines.append(f"reference: {sum(record.reference_rows.values()):,} rows of {origin}")
        lines += table(("new action", "prior", "mean probability", "bias", "rows where legal"), rows)
    groups: dict[str, JsonValue] = {
        group: {
            "observations": [*one.observations],
            "actions": {key: dict(vars(each)) for key, each in one.actions.items()},
        }
        for group, one in record.groups.items()
    }
    console.result(
        {
            "directory": str(options.output),
            "source": record.source,
            "weights_sha256": record.weights_sha256,
            "environment": record.environment,
            "reference": record.reference,
            "reference_rows": dict(record.reference_rows),
            "groups": groups,
        },
        [
            f"{options.output}: the policy of {options.source}, for {record.environment}",
            *lines,
            f"act with it: {_command('run', '--policy', options)}",
            f"train on: {_command('train', '--init-from', options)}",
        ],
    )


def _command(name: str, option: str, options: AdaptOptions) -> str:
    """A command that uses what was written; the config in it names no code."""
    command = shlex.join(["townlet", name, option, str(options.output)])
    config = [] if name == "run" else [str(options.output / CONFIG)]
    return " ".join(filter(None, (command, *config, options.world.code().typed())))

"""The policies that a command was given: as a file, a run directory, or a release of a promotion registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from townlet_runtime.adapters.named_code import SIMULATIONS
from townlet_runtime.cli.console import CommandError
from townlet_runtime.cli.world_options import WorldOptions, is_world_code
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.onnx import FilePolicy
from townlet_runtime.policy.onnx import load_policy as load_file
from townlet_runtime.policy.policy import require_fit
from townlet_runtime.runs.adapted import AdaptedPolicy, is_adapted, read_adapted
from townlet_runtime.runs.directory import registry_of
from townlet_runtime.runs.finished import FinishedRun, read_run
from townlet_runtime.runs.opponents import policy_for
from townlet_runtime.runs.release import read_release
from townlet_runtime.simulation.interface import AGENTS, SimulationSpec
from townlet_runtime.town.config import TOWN
from townlet_trajectory.evaluation.registry import RELEASES_NAME, PromotionRegistry
from townlet_trajectory.storage.entry_points import registered_names


@dataclass(frozen=True, kw_only=True)
class NamedPolicy:
    """The policies of all groups of agents that learned, and where they came from."""

    path: Path
    """Of the file or the directory, as it was given."""
    policies: Mapping[str, FilePolicy]
    """By group; `agents` where there is one."""
    run: FinishedRun | AdaptedPolicy | None
    """The directory that they came from; None: a bare file, or a release."""
    config: Path | None = None
    """The config that they were trained with, where that is known."""
    opponents: Mapping[str, FilePolicy | None] = field(default_factory=dict)
    """Of the groups that did not learn in the run: who played them in the end; None: the script."""

    @property
    def playing(self) -> dict[str, FilePolicy]:
        """The policies by group, those of opponents too; the script plays the groups that have none."""
        return {**self.policies, **{group: one for group, one in self.opponents.items() if one is not None}}

    def policy_for(self, group: str, spec: SimulationSpec) -> FilePolicy | None:
        """Return the policy that can play a group: the one that learned to, else the only one that fits it.

        Args:
            group: its name.
            spec: of the group.

        Returns:
            The policy; None where none fits, or several do.
        """
        return policy_for(group, spec, self.policies)

    def world_options(self, given: WorldOptions) -> WorldOptions:
        """Return `given` with the world that a bare file names, where a command can find it.

        Args:
            given: options; a world among them wins.

        Raises:
            CommandError: if the file's world is neither registered nor one of a library.
        """
        if given.env is not None or self.run is not None or self.config is not None:
            return given
        world = self.policies[AGENTS].card.world
        is_code = is_world_code(world)
        of_a_library = world.startswith(("gymnasium:", "pettingzoo:")) and not is_code
        if not of_a_library and world not in (TOWN, *registered_names(SIMULATIONS)):
            raise CommandError(
                f"{self.path}: made for the world `{world}`, which no installed package registers; name it with --env "
                + (world if is_code else "MODULE:NAME")
            )
        return replace(given, env=world)

    def require_fit(self, specs: Mapping[str, SimulationSpec]) -> None:
        """Refuse them for a simulation that has other groups, actions or observations.

        Raises:
            CommandError: names the policy and what differs.
        """
        if self.policies.keys() | self.opponents.keys() != specs.keys():
            groups = {**self.policies, **self.opponents}
            raise CommandError(
                f"{self.path}: made for the groups {_listed(groups)}, the world has {_listed(specs)}; "
                "name the directory of a run in this world"
            )
        try:
            for group, policy in self.playing.items():
                require_fit(policy, specs[group])
        except SimulationError as error:
            raise CommandError(f"{self.path}: {error}") from error


def load_policy(path: Path) -> NamedPolicy:
    """Load a policy from its file, from the directory of a run or an adapted policy, or from a promotion registry; what
    is in a directory is compared with its manifest.

    Raises:
        PolicyFileError: if it is missing, damaged or foreign.
        RunDirectoryError: if `path` is a directory, but none of these.
        CommandError: if it is a registry in which no release is live.
        PromotionError: if the registry has no such release.
        ArtifactError: if the registry is damaged.
    """
    if (named := registry_of(path)) is not None:
        return _released(path, *named)
    if path.is_dir():
        return policy_of(read_adapted(path) if is_adapted(path) else read_run(path))
    return NamedPolicy(path=path, policies={AGENTS: load_file(path)}, run=None)


def policy_of(run: FinishedRun | AdaptedPolicy) -> NamedPolicy:
    """Load the policies that a run has ended with, or adapted ones.

    Raises:
        PolicyFileError: if one is damaged or foreign.
    """
    policies = {group: load_file(path) for group, path in run.policies.items()}
    files = {} if isinstance(run, AdaptedPolicy) else run.opponents
    opponents = {group: None if path is None else load_file(path) for group, path in files.items()}
    return NamedPolicy(path=run.path, policies=policies, run=run, config=run.config, opponents=opponents)


def _released(path: Path, folder: Path, name: str) -> NamedPolicy:
    registry = PromotionRegistry(folder)
    state = registry.state()
    digest = state.resolve(name)
    if digest == state.settings.behavior:
        raise CommandError(f"{path}: no release is live, `{digest}` acts; leave --policy out")
    place = folder / RELEASES_NAME / digest
    release = read_release(registry.release_files(digest), place)
    return NamedPolicy(path=path, policies=release.policies, run=None, config=release.config)


def _listed(groups: Mapping[str, object]) -> str:
    return ", ".join(groups)

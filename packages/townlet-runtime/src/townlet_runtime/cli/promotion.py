"""The passes of a candidate in a promotion registry: in which world they are played, by whom, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import TypeAdapter

from townlet_runtime.cli.console import CommandError, Console, end_on_signals
from townlet_runtime.cli.episodes.sharing import sharing_episodes
from townlet_runtime.cli.world_options import WorldOptions, require_code, require_same_world
from townlet_runtime.cli.worlds import Worlds, require_unchanged
from townlet_runtime.config import Config, config_from
from townlet_runtime.core.evaluator import Evaluator
from townlet_runtime.errors import SimulationError
from townlet_runtime.policy.policy import require_fit
from townlet_runtime.runs.begun import BegunFile
from townlet_runtime.runs.finished import FinishedRun, read_run
from townlet_runtime.runs.records import PACKAGES
from townlet_runtime.runs.release import Release, read_release, release_files
from townlet_runtime.runs.strict_json import parse_record
from townlet_runtime.simulation.interface import SimulationSpec
from townlet_runtime.workers.evaluating import SharedEvaluator
from townlet_trajectory.evaluation.comparisons import PairedComparison, compare
from townlet_trajectory.evaluation.gates import GateResult
from townlet_trajectory.evaluation.interfaces import EpisodeScores, derive_seed
from townlet_trajectory.evaluation.promotion import Decision, PromotionDecision
from townlet_trajectory.evaluation.registry import JOURNAL_NAME, RELEASES_NAME, OpenPass, PromotionRegistry
from townlet_trajectory.evaluation.registry_records import RegistrySettings
from townlet_trajectory.evaluation.results import RANDOM, SCRIPTED
from townlet_trajectory.storage.json import JsonValue, canonical_json

PROMOTE, HOLD, FAIL = 0, 1, 2
EXIT_CODES = {Decision.PROMOTE: PROMOTE, Decision.HOLD: HOLD, Decision.FAIL: FAIL}


@dataclass(frozen=True, kw_only=True)
class CandidateResult:
    """The result of one call that compared a candidate."""

    candidate: str
    """Digest."""
    incumbent: str
    """Digest of a release, or the name of a behavior."""
    decisions: tuple[PromotionDecision, ...]
    """One for each pass; empty where the candidate had passed before."""
    decision: Decision
    reason: str
    is_promoted: bool


@dataclass(frozen=True, kw_only=True)
class Arena:
    """The world of a registry, in which releases are compared."""

    registry: PromotionRegistry
    evaluator: Evaluator | SharedEvaluator
    specs: Mapping[str, SimulationSpec]
    """By group of agents."""
    world_sha256: str
    """Digest of the resolved config of the world."""
    on_scores: Callable[[EpisodeScores, EpisodeScores], None]
    """Told of the candidate's and the incumbent's scores of every pass."""

    def read(self, digest: str) -> Release:
        """Read a release, which must fit the world.

        Raises:
            CommandError: names what does not fit.
        """
        place = self.registry.path / RELEASES_NAME / digest
        release = read_release(self.registry.release_files(digest), place)
        if release.policies.keys() != self.specs.keys():
            groups = f"{', '.join(release.policies)}, the world of the registry has {', '.join(self.specs)}"
            raise CommandError(f"{place}: made for the groups {groups}")
        try:
            for group, policy in release.policies.items():
                require_fit(policy, self.specs[group])
        except SimulationError as error:
            raise CommandError(f"{place}: {error}") from error
        return release

    def incumbent(self, one: OpenPass) -> Release | None:
        """Read the release that a pass is played against; None for a behavior."""
        return None if one.incumbent == self.registry.state().settings.behavior else self.read(one.incumbent)

    def compare(self, candidate: Release, incumbent: Release | None, one: OpenPass) -> PairedComparison:
        """Play a pass: the candidate and what is live, on the same episodes.

        Args:
            candidate: release.
            incumbent: of `incumbent`.
            one: the pass.
        """
        settings = self.registry.state().settings
        with end_on_signals():
            ours = self._scores(candidate, one)
            theirs = (
                self.evaluator.baseline(settings.behavior, seeds=one.seeds)
                if incumbent is None
                else self._scores(incumbent, one)
            )
        self.on_scores(ours, theirs)
        return compare(
            ours,
            theirs,
            seed=derive_seed(settings.seed, "registry/interval", one.number),
            num_resamples=settings.config.num_resamples,
        )

    def evidence(self, candidate: Release, incumbent: Release | None) -> dict[str, JsonValue]:
        """Return how a pass is played: acting, digest of the world's settings, and versions."""
        versions: dict[str, JsonValue] = {name: each for name in PACKAGES if (each := _version(name)) is not None}
        return {
            "acting": candidate.acting,
            "incumbent_acting": None if incumbent is None else incumbent.acting,
            "world_sha256": self.world_sha256,
            "versions": versions,
        }

    def _scores(self, release: Release, one: OpenPass) -> EpisodeScores:
        return self.evaluator.evaluate(release.policies, seeds=one.seeds, sample=release.acting == "sampled")


def compare_candidate(
    run_dir: Path,
    registry_dir: Path,
    options: WorldOptions,
    *,
    seed: int,
    promote: bool,
    console: Console,
    workers: int = 0,
    confirm: Callable[[str, str], bool] = lambda before, after: True,
    on_scores: Callable[[EpisodeScores, EpisodeScores], None] = lambda ours, theirs: None,
) -> tuple[PromotionRegistry, CandidateResult]:
    """Submit the policy of a run, and let it play passes until one is not won, or it is ready.

    Args:
        run_dir: of a finished run.
        registry_dir: of a registry; made with the world and the settings of this run where there is none.
        options: world and code of the command line.
        seed: of a registry that is made.
        promote: let a candidate that is ready be live.
        console: shows progress.
        workers: processes that play beside this one.
        confirm: given what is live and the candidate that is ready, says whether to promote.
        on_scores: told of the candidate's and the incumbent's scores of every pass that is played.

    Raises:
        CommandError: if the run fits no world, or not that of the registry.
        PromotionError: if the policy is live already, or another process was faster.
    """
    begun, run = require_unchanged(run_dir), read_run(run_dir)
    files = release_files(run)
    if not (registry_dir / JOURNAL_NAME).is_file():
        create_registry(registry_dir, run, begun, options, seed=seed)
    registry = PromotionRegistry(registry_dir)
    metadata: dict[str, JsonValue] = {
        "run": str(run_dir),
        "weights_sha256": run.summary.weights_sha256,
        "config_sha256": begun.config_sha256,
    }
    gates = () if run.promotion is None else run.promotion.gates
    with _arena(registry, options, on_scores, workers=workers) as arena:
        candidate = registry.submit(files, metadata=metadata)
        decisions = _passes(arena, candidate, gates, console)
    incumbent = decisions[-1].latest.incumbent if decisions else registry.state().live
    is_promoted = promote and _is_ready(registry, candidate) and confirm(incumbent, candidate)
    if is_promoted:
        registry.mark_promoted(candidate, incumbent=incumbent)
    return registry, CandidateResult(
        candidate=candidate,
        incumbent=incumbent,
        decisions=decisions,
        decision=decisions[-1].decision if decisions else Decision.PROMOTE,
        reason=decisions[-1].reason if decisions else f"better than {incumbent} in {_required(registry)} passes before",
        is_promoted=is_promoted,
    )


def _is_ready(registry: PromotionRegistry, candidate: str) -> bool:
    state = registry.state()
    return state.candidate == candidate and state.candidate_ready


def _required(registry: PromotionRegistry) -> int:
    return registry.state().settings.config.required_passes


def _passes(
    arena: Arena, candidate: str, gates: tuple[GateResult, ...], console: Console
) -> tuple[PromotionDecision, ...]:
    """Let a candidate play until a pass is not won, or it is ready."""
    release, registry, decisions = arena.read(candidate), arena.registry, list[PromotionDecision]()
    with console.progress(total=_required(registry), unit="passes") as progress:
        while not _is_ready(registry, candidate) and (not decisions or decisions[-1].latest.outcome == "better"):
            progress.update("compare", len(decisions))
            decisions.append(_play(arena, registry.begin_pass(candidate), release, gates))
    return tuple(decisions)


def _play(arena: Arena, one: OpenPass, release: Release, gates: tuple[GateResult, ...]) -> PromotionDecision:
    incumbent, failed = arena.incumbent(one), any(gate.failed for gate in gates)
    return arena.registry.record_pass(
        one.number,
        comparison=None if failed else arena.compare(release, incumbent, one),
        gates=gates,
        evidence=arena.evidence(release, incumbent),
    )


def create_registry(
    registry_dir: Path, run: FinishedRun, begun: BegunFile, options: WorldOptions, *, seed: int
) -> PromotionRegistry:
    """Make a registry with the world and the settings of a run; a script, or chance, is live in it.

    Args:
        registry_dir: without a registry.
        run: the run.
        begun: how it was begun.
        options: world and code of the command line.
        seed: of the registry.

    Raises:
        CommandError: if the run was made in Python, or its world is another one now.
    """
    if begun.config is None or begun.config_sha256 is None:
        raise CommandError(f"{run.path}: its world was made in Python, so no pass can be played in it by a command")
    config = config_from(dict(begun.config), options.overrides(), source=str(run.path)).config
    require_code(run.path, begun, options)
    with closing(Worlds.of(config, options).make_scored(1)) as one:
        require_same_world(run.path, begun, one.specs)
        behavior = SCRIPTED if SCRIPTED in one.behaviors else RANDOM
    settings = RegistrySettings(
        config=config.promotion,
        seed=seed,
        behavior=behavior,
        config_id=config.config_id or run.summary.env or behavior,
        world=TypeAdapter(BegunFile).dump_python(begun, mode="json"),
    )
    return PromotionRegistry.create(registry_dir, settings)


@contextmanager
def _arena(
    registry: PromotionRegistry,
    options: WorldOptions,
    on_scores: Callable[[EpisodeScores, EpisodeScores], None] = lambda ours, theirs: None,
    *,
    workers: int = 0,
) -> Iterator[Arena]:
    settings = registry.state().settings
    origin = registry.path / JOURNAL_NAME
    begun = parse_record(TypeAdapter(BegunFile), canonical_json(dict(settings.world)), file=origin)
    require_code(registry.path, begun, options, script=settings.behavior == SCRIPTED)
    config = _config(begun, options, registry.path)
    worlds = Worlds.of(config, options)
    with closing(worlds.make_scored(1)) as one:
        require_same_world(registry.path, begun, one.specs)
        specs, bridge = dict(one.specs), worlds.bridge(one.specs)
    seed = derive_seed(settings.seed, "registry/draws")
    own = Evaluator(worlds.make_scored, config=bridge, seed=seed, num_worlds=config.training["num_envs"])
    with sharing_episodes(own, worlds.message(config), workers=workers) as evaluator:
        yield Arena(
            registry=registry,
            evaluator=evaluator,
            specs=specs,
            world_sha256=str(begun.config_sha256),
            on_scores=on_scores,
        )


def _config(begun: BegunFile, options: WorldOptions, path: Path) -> Config:
    if begun.config is None:
        raise CommandError(f"{path}: its world has no config")
    return config_from(dict(begun.config), options.overrides(), source=str(path / JOURNAL_NAME)).config


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

"""`SimulationLoop(config)`: the embedded town that a config describes, with the runtime that decides in it."""

from __future__ import annotations

from townlet_behavior import veto_reasons_of
from townlet_runtime.config import bridge_config, script_config, town_config
from townlet_runtime.core.loop import BatchLoop, LoopReport
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.core.stretches import Telemetry
from townlet_runtime.errors import ConfigError
from townlet_runtime.plain.settings import ConfigLike, read_settings, seed_of
from townlet_runtime.simulation.interface import Stepped
from townlet_runtime.simulation.recorded import schema_of
from townlet_runtime.town import Town
from townlet_trajectory import TrajectoryService
from townlet_trajectory.evaluation.interfaces import Actor


class SimulationLoop:
    """Steps one town as its script decides, and a policy where there is one. It is begun with the config's seed.

    Examples:
        >>> from townlet_runtime.plain import SimulationLoop
        >>> loop = SimulationLoop({"town": {"num_agents": 4}, "seed": 3})
        >>> loop.run_for(10).agent_ticks, loop.tick
        (40, 10)

    Args:
        config: a `Config`, the content of a config file, or its path.
        policy: the learned side; None: the script alone.
        ratio: share of the policy's decisions.
        max_rows: bound of the recorded steps of agents between collections; the oldest are dropped.
        telemetry: told of every tick; None: nothing is measured.

    Raises:
        ConfigError: if the config is wrong, or of another environment than the town.
    """

    def __init__(
        self,
        config: ConfigLike,
        *,
        policy: Actor | None = None,
        ratio: float = 0.0,
        max_rows: int = 100_000,
        telemetry: Telemetry | None = None,
    ) -> None:
        settings = read_settings(config)
        if not settings.environment.is_town:
            raise ConfigError(f"expected the town, got {settings.environment.name!r}", key="environment.name")
        self._seed = seed_of(settings)
        self._town = Town(town_config(settings), num_worlds=1, script=script_config(settings))
        spec, guardrails = self._town.spec, self._town.guardrails()
        schema = schema_of(spec, masked=True, veto_reasons=veto_reasons_of(guardrails))
        self._runtime = BatchRuntime(
            spec,
            self._town.scripted("scripted"),
            config=bridge_config(settings, ratio=ratio),
            policy=policy,
            service=TrajectoryService(schema, max_rows=max_rows, on_full="drop_oldest"),
            seed=self._seed,
            guardrails=guardrails,
        )
        self._loop = BatchLoop(self._town, self._runtime, telemetry=telemetry)
        self.reset()

    @property
    def world(self) -> Town:
        """The town."""
        return self._town

    @property
    def policy(self) -> BatchRuntime:
        """The runtime that decides: possession, ratio, record."""
        return self._runtime

    @property
    def tick(self) -> int:
        """The tick that is decided next; it counts on through every reset."""
        return self._loop.tick

    def step(self) -> Stepped:
        """Decide, step the town, record."""
        return self._loop.step()

    def run_for(self, ticks: int) -> LoopReport:
        """Do `ticks` ticks, at least one, and return what they came to."""
        return self._loop.run_for(ticks)

    def reset(self, seed: int | None = None) -> None:
        """Begin the town anew, with the config's seed or another; what was recorded is dropped."""
        self._loop.reset(self._seed if seed is None else seed)

"""Makes the town as a PettingZoo environment, and says what is missing where PettingZoo is not installed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict, Unpack

from townlet_runtime.errors import MissingExtraError, TownConfigError
from townlet_runtime.town.config import TownConfig

if TYPE_CHECKING:
    from townlet_runtime.town.parallel_town import ParallelTown

_EXTRA = ("pettingzoo", "gymnasium")


class TownSettings(TypedDict, total=False):
    """Whole numbers of a `TownConfig`, as a config file or a user of PettingZoo gives them."""

    num_agents: int
    episode_ticks: int
    ticks_per_day: int
    local_window: int
    fridge_stock: int
    stove_stock: int
    stove_stock_replenish: int
    delivery_ticks: int


def parallel_env(
    config: TownConfig | None = None,
    *,
    render_mode: str | None = None,
    returns: bool = False,
    **settings: Unpack[TownSettings],
) -> ParallelTown:
    """Return one town as a PettingZoo `ParallelEnv`; needs the extra `pettingzoo`.

    - An observation is `{"observation": {"features": [F], "map": [C, side, side]}, "action_mask": [A]}`, float32 and
      int8. The columns of the option in force stay zero: nobody holds anything here. `infos` carry the mask too.
    - An action is an index of the town's vocabulary (`metadata["actions"]` has its keys). One that the mask forbids
      does nothing.
    - Who faints is terminated, who travels and whoever is there when the episode ends is truncated; the last
      observation's mask allows `wait` alone. The view stops where the town begins anew, or nobody is left.
    - `reset(seed=s)` begins the very episode that `Town.reset(seeds=[s])` begins; without a seed, one drawn from a
      generator that the last seed began, or by the operating system. `np_random_seed` tells the seed of the episode.
      `options` has no meaning.
    - `state()` is [population, F]: the features of everybody present, zeros for who is not.
    - `render_mode="ansi"` draws the town as text. After the end it shows the town before its last tick.

    Args:
        config: the town; None for the default one.
        render_mode: `"ansi"` or None.
        returns: false: who is gone stays away for the rest of the episode, as PettingZoo's agents do. True: it comes
            back after the delay of the config, as a new PettingZoo agent: `ID#2`, `ID#3` and so on. Then
            `possible_agents` holds every life that the delays leave room for, few of which are lived; ticks in which
            nobody is present pass by themselves; and PettingZoo's own test warns at the end of an episode of those
            that never came.
        settings: fields of `TownConfig` that are whole numbers (`num_agents`, `episode_ticks`, ...), in place of
            those of `config`.

    Raises:
        MissingExtraError: without pettingzoo or gymnasium.
        TownConfigError: a setting that does not exist or cannot be meant.
    """
    for name, value in settings.items():
        if name not in TownSettings.__annotations__:
            raise TownConfigError(f"expected one of {', '.join(TownSettings.__annotations__)}", key=name)
        if type(value) is not int:
            raise TownConfigError(f"expected a whole number, got {value!r}", key=name)
    config = replace(TownConfig() if config is None else config, **settings)
    try:
        from townlet_runtime.town.parallel_town import ParallelTown
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise MissingExtraError(
            f"the town as a PettingZoo environment needs `{error.name}`: install 'townlet-runtime[pettingzoo]'"
        ) from error
    if not returns:  # an absence lasts longer than an episode
        ticks = config.episode_ticks
        lifecycle = replace(config.lifecycle, respawn_delay_ticks=ticks, away_ticks=ticks)
        config = replace(config, lifecycle=lifecycle)
    return ParallelTown(config, render_mode=render_mode)

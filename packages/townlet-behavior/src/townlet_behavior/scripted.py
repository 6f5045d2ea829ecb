"""The scripted behavior: finish a use, go to work, see to needs, keep company, else wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .batch_controllers import StatelessController
from .errors import ConfigError
from .guardrails import RivalryView
from .personality import BALANCED, CHAT_PREFERENCE, arrival_buffers, need_thresholds

HUNGER, HYGIENE, ENERGY = range(3)
"""Columns of every `needs` array, in the order in which they are seen to."""
NEEDS = ("hunger", "hygiene", "energy")
"""Their names, by column."""


def pressing_needs(needs: NDArray[np.floating], thresholds: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where a need is below its threshold; at the threshold it does not press.

        pressing(i, k) = needs[i, k] < thresholds[i, k]

    Args:
        needs: [N, 3]; 0 (desperate) to 1 (satisfied).
        thresholds: [N, 3], or [3] for all agents.

    Returns:
        [N, 3] bool; `HUNGER`, `HYGIENE`, `ENERGY` name the columns.
    """
    return needs < thresholds


def time_to_leave(
    tick_of_day: NDArray[np.int64],
    shift_start: NDArray[np.int64],
    at_workplace: NDArray[np.bool_],
    *,
    arrival_buffer: NDArray[np.int64] | int,
) -> NDArray[np.bool_]:
    """Whether an agent should be on its way to work.

        shift_start - arrival_buffer <= tick_of_day < shift_start, and not there yet

    Args:
        tick_of_day: [N].
        shift_start: [N]; tick of the day, -1 without a job.
        at_workplace: [N].
        arrival_buffer: ticks before the shift at which to set off; [N], or one for all.

    Returns:
        [N] bool.
    """
    # No tick is before -1, so nobody without a job leaves.
    return (shift_start - arrival_buffer <= tick_of_day) & (tick_of_day < shift_start) & ~at_workplace


MIN_EXTROVERSION = 0.2
"""Agents of less do not begin a chat."""


def wants_to_chat(
    extroversion: NDArray[np.float64],
    pressing: NDArray[np.bool_],
    *,
    preference: NDArray[np.float64] | float = 1.0,
) -> NDArray[np.bool_]:
    """Whether an agent is of a mind to chat: outgoing enough, and with all its own needs met.

        extroversion >= 0.2 / preference and no need presses

    Args:
        extroversion: [N].
        pressing: [N, 3]; `pressing_needs`.
        preference: for chats, above 0: `CHAT_PREFERENCE` of the profile where profiles act; [N], or one for all.

    Returns:
        [N] bool.
    """
    return (extroversion >= MIN_EXTROVERSION / preference) & ~pressing.any(axis=1)


class ScriptedView(RivalryView, Protocol):
    """The parts of a world that the script reads; one row per agent.

    It is read only as far as the rules get, so a world may compute on demand: who is in which line is asked for in
    ticks in which some agent wants an object, who is on the same cell where some agent is idle, `extroversion` where
    some agent can chat, `step_away` where a rival is near, `profile` where the config switches characters on.
    """

    @property
    def using(self) -> NDArray[np.bool_]:
        """[N]; in the middle of using an object."""

    @property
    def holds_turn(self) -> NDArray[np.bool_]:
        """[N]; first in line at an object, and may start."""

    @property
    def needs(self) -> NDArray[np.float32]:
        """[N, 3]; hunger, hygiene, energy, each 0 (desperate) to 1 (satisfied)."""

    @property
    def tick_of_day(self) -> NDArray[np.int64]:
        """[N]."""

    @property
    def shift_start(self) -> NDArray[np.int64]:
        """[N]; tick of the day at which the shift begins, -1 without a job."""

    @property
    def at_workplace(self) -> NDArray[np.bool_]:
        """[N]."""

    @property
    def can_eat(self) -> NDArray[np.bool_]:
        """[N]; the world has a usable fridge with meals. So too for the next three: stove, shower, bed."""

    @property
    def can_cook(self) -> NDArray[np.bool_]:
        """[N]."""

    @property
    def can_wash(self) -> NDArray[np.bool_]:
        """[N]."""

    @property
    def can_sleep(self) -> NDArray[np.bool_]:
        """[N]."""

    @property
    def can_chat(self) -> NDArray[np.bool_]:
        """[N]; there is a partner on the same cell that is not to be avoided and has a positive `chat_score`, the last
        chat is long enough ago, and the world knows relationships at all."""

    @property
    def extroversion(self) -> NDArray[np.float64]:
        """[N]; of the agent's character, 0 to 1."""

    @property
    def rival_here(self) -> NDArray[np.bool_]:
        """[N]; somebody to be avoided is on the same cell."""

    @property
    def step_away(self) -> NDArray[np.int64]:
        """[N]; the action of stepping to the first free cell of +x, -x, +y, -y; -1 where none is free."""

    @property
    def profile(self) -> NDArray[np.int64]:
        """[N]; index into `townlet_behavior.personality.PROFILES`, 0 for a balanced character."""


@dataclass(frozen=True, kw_only=True)
class ScriptedActions:
    """Vocabulary indices of the actions that the script can propose.

    With the indices of "nearest object" actions the same script is the nearest-object yardstick.
    """

    wait: int
    start: int
    go_to_work: int
    eat: int
    cook: int
    wash: int
    sleep: int
    chat: int | None = None
    """None: a world without chats and rivals, whose views are not asked about them. Where chats alone are switched off,
    `ScriptedView.can_chat` says so."""


@dataclass(frozen=True, kw_only=True)
class ScriptedConfig:
    """Thresholds and buffers of the script.

    Raises:
        ConfigError: if a threshold is outside [0, 1] or the buffer outside [0, 1,000,000,000].
    """

    hunger_threshold: float = 0.4
    hygiene_threshold: float = 0.4
    energy_threshold: float = 0.4
    job_arrival_buffer: int = 20
    """Ticks before a shift at which to set off."""
    personality_profiles: bool = False
    """Whether the buffer is multiplied by the work affinity of the agent's profile (`arrival_buffers`)."""
    reward_multipliers: bool = False
    """Whether the thresholds are multiplied by those of the agent's profile (`need_thresholds`)."""

    def __post_init__(self) -> None:
        for name in ("hunger_threshold", "hygiene_threshold", "energy_threshold"):
            value: float = vars(self)[name]
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"`{name}` must be in [0, 1], got {value!r}")
        # With a profile's factor it stays a number that every clock of 64 bits can hold.
        if not 0 <= self.job_arrival_buffer <= 10**9:
            raise ConfigError(f"`job_arrival_buffer` must be in [0, 1000000000], got {self.job_arrival_buffer!r}")


class ScriptedController(StatelessController):
    """Proposes by fixed rules, the first that applies.

    1. Using an object: wait until it is finished.
    2. Holding the turn at an object: start using it.
    3. The shift begins soon and the agent is elsewhere: go to work.
    4. The first need below its threshold for which there is something usable without a rival in its line: eat (else
       cook), wash, sleep.
    5. No need is below its threshold, the agent is outgoing enough, and there is somebody to chat with: chat.
    6. A rival is on the same cell and a side is free: step away.
    7. Wait.

    It keeps no plans: uses and lines are the world's knowledge. An agent that merely stands in line
    goes through the rules again, so work or a more urgent need wins, and it asks again where none does.
    """

    def __init__(self, actions: ScriptedActions, config: ScriptedConfig) -> None:
        self._actions = actions
        self._config = config
        self._thresholds = need_thresholds((config.hunger_threshold, config.hygiene_threshold, config.energy_threshold))
        self._arrival_buffers = arrival_buffers(config.job_arrival_buffer)
        indices = [index for index in vars(actions).values() if index is not None]
        self._asks = np.zeros(max(indices) + 1, np.bool_)
        self._asks[[actions.eat, actions.cook, actions.wash, actions.sleep]] = True

    def propose(self, view: ScriptedView) -> NDArray[np.int64]:
        """[N]."""
        actions, config, using = self._actions, self._config, view.using
        thresholds = (
            self._thresholds.take(view.profile, axis=0) if config.reward_multipliers else self._thresholds[BALANCED]
        )
        pressing = pressing_needs(view.needs, thresholds)
        buffer = self._arrival_buffers.take(view.profile) if config.personality_profiles else config.job_arrival_buffer
        leave = time_to_leave(view.tick_of_day, view.shift_start, view.at_workplace, arrival_buffer=buffer)
        wanted = (
            (actions.eat, pressing[:, HUNGER] & view.can_eat),
            (actions.cook, pressing[:, HUNGER] & view.can_cook),
            (actions.wash, pressing[:, HYGIENE] & view.can_wash),
            (actions.sleep, pressing[:, ENERGY] & view.can_sleep),
        )
        proposal = np.full(len(pressing), actions.wait, np.int64)
        # From the last rule to the first, so that an earlier rule overwrites a later one.
        for action, where in reversed(wanted):
            np.copyto(proposal, action, where=where)
        np.copyto(proposal, actions.go_to_work, where=leave)
        np.copyto(proposal, actions.start, where=view.holds_turn)
        np.copyto(proposal, actions.wait, where=using)
        if actions.chat is None:
            return proposal
        self._ask_where_no_rival_is(view, proposal, wanted)
        idle = (proposal == actions.wait) > using
        if np.count_nonzero(idle):
            self._keep_company(view, proposal, idle, pressing, chat=actions.chat)
        return proposal

    def _ask_where_no_rival_is(
        self, view: ScriptedView, proposal: NDArray[np.int64], wanted: Sequence[tuple[int, NDArray[np.bool_]]]
    ) -> None:
        """Replace requests in `proposal` that would line up with a rival by the next of the agent's `wanted` actions
        that would not, or by waiting."""
        asking = self._asks.take(proposal)
        if not np.count_nonzero(asking):
            return
        undecided = asking & view.lines_up_with_rival(proposal)
        if not np.count_nonzero(undecided):
            return
        for action, where in wanted:
            trying = undecided & where
            fine = trying > view.lines_up_with_rival(np.where(trying, action, self._actions.wait))
            np.copyto(proposal, action, where=fine)
            undecided ^= fine
        np.copyto(proposal, self._actions.wait, where=undecided)

    def _keep_company(
        self,
        view: ScriptedView,
        proposal: NDArray[np.int64],
        idle: NDArray[np.bool_],
        pressing: NDArray[np.bool_],
        *,
        chat: int,
    ) -> None:
        """Let the `idle` [N] chat, else step away from rivals, in `proposal`."""
        can_chat = view.can_chat
        if np.count_nonzero(can_chat):
            preference = CHAT_PREFERENCE.take(view.profile) if self._config.personality_profiles else 1.0
            chatting = idle & can_chat & wants_to_chat(view.extroversion, pressing, preference=preference)
            np.copyto(proposal, chat, where=chatting)
            idle = idle ^ chatting
        rival_here = view.rival_here
        if np.count_nonzero(rival_here):
            aside = view.step_away
            np.copyto(proposal, aside, where=idle & rival_here & (aside >= 0))

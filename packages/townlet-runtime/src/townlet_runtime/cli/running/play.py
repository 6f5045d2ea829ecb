"""`townlet play`: a person plays one agent by keys in the terminal, and the others go on by script and policy."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_behavior import BehaviorError
from townlet_runtime.cli.console import (
    ENVIRONMENT_FAILED,
    CommandError,
    Console,
    Signalled,
    StopFlag,
    end_on_signals,
    one_line,
    stop_on_signals,
)
from townlet_runtime.cli.recording import MAX_ROWS
from townlet_runtime.cli.running.keys import Choices, Keyboard
from townlet_runtime.cli.running.lessons import learning_commands
from townlet_runtime.cli.running.setup import PreparedWorld, RunOptions, prepared, record_world, require_shares
from townlet_runtime.cli.views.hand import (
    HELP,
    Hand,
    Line,
    came_lines,
    hand_lines,
    looks_lines,
    proposal_lines,
    seen_lines,
    shower,
)
from townlet_runtime.cli.views.render import text_frame
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.drawing.reasons import reasons_of
from townlet_runtime.drawing.scene import drawable_of
from townlet_runtime.errors import TownletError
from townlet_runtime.live.history import WORLD
from townlet_runtime.live.stage import Stage
from townlet_trajectory import EpisodeLabel, TrajectoryError
from townlet_trajectory.audit.explanation import StepExplanation
from townlet_trajectory.audit.words import short

OWNER = "player"
"""Name of the person who possesses the agent."""
_LABELS = {"1": EpisodeLabel.SUCCESS, "2": EpisodeLabel.FAILURE, "3": EpisodeLabel.DISCARD}
_DECIDE = frozenset(". ")
_EXPECTED = (TownletError, BehaviorError, TrajectoryError)


def play_world(options: RunOptions, agent: str | None, console: Console) -> int:
    """Let a person play until they end it, write what was recorded, and return the exit code.

    Args:
        options: of the world, its policy and its recording; its ticks are the most that are played.
        agent: that is played first; None: the first one.
        console: of the command.

    Raises:
        ConfigError, CommandError: if options contradict each other, or there is no such agent.
    """
    require_shares(options)
    world = prepared(options, console)
    failed, recorded, learn = False, list[str](), list[str]()
    with closing(world.simulation), stop_on_signals() as stop:
        stage = Stage(world.simulation, world.setup.runtimes, seed=world.seed, max_rows=MAX_ROWS)
        game = Game(world, stage, agent)
        try:
            with Keyboard() as keyboard:
                game.play(keyboard, shower(console.line), stop, ticks=options.ticks)
        except _EXPECTED as error:
            console.trace(error)
            console.error(one_line(error))
            failed = True
        if options.record is not None and (batches := stage.recorded()):
            recorded = record_world(world, options.record, batches, console, ticks=game.score.ticks)
            learn = learning_commands(options, world, batches, recorded)
    for command in learn:
        console.note(f"to learn from it: {command}")
    done, acted, reward = game.score
    console.result(
        {"ticks": done, "acted": acted, "reward_while_acting": reward, "recorded": recorded, "learn": learn},
        [f"You acted in {acted:,} of {done:,} ticks, for a reward of {short(reward)}"],
    )
    return ENVIRONMENT_FAILED if failed else stop.code


class Score(NamedTuple):
    """What a person has done so far."""

    ticks: int
    acted: int
    """Ticks at which the person decided for the agent that was played."""
    reward: float
    """Of these ticks."""


class Game:
    """A world and the person who plays one of its agents.

    Args:
        world: that was prepared.
        stage: the same, which has begun.
        agent: that is played first; None: the first one.

    Raises:
        CommandError: if there is no such agent.
    """

    def __init__(self, world: PreparedWorld, stage: Stage, agent: str | None) -> None:
        self._world, self._stage, self._runtimes = world, stage, stage.runtimes
        self._drawable, self._draw = drawable_of(stage.simulation), text_frame(stage.simulation, world.town)
        self._choices = {group: Choices(spec.action_spec) for group, spec in stage.simulation.specs.items()}
        self._by_policy = None if world.setup.policies is None else "chance" if world.setup.drawn else "policy"
        self._said = ""
        self.score = self._kept = Score(0, 0, 0.0)
        """Of what was not undone; the other one of the moment that was kept."""
        present = self._present()
        if agent is not None and agent not in present:
            some = ", ".join(present[:10]) + (", ..." if len(present) > 10 else "")
            raise CommandError(f"--agent {agent}: nobody of this name is there, only {some or 'nobody'}")
        self._agent = agent or next(iter(present), "")
        stage.history.look_at(self._agent, 1)

    def play(
        self, keyboard: Keyboard, show: Callable[[Sequence[Line]], None], stop: StopFlag, *, ticks: int | None
    ) -> None:
        """Do a tick for each action until the keys end, or a signal comes.

        Args:
            keyboard: of the person.
            show: shows a screen.
            stop: set by a signal.
            ticks: at most; None: as many as the person likes.
        """
        while not stop() and (ticks is None or self.score.ticks < ticks):
            show(self.screen())
            key = _typed(keyboard.key, stop)
            if key is None or key == "q":
                return
            self._said = ""
            line = _typed(keyboard.line, stop) if key == ":" else None
            if self._press(key, line):
                self._tick()
        if not stop():
            show(self.screen())

    def screen(self) -> list[Line]:
        """Return what the person sees now."""
        found, present = self._find(), self._present()
        place = f" ({present.index(self._agent) + 1} of {len(present)})" if self._agent in present else ""
        lines = [Line(f"{self._world.worlds.environment}, tick {self.score.ticks}: you play {self._agent}{place}")]
        lines += map(Line, self._draw(self._agent))
        lines += came_lines(self._last())
        if found is None:
            lines.append(Line(f"{self._agent} is not here now"))
        else:
            group, runtime, row = found
            ahead = runtime.ahead()
            lines += looks_lines(self._drawable, self._agent, world=WORLD)
            lines += seen_lines(ahead, row)
            lines += proposal_lines(ahead, row, ratio=self._stage.ratio, by_policy=self._by_policy)
            lines += [Line(""), *hand_lines(self._hand(group, runtime, row))]
        lines += [Line(""), *map(Line, HELP)]
        return [*lines, Line(self._said)] if self._said else lines

    def _press(self, key: str, line: str | None) -> bool:
        """Do what a key stands for; returns whether a tick is to be done."""
        if key in _DECIDE:
            return True
        if key == "n":
            self._next()
        elif key in _LABELS:
            self._label(_LABELS[key])
        elif key in ("m", "b"):
            self._travel(back=key == "b")
        else:
            return self._act(key, line)
        return False

    def _act(self, key: str, line: str | None) -> bool:
        """Tell the agent what a key stands for, or what was named; returns whether it was told."""
        found = self._find()
        if found is None:
            self._said = f"{self._agent} is not here now"
            return False
        group, runtime, row = found
        choices = self._choices[group]
        choice = choices.of_key(key) if line is None else choices.named(line)
        if choice is None:
            self._said = f"no key: {key}" if line is None else f"no action: {line}"
            return False
        hand = self._hand(group, runtime, row)
        if not hand.legal[choice]:
            name = hand.names[choice]
            self._said = f"{name}: {hand.reasons.get(name, 'not legal now')}"
            return False
        # Possessed for one decision: at the next one script and policy are free to decide.
        runtime.acquire_possession(self._agent, world=WORLD, owner=OWNER, lease_ticks=1)
        runtime.feed_action(self._agent, choices.fed(choice, self._agent), world=WORLD, owner=OWNER)
        return True

    def _tick(self) -> None:
        """Do one tick, and count what it was worth where the person acted."""
        self._stage.advance()
        last = self._last()
        acted = last is not None and last.possessed
        earned = 0.0 if last is None or not acted else last.reward or 0.0
        ticks, before, reward = self.score
        self.score = Score(ticks + 1, before + acted, reward + earned)

    def _next(self) -> None:
        present = self._present()
        if present:
            at = present.index(self._agent) + 1 if self._agent in present else 0
            self._stage.history.look_at(self._agent, -1)
            self._agent = present[at % len(present)]
            self._stage.history.look_at(self._agent, 1)

    def _label(self, label: EpisodeLabel) -> None:
        found = self._find()
        if found is None or found[1].service is None:
            self._said = "nothing is recorded here that could be labelled; see --record"
            return
        try:
            found[1].label_episode(label, self._agent, world=WORLD)
            self._said = f"the episode of {self._agent} is labelled {label.name.lower()}"
        except TrajectoryError as error:
            self._said = one_line(error)

    def _travel(self, *, back: bool) -> None:
        try:
            if back:
                self._stage.again()
                self.score = self._kept
            else:
                self._stage.mark()
                self._kept = self.score
        except (TownletError, BehaviorError) as error:
            self._said = one_line(error)
            return
        self._said = "back where you were; what you did since is undone" if back else "kept: b comes back to here"

    def _present(self) -> list[str]:
        """The agents that are there, of all groups."""
        views = [runtime.observed for runtime in self._runtimes.values()]
        return [str(one) for view in views if view is not None for one in view.agent_ids.tolist()]

    def _find(self) -> tuple[str, BatchRuntime, int] | None:
        """The group, the runtime and the row of the agent that is played; None: it is not there."""
        for group, runtime in self._runtimes.items():
            rows = (
                np.empty(0) if runtime.observed is None else np.flatnonzero(runtime.observed.agent_ids == self._agent)
            )
            if rows.size:
                return group, runtime, int(rows[0])
        return None

    def _last(self) -> StepExplanation | None:
        """The decision of the tick before about the agent that is played."""
        moment = self._stage.history.moment(self._agent, self._stage.history.tick)
        return None if moment is None else moment[1].explained(self._runtimes[moment[0]])

    def _hand(self, group: str, runtime: BatchRuntime, row: int) -> Hand:
        choices, observed = self._choices[group], runtime.observed
        mask = None if observed is None or not choices.masked else observed.action_mask
        legal: NDArray[np.bool_] = np.ones(len(choices.names), np.bool_) if mask is None else mask[row]
        reasons = reasons_of(self._stage.simulation, self._agent, world=WORLD, choices=choices.names, legal=legal)
        return Hand(names=choices.names, keys=choices.keys, legal=legal, reasons=reasons)


def _typed(read: Callable[[], str | None], stop: StopFlag) -> str | None:
    """What the person types; None where a signal comes instead, which sets `stop`: no tick is broken off."""
    try:
        with end_on_signals():
            # One that came before this block has set it.
            return None if stop() else read()
    except KeyboardInterrupt as error:
        stop.signal = error.number if isinstance(error, Signalled) else signal.SIGINT
        return None

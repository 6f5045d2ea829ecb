"""What agents keep in mind of each other: trust, familiarity and rivalry, of a few others each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from townlet_runtime.town.arrays import Bools, Floats, Ints
from townlet_runtime.town.config import TownConfig

CHAT_TRUST, CHAT_FAMILIARITY = 0.005, 0.01
"""What a chat of quality 1 adds, on both sides."""
DISAPPOINTMENT = -0.005
"""What a chat that fails adds to the speaker's trust."""
SHARED_MEAL, LATE_HELP, TAKEOVER = (0.01, 0.025, 0.0), (0.02, 0.01, -0.2), (-0.03, 0.0, 0.3)
"""What other events add to trust, familiarity and rivalry, on both sides."""

FADE_TICKS, FADE_SHARE, FORGOTTEN = 50, 0.9, 0.001
"""Every so many ticks trust and familiarity keep this share; where |trust| + familiarity is less than the last, both
end."""

EDGES = ("other", "trust", "familiarity", "rivalry")
"""The arrays of `Relations` that are not made from others."""

_NEVER = -math.inf
"""In place of a rivalry where there is none."""


class Tie(NamedTuple):
    """What each of some agents keeps in mind of one other, [M] each; 0 where it does not know the other."""

    trust: Floats
    familiarity: Floats
    rivalry: Floats
    avoids: Bools
    """The other is to be avoided."""

    def part(self, rows: slice) -> Tie:
        """The same of some of the agents."""
        return Tie(self.trust[rows], self.familiarity[rows], self.rivalry[rows], self.avoids[rows])


class Relations:
    """The edges of all agents: row s holds, in no order, the others that the agent in slot s keeps in mind.

    A rivalry fades by the same amount every tick, so it is kept as the value that it would have had at tick 0, and
    ticks in which nothing happens change nothing: value(t) = max(rivalry - decay t, min_value).

    An agent keeps its `social.max_edges` closest others (by |trust| + familiarity) and its `rivalry.max_edges` worst
    rivals; of equals the lower slots stay. A row has room for both and one more.
    """

    def __init__(self, config: TownConfig, num_slots: int) -> None:
        self._rules = config.rivalry
        self._max_close = config.social.max_edges
        self._fading = config.rivalry.min_value < config.rivalry.eviction_threshold
        self._width = config.social.max_edges + config.rivalry.max_edges + 1
        shape = (num_slots, self._width)
        self.other: Ints = np.full(shape, -1)
        """[S, E]; slot of the other, -1 for no edge."""
        self.trust: Floats = np.zeros(shape)
        """[S, E]; -1 to 1."""
        self.familiarity: Floats = np.zeros(shape)
        """[S, E]; 0 to 1."""
        self.rivalry: Floats = np.full(shape, _NEVER)
        """[S, E]; as if at tick 0; -inf for none."""
        self.avoid_from: Floats = np.full(num_slots, config.rivalry.avoid_threshold)
        """[S]; rivalry from which on the agent avoids another."""
        self._holders = np.arange(num_slots).repeat(self._width)
        self._next_end = math.inf
        self._count()
        self.refresh(0)

    def clear(self) -> None:
        """Nobody knows anybody."""
        self.other.fill(-1)
        self.trust.fill(0.0)
        self.familiarity.fill(0.0)
        self.rivalry.fill(_NEVER)
        self._count()

    def restore(self, edges: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `EDGES` names, all of the present shapes."""
        vars(self).update(edges)
        self._count()

    def bond(self, agents: Ints, others: Ints, change: tuple[float, float, float], *, tick: int) -> None:
        """Add `change` of trust, familiarity and rivalry to what `agents` [M] and `others` [M] keep in mind of each
        other."""
        trust, familiarity, rivalry = change
        both, opposite = np.concatenate((agents, others)), np.concatenate((others, agents))
        self.befriend(both, opposite, np.full(len(both), trust), np.full(len(both), familiarity))
        if rivalry > 0.0:
            self.embitter(both, opposite, np.full(len(both), rivalry), tick=tick)
        elif rivalry < 0.0:
            self._soothe(both, opposite, rivalry, tick=tick)

    def befriend(self, agents: Ints, others: Ints, trust: Floats, familiarity: Floats) -> None:
        """Add to the trust [M], and familiarity [M] of at least 0, of agents towards others, in the order given.

        Args:
            agents: [M] slots; may repeat.
            others: [M] slots, of the same worlds, never the agent itself.
            trust: what is added.
            familiarity: what is added.
        """
        all_trust, all_familiarity = self.trust.reshape(-1), self.familiarity.reshape(-1)
        self._warmth_changed = True
        for now in _rounds(agents):
            at = self._edges(agents[now], others[now])
            trusted, known = all_trust[at], all_familiarity[at]
            all_trust[at] = np.minimum(np.maximum(trusted + trust[now], -1.0), 1.0)
            all_familiarity[at] = np.minimum(known + familiarity[now], 1.0)
            if np.count_nonzero(known) < len(known):
                new = agents[now][(known == 0.0) & (trusted == 0.0)]
                self._num_close[new] += 1
                self._drop_farthest(new[self._num_close[new] > self._max_close])

    def embitter(self, agents: Ints, others: Ints, more: Floats, *, tick: int) -> None:
        """Add `more` [M], above 0, to the rivalries of `agents` [M] towards `others` [M], in the order given."""
        rules, flat, faded = self._rules, self.rivalry.reshape(-1), self._rules.decay_per_tick * tick
        self._changed = True
        for now in _rounds(agents):
            at = self._edges(agents[now], others[now])
            before = flat[at]
            after = np.maximum(self.faded(before, faded) + more[now], rules.min_value)
            flat[at] = np.minimum(after, rules.max_value) + faded
            new = agents[now][before == _NEVER]
            if new.size:
                self._num_rivals[new] += 1
                self._drop_mildest(new[self._num_rivals[new] > rules.max_edges])

    def _soothe(self, agents: Ints, others: Ints, less: float, *, tick: int) -> None:
        """Add `less`, below 0, to rivalries that there are; nobody becomes a rival by being forgiven."""
        flat, faded = self.rivalry.reshape(-1), self._rules.decay_per_tick * tick
        self._changed = True
        for now in _rounds(agents):
            at, knows = self._find(agents[now], others[now])
            at = at[knows & (flat[at] > _NEVER)]
            flat[at] = np.maximum(self.faded(flat[at], faded) + less, self._rules.min_value) + faded

    def _find(self, agents: Ints, others: Ints) -> tuple[Ints, Bools]:
        """[M]; the edges of `agents` [M] towards `others` [M], numbered row after row, and whether they exist."""
        at = agents * self._width + (self.other.take(agents, axis=0) == others[:, None]).argmax(axis=1)
        return at, self.other.reshape(-1)[at] == others

    def _edges(self, agents: Ints, others: Ints) -> Ints:
        """[M]; the same for distinct agents; missing edges are made. Whoever asks puts something on them."""
        at, knows = self._find(agents, others)
        strangers = (~knows).nonzero()[0]
        if strangers.size:
            agents = agents[strangers]
            at[strangers] = agents * self._width + (self.other.take(agents, axis=0) < 0).argmax(axis=1)
            self.other.reshape(-1)[at] = others
            self._changed = True
        return at

    def _drop_farthest(self, agents: Ints) -> None:
        """Let each of distinct `agents` [M] forget how close it is to the one that is the least close."""
        if not agents.size:
            return
        closeness = np.abs(self.trust.take(agents, axis=0)) + self.familiarity.take(agents, axis=0)
        at = self._weakest(agents, np.where(closeness > 0.0, closeness, np.inf))
        self.trust.reshape(-1)[at] = self.familiarity.reshape(-1)[at] = 0.0
        self._num_close[agents] -= 1
        self._free(at)

    def _drop_mildest(self, agents: Ints) -> None:
        """Let each of distinct `agents` [M] forget its mildest rivalry."""
        if not agents.size:
            return
        rivalry = self.rivalry.take(agents, axis=0)
        at = self._weakest(agents, np.where(rivalry > _NEVER, rivalry, np.inf))
        self.rivalry.reshape(-1)[at] = _NEVER
        self._num_rivals[agents] -= 1
        self._free(at)

    def _weakest(self, agents: Ints, strength: Floats) -> Ints:
        """[M]; each agent's edge of the least `strength` [M, E]; of equals that to the highest slot."""
        least = strength == strength.min(axis=1)[:, None]
        at: Ints = agents * self._width + np.where(least, self.other.take(agents, axis=0), -1).argmax(axis=1)
        return at

    def _free(self, at: Ints) -> None:
        """Free those of the edges `at` [M] that have nothing on them."""
        empty = (self.trust.reshape(-1)[at] == 0.0) & (self.familiarity.reshape(-1)[at] == 0.0)
        empty &= self.rivalry.reshape(-1)[at] == _NEVER
        self.other.reshape(-1)[at[empty]] = -1
        self._changed = True

    def fade(self) -> None:
        """Let trust and familiarity fade."""
        self.trust *= FADE_SHARE
        self.familiarity *= FADE_SHARE
        gone = np.abs(self.trust) + self.familiarity < FORGOTTEN
        self.trust[gone] = self.familiarity[gone] = 0.0
        self._free(self._present_edges())
        self._count()

    def _present_edges(self) -> Ints:
        return (self.other.reshape(-1) >= 0).nonzero()[0]

    def _count(self) -> None:
        self._num_close = np.count_nonzero((self.trust != 0.0) | (self.familiarity != 0.0), axis=1)
        self._num_rivals = np.count_nonzero(self.rivalry > _NEVER, axis=1)
        self._changed = True

    def faded(self, rivalry: Floats, faded: float) -> Floats:
        """Values of rivalries that are given as if at tick 0; `faded` is what a rivalry has lost since then."""
        if self._rules.min_value == 0.0:
            return np.maximum(rivalry - faded, 0.0)
        return np.where(rivalry == _NEVER, 0.0, np.maximum(rivalry - faded, self._rules.min_value))

    def refresh(self, tick: int) -> None:
        """Forget rivalries that have faded away, and see anew who is whose rival, as of `tick`."""
        self.faded_by = faded = self._rules.decay_per_tick * tick
        """What a rivalry has lost since tick 0."""
        if self._changed or faded > self._next_end:
            self._look(faded)
        elif self._warmth_changed:
            self._feel()

    def _look(self, faded: float) -> None:
        edges = self._present_edges()
        rivalry = self.rivalry.reshape(-1)[edges]
        if self._fading:
            over = edges[(rivalry > _NEVER) & (rivalry - self._rules.eviction_threshold < faded)]
            if over.size:
                self.rivalry.reshape(-1)[over] = _NEVER
                self._num_rivals -= np.bincount(self._holders[over], minlength=len(self.other))
                self._free(over)
                edges = self._present_edges()
                rivalry = self.rivalry.reshape(-1)[edges]
        self._present, self.rivalry_of = edges, rivalry
        """[P]; rivalries one by one, as if at tick 0."""
        self.holder, self.target = self._holders[edges], self.other.reshape(-1)[edges]
        """[P] each; whose edge, and towards whom."""
        self._feel()
        margin = self._margin(rivalry, self.holder)
        self.avoided = margin >= faded
        """[P]; the target is to be avoided."""
        self.avoiding, self.rival = self.holder[self.avoided], self.target[self.avoided]
        """[Q] each; those edges one by one."""
        self.num_avoided = np.bincount(self.avoiding, minlength=len(self.other))
        """[S]; others that each agent avoids."""
        self.strongest = self.rivalry.max(axis=1)
        """[S]; strongest rivalry of each agent, as if at tick 0."""
        ends = margin[self.avoided]
        if self._fading:
            ends = np.concatenate((ends, rivalry[rivalry > _NEVER] - self._rules.eviction_threshold))
        self._next_end = float(ends.min(initial=math.inf))
        self._changed = False

    def _feel(self) -> None:
        self._warmth_changed = False
        self.warmth = self.trust.reshape(-1)[self._present] + self.familiarity.reshape(-1)[self._present]
        """[P]; trust + familiarity."""

    def _margin(self, rivalry: Floats, agents: Ints) -> Floats:
        """What rivalries may lose since tick 0 until the other is avoided no longer."""
        threshold = self.avoid_from[agents]
        margin = rivalry - threshold
        if self._rules.min_value > 0.0:
            margin[(rivalry > _NEVER) & (threshold <= self._rules.min_value)] = math.inf
        return margin

    def rivalry_max(self) -> Floats:
        """[S]; strongest rivalry of each agent at the tick of the last refresh, 0 for none."""
        return self.faded(self.strongest, self.faded_by)

    def towards(self, agents: Ints, others: Ints) -> Tie:
        """What each of `agents` [M] keeps in mind of the one of `others` [M], as of the last refresh's tick."""
        at, knows = self._find(agents, others)
        rivalry = np.where(knows, self.rivalry.reshape(-1)[at], _NEVER)
        return Tie(
            trust=self.trust.reshape(-1)[at] * knows,
            familiarity=self.familiarity.reshape(-1)[at] * knows,
            rivalry=self.faded(rivalry, self.faded_by),
            avoids=self._margin(rivalry, agents) >= self.faded_by,
        )


def _rounds(agents: Ints) -> Iterator[Ints | slice]:
    """Split the positions of `agents` [M] into rounds in which nobody occurs twice, everybody's in order."""
    if len(set(agents.tolist())) == len(agents):
        yield slice(None)
        return
    left = np.arange(len(agents))
    while left.size:
        first = np.unique(agents[left], return_index=True)[1]
        yield left[first]
        left = np.delete(left, first)

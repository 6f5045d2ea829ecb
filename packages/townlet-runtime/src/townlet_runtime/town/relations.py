"""Relations of agents: trust, familiarity and rivalry towards a few others each, as sparse edges."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
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
"""Every so many ticks trust and familiarity keep this share; both end where |trust| + familiarity is below the last."""

EDGES = ("other", "trust", "familiarity", "rivalry")
"""The arrays of `Relations` that are not made from others."""

SHUNNED = np.array(-10.0)
"""Added to the score of a partner that is to be avoided: below all others."""

_NEVER = -math.inf
"""In place of a rivalry where there is none."""


class Tie(NamedTuple):
    """Relations of some agents to one other each, [M]; 0 where an agent does not know the other."""

    trust: Floats
    familiarity: Floats
    rivalry: Floats
    avoids: Bools
    """The other is to be avoided."""

    def part(self, rows: slice) -> Tie:
        """The same of some of the agents."""
        return Tie(self.trust[rows], self.familiarity[rows], self.rivalry[rows], self.avoids[rows])


_After = Callable[[list[Floats], Ints | slice], list[Floats]]
"""Gives the new columns, [m] each, from the present ones and the rows [m] of the changes that they are of."""


class _Feeling(NamedTuple):
    """A kind of feeling of agents towards others."""

    columns: tuple[str, ...]
    """Arrays of `Relations` that hold it."""
    blank: float
    """Their value, and the strength, where there is none."""
    strength: Callable[..., Floats]
    """Of the columns."""
    most: int
    """Others that an agent has it for."""


class _Change(NamedTuple):
    """Changes of one kind of feeling, one after the other; `columns` are flat, `agents` [M] may repeat."""

    kind: _Feeling
    columns: list[Floats]
    agents: Ints
    others: Ints
    after: _After


class Relations:
    """The edges of all agents: row s holds, in no order, the others that the agent in slot s keeps in mind.

    A rivalry fades by the same amount every tick, so it is kept as the value that it would have had at tick 0, and
    ticks in which nothing happens change nothing: value(t) = max(rivalry - decay t, min_value).

    An agent keeps its `social.max_edges` closest others (by |trust| + familiarity) and its `rivalry.max_edges` worst
    rivals; of equals the lower slots stay. A row has room for both and one more.
    """

    def __init__(self, config: TownConfig, num_slots: int) -> None:
        self._rules = config.rivalry
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
        self._close = _Feeling(("trust", "familiarity"), 0.0, lambda t, f: np.abs(t) + f, config.social.max_edges)
        self._bitter = _Feeling(("rivalry",), _NEVER, lambda rivalry: rivalry, config.rivalry.max_edges)
        self._changed = self._warmth_changed = True
        self.refresh(0)

    def clear(self) -> None:
        """Delete all edges."""
        self.other.fill(-1)
        self.trust.fill(0.0)
        self.familiarity.fill(0.0)
        self.rivalry.fill(_NEVER)
        self._changed = True

    def restore(self, edges: Mapping[str, NDArray[Any]]) -> None:
        """Take over the arrays that `EDGES` names, all of the present shapes."""
        vars(self).update(edges)
        self._changed = True

    def bond(self, agents: Ints, others: Ints, change: tuple[float, float, float], *, tick: int) -> None:
        """Change the feelings of `agents` and `others` towards each other.

        Args:
            agents: [M] slots.
            others: [M] slots, of the same worlds.
            change: of trust, familiarity and rivalry, the same for all; below 0 only existing rivalries change.
            tick: since the episode began.
        """
        trust, familiarity, rivalry = change
        both, opposite = np.concatenate((agents, others)), np.concatenate((others, agents))
        self.befriend(both, opposite, np.full(len(both), trust), np.full(len(both), familiarity))
        if rivalry < 0.0:
            at, knows = self._find(both, opposite)
            known = knows & (self.rivalry.reshape(-1)[at] > _NEVER)
            both, opposite = both[known], opposite[known]
        if rivalry and both.size:
            self.embitter(both, opposite, np.full(len(both), rivalry), tick=tick)

    def befriend(self, agents: Ints, others: Ints, trust: Floats, familiarity: Floats) -> None:
        """Add to the trust and familiarity of agents towards others, in the order given.

        Args:
            agents: [M] slots; may repeat.
            others: [M] slots, of the same worlds, never the agent itself.
            trust: [M]; added.
            familiarity: [M]; added, at least 0.
        """

        def after(before: list[Floats], rows: Ints | slice) -> list[Floats]:
            trusted, known = before[0] + trust[rows], before[1] + familiarity[rows]
            return [np.minimum(np.maximum(trusted, -1.0), 1.0), np.minimum(known, 1.0)]

        self._warmth_changed = True
        self._change(self._close, agents, others, after)

    def embitter(self, agents: Ints, others: Ints, more: Floats, *, tick: int) -> None:
        """Add to the rivalries of agents towards others, in the order given.

        Args:
            agents: [M] slots; may repeat.
            others: [M] slots, of the same worlds, never the agent itself.
            more: [M]; added, not 0. Below 0 only where there is a rivalry.
            tick: since the episode began.
        """
        rules, faded = self._rules, self._rules.decay_per_tick * tick

        def after(before: list[Floats], rows: Ints | slice) -> list[Floats]:
            value = np.maximum(self.faded(before[0], faded) + more[rows], rules.min_value)
            return [np.minimum(value, rules.max_value) + faded]

        self._changed = True
        self._change(self._bitter, agents, others, after)

    def _change(self, kind: _Feeling, agents: Ints, others: Ints, after: _After) -> None:
        """Change feelings one after the other, and let every agent forget the weakest whenever it has too many.

        Agents that occur once are changed together. Those that recur are changed in steps, each as long as the order
        within it does not matter: of one agent first changes of feelings that there are, towards different others, then
        new ones, of which the strongest stay in the end. So there are as many steps as an agent's known others recur,
        which the number of agents does not raise.
        """
        change = _Change(kind, [vars(self)[name].reshape(-1) for name in kind.columns], agents, others, after)
        rows: Ints | slice = slice(None)
        later = agents[:0]
        if len(set(agents.tolist())) < len(agents):
            recurs = np.bincount(agents).take(agents) > 1
            rows, later = (~recurs).nonzero()[0], recurs.nonzero()[0]
            later = later[agents[later].argsort(kind="stable")]
        self._change_once(change, rows)
        while later.size:
            later = self._change_step(change, later)

    def _change_once(self, change: _Change, rows: Ints | slice) -> None:
        """Make the changes `rows` [m], all of different agents."""
        kind, columns, agents = change.kind, change.columns, change.agents[rows]
        at = self._edges(agents, change.others[rows])
        before = [column[at] for column in columns]
        values = change.after(before, rows)
        for column, value in zip(columns, values, strict=True):
            column[at] = value
        if np.count_nonzero(kind.strength(*values)) < len(at):
            self._free(at)
        new = (kind.strength(*before) == kind.blank).nonzero()[0]
        if not new.size:
            return
        # Each has at most one too many, for which its row has room.
        agents = agents[new]
        held = kind.strength(*[column.reshape(self.other.shape).take(agents, axis=0) for column in columns])
        has = held > kind.blank
        full = (np.add.reduce(has, axis=1) > kind.most).nonzero()[0]
        if full.size:
            held, agents = np.where(has, held, np.inf)[full], agents[full]
            weakest = held == np.minimum.reduce(held, axis=1)[:, None]
            at = agents * self._width + np.where(weakest, self.other.take(agents, axis=0), -1).argmax(axis=1)
            for column in columns:
                column[at] = kind.blank
            self._free(at)

    def _change_step(self, change: _Change, rows: Ints) -> Ints:
        """Make those of the changes `rows` [m], by ascending agent, that can be made together; return the others."""
        kind, columns, who, whom = change.kind, change.columns, change.agents[rows], change.others[rows]
        at, there = self._find(who, whom)
        before = [np.where(there, column[at], kind.blank) for column in columns]
        known = kind.strength(*before) > kind.blank
        now = _first_step(who, whom, known)
        later, rows, at, who, whom, known = rows[~now], rows[now], at[now], who[now], whom[now], known[now]
        values = change.after([column[now] for column in before], rows)
        strength = kind.strength(*values)
        changed = at[known]
        for column, value in zip(columns, values, strict=True):
            column[changed] = value[known]
        if np.count_nonzero(strength) < len(strength):
            self._free(changed)
        new = (~known).nonzero()[0]
        if new.size:
            kept, forgotten = self._strongest(kind, who[new], whom[new], strength[new])
            if forgotten.size:
                for column in columns:
                    column[forgotten] = kind.blank
                self._free(forgotten)
            new = new[kept]
            place = self._edges(who[new], whom[new])
            for column, value in zip(columns, values, strict=True):
                column[place] = value[new]
        return later

    def _strongest(self, kind: _Feeling, agents: Ints, others: Ints, strength: Floats) -> tuple[Bools, Ints]:
        """Find the strongest feelings of ascending `agents` [M] among those that they have and new ones.

        Of equals the lower slots stay; `others` [M] and `strength` [M] are of the new ones. Returns which of the new
        ones stay, [M], and the edges whose feeling goes, [D].
        """
        starts = np.ones(len(agents), dtype=np.bool_)
        np.not_equal(agents[1:], agents[:-1], out=starts[1:])
        holders, group = agents[starts], starts.cumsum() - 1
        held = kind.strength(*(vars(self)[name].take(holders, axis=0) for name in kind.columns))
        row, edge = (held > kind.blank).nonzero()
        stays = strength > kind.blank
        if (np.bincount(row, minlength=len(holders)) + np.bincount(group)).max() <= kind.most:
            return stays, agents[:0]
        groups = np.concatenate((row, group))
        rival_slots = np.concatenate((self.other[holders[row], edge], others))
        order = np.lexsort((rival_slots, -np.concatenate((held[row, edge], strength)), groups))
        among = np.empty(len(order), dtype=np.bool_)
        among[order] = _rank(groups[order]) < kind.most
        return stays & among[len(row) :], (holders[row] * self._width + edge)[~among[: len(row)]]

    def _find(self, agents: Ints, others: Ints) -> tuple[Ints, Bools]:
        """[M]; the edges of `agents` [M] towards `others` [M], numbered row after row, and whether they exist."""
        at = agents * self._width + (self.other.take(agents, axis=0) == others[:, None]).argmax(axis=1)
        return at, self.other.reshape(-1)[at] == others

    def _edges(self, agents: Ints, others: Ints) -> Ints:
        """[M]; the same for different pairs of `agents`, ascending or all different; missing edges are made."""
        at, knows = self._find(agents, others)
        strangers = (~knows).nonzero()[0]
        if strangers.size:
            agents = agents[strangers]
            free = self.other.take(agents, axis=0) < 0
            if np.count_nonzero(agents[1:] == agents[:-1]):
                free = free.cumsum(axis=1) == _rank(agents)[:, None] + 1
            at[strangers] = agents * self._width + free.argmax(axis=1)
            self.other.reshape(-1)[at] = others
            self._changed = True
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
        self._free((self.other.reshape(-1) >= 0).nonzero()[0])

    def faded(self, rivalry: Floats, faded: float) -> Floats:
        """Values of rivalries that are given as if at tick 0; `faded` is what a rivalry has lost since then."""
        if self._rules.min_value == 0.0:
            return np.maximum(rivalry - faded, 0.0)
        return np.where(rivalry == _NEVER, 0.0, np.maximum(rivalry - faded, self._rules.min_value))

    def refresh(self, tick: int) -> None:
        """Delete rivalries that have faded away, and update `avoiding` and all other derived arrays to `tick`."""
        self.faded_by = faded = self._rules.decay_per_tick * tick
        """Loss of a rivalry since tick 0."""
        if self._changed or faded > self._next_end:
            self._look(faded)
        if self._warmth_changed:
            self._warmth_changed = False
            self.warmth = self.trust.reshape(-1)[self._present] + self.familiarity.reshape(-1)[self._present]
            """[P]; trust + familiarity."""

    def _look(self, faded: float) -> None:
        edges = (self.other.reshape(-1) >= 0).nonzero()[0]
        rivalry = self.rivalry.reshape(-1)[edges]
        if self._fading:
            over = edges[(rivalry > _NEVER) & (rivalry - self._rules.eviction_threshold < faded)]
            if over.size:
                self.rivalry.reshape(-1)[over] = _NEVER
                self._free(over)
                edges = (self.other.reshape(-1) >= 0).nonzero()[0]
                rivalry = self.rivalry.reshape(-1)[edges]
        self._present, self.rivalry_of = edges, rivalry
        """[P]; rivalries one by one, as if at tick 0."""
        self.holder, self.target = self._holders[edges], self.other.reshape(-1)[edges]
        """[P] each; whose edge, and towards whom."""
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
        self._changed, self._warmth_changed = False, True

    def _margin(self, rivalry: Floats, agents: Ints) -> Floats:
        """Loss since tick 0 at which rivalries end to make an agent avoid the other."""
        threshold = self.avoid_from[agents]
        margin = rivalry - threshold
        if self._rules.min_value > 0.0:
            margin[(rivalry > _NEVER) & (threshold <= self._rules.min_value)] = math.inf
        return margin

    def rivalry_max(self) -> Floats:
        """[S]; strongest rivalry of each agent at the tick of the last refresh, 0 for none."""
        return self.faded(self.strongest, self.faded_by)

    def meets(self, cells: Ints) -> Bools:
        """[S]; somebody to avoid is on the same one of `cells` [S]."""
        meets = np.zeros(len(cells), dtype=np.bool_)
        if self.avoiding.size:
            meets[self.avoiding[cells[self.avoiding] == cells[self.rival]]] = True
        return meets

    def towards(self, agents: Ints, others: Ints) -> Tie:
        """Return the relations of `agents` [M] to `others` [M], as of the last refresh's tick."""
        at, knows = self._find(agents, others)
        rivalry = np.where(knows, self.rivalry.reshape(-1)[at], _NEVER)
        return Tie(
            trust=self.trust.reshape(-1)[at] * knows,
            familiarity=self.familiarity.reshape(-1)[at] * knows,
            rivalry=self.faded(rivalry, self.faded_by),
            avoids=self._margin(rivalry, agents) >= self.faded_by,
        )


def _rank(values: Ints) -> Ints:
    """Count, for each of ascending `values` [M], the equal ones before it: `[3, 3, 7]` gives `[0, 1, 0]`."""
    rank: Ints = np.arange(len(values)) - np.searchsorted(values, values)
    return rank


def _first_step(agents: Ints, others: Ints, known: Bools) -> Bools:
    """Find the changes that can be made together, [M], of ascending `agents` [M], the changes of each in their order.

    They are of each agent the first ones, up to one of a known other (`known` [M]: there is something to change) after
    an unknown one, or of an other once more.
    """
    start = np.searchsorted(agents, agents)
    new = (~known).cumsum()
    late = known & (new > new[start] - ~known[start])
    pairs = agents * (1 + others.max()) + others
    order = pairs.argsort(kind="stable")
    late[order[1:]] |= pairs[order[1:]] == pairs[order[:-1]]
    until = late.cumsum()
    first: Bools = until == until[start] - late[start]
    return first

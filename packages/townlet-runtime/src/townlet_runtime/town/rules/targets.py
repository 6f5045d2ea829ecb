"""Targets of requests, and legal actions."""

from __future__ import annotations

import numpy as np

from townlet_runtime.town.actions import DIRECTIONS, NUM_KNOWN, SELECTORS, TABLE, ActionTable
from townlet_runtime.town.arrays import Bools, Ints, of_worlds, rows_of
from townlet_runtime.town.config import TownConfig
from townlet_runtime.town.place import Place
from townlet_runtime.town.state import HOLDS_TURN, USING, Targets, TownState

_START, _RELEASE = TABLE.index("start"), TABLE.index("release")
_WORK, _CHAT = TABLE.index("go_to:workplace"), TABLE.index("chat")
_WAYS = len(SELECTORS)
_FIRST, _NEAREST = range(2)
_BARRED = 1 << 60
"""Above every sort key of a usable object."""


class TargetResolver:
    """Finds the first, nearest and least busy usable object of every type for every agent.

    Usable: its stock is not empty (fridges, stoves) and the agent can pay. Equals go to the fewer steps, then to the
    lower index. An agent that stands in line, holds a turn or uses an object means that object whatever the way.
    """

    def __init__(self, config: TownConfig, place: Place) -> None:
        self._place = place
        count, grid, actions = place.num_objects, place.grid, place.actions
        # A sort key per object: agents at it, then steps to it, then its index as the last digits; least is best.
        unit = 1 << count.bit_length()
        self._digits = np.array(unit - 1)
        self._load_unit = np.array(unit << place.farthest.bit_length())
        inner, x, y = grid.inner()
        steps = np.abs(x[:, None] - place.local_x) + np.abs(y[:, None] - place.local_y)
        cells = int(grid.own.max()) + 1
        self._steps_key = np.zeros((cells, count), dtype=np.int64)
        self._steps_key[inner] = steps * unit + np.arange(count)
        self._legal_on = np.zeros((cells, len(actions.vocabulary)), dtype=np.bool_)
        self._legal_on[:, actions.vocabulary.wait] = True
        self._legal_on[:, actions.request_of] = np.isin(np.arange(actions.num_targets) // _WAYS, place.present)
        for action, (dx, dy) in enumerate(DIRECTIONS.values(), start=actions.moves.start):
            to_x, to_y = x + dx, y + dy
            self._legal_on[inner, action] = (to_x >= 0) & (to_x < grid.width) & (to_y >= 0) & (to_y < grid.height)
        self._num_slots = place.num_worlds * config.population
        self._rows = np.arange(self._num_slots) * len(actions.vocabulary)
        self._while_using = _while_using(actions)
        self._dearest = np.array(place.cost_present.max())
        self._kinds: Ints | slice = slice(None) if len(place.present) == len(actions.types) else place.present
        self._stock_seen: bytes | None = None
        self._barred: Ints | None = None
        self._first = np.empty((place.num_worlds, len(place.present)), dtype=np.int64)
        self._kind_is_out = False
        self._spot_cell = grid.own.take(grid.spots)
        # Absent agents, at the last spot, stand for nothing: any world will do.
        self._spot_world = np.append(np.arange(place.num_worlds).repeat(grid.width * grid.height), 0)

    def resolve(self, state: TownState) -> Targets:
        """Find the targets of a state in which the agents at each object are counted."""
        place = self._place
        own_cell = place.grid.own.take(state.cell)
        meant = np.empty(self._num_slots * place.actions.num_targets + 1, dtype=np.int64)
        meant[-1] = place.num_objects
        some_unusable, busy = self._choose(state, own_cell, None, meant[:-1])
        return Targets(place=place, own_cell=own_cell, meant=meant, some_unusable=some_unusable, busy=busy)

    def resolve_for(self, state: TownState, slots: Ints) -> tuple[Ints, Ints]:
        """Return `Targets.own_cell` [N] and `Targets.local` [N, T] of the agents in `slots` [N] alone."""
        own_cell = self._place.grid.own.take(state.cell[slots])
        local = np.empty((len(slots), self._place.actions.num_targets), dtype=np.int64)
        self._choose(state, own_cell, slots, local.reshape(-1))
        return own_cell, local

    def _choose(self, state: TownState, own_cell: Ints, slots: Ints | None, meant: Ints) -> tuple[bool, Ints]:
        """Write the object that each target means to each agent.

        Args:
            state: of all worlds.
            own_cell: [N]; of the agents.
            slots: [N]; of the agents; None: all.
            meant: [N * T], written.

        Returns:
            Whether some object is unusable for somebody; [B], the rows of busy agents.
        """
        place, grid = self._place, self._place.grid
        stock = state.stock.tobytes()
        if stock != self._stock_seen:
            self._look_at_stocks(state, stock)
        by_kind = meant.reshape(len(own_cell), len(place.actions.types), _WAYS)
        if grid.is_crowded and slots is None:
            chosen = np.empty((len(grid.spots), *by_kind.shape[1:]), dtype=np.int64)
            self._choose_by_rule(state, self._spot_cell, self._spot_world, chosen)
            chosen.take(grid.spot_of.take(state.cell), axis=0, out=by_kind, mode="clip")
        else:
            self._choose_by_rule(state, own_cell, rows_of(place.world_of_slot, slots), by_kind)
        wallet = rows_of(state.wallet, slots)
        poor = (wallet < self._dearest).nonzero()[0]
        if poor.size:
            some, kinds = (wallet[poor][:, None] < place.cost_present).nonzero()
            by_kind[poor[some], place.present[kinds]] = place.num_objects
        busy = rows_of(state.phase, slots).nonzero()[0]
        if busy.size:
            objects = rows_of(state.object, slots)[busy]
            by_kind[busy, place.object_type[objects]] = place.object_index[objects][:, None]
        return self._kind_is_out or poor.size > 0, busy

    def _choose_by_rule(self, state: TownState, own_cell: Ints, worlds: Ints, chosen: Ints) -> None:
        """Write the first, nearest and least busy object of each type, seen from cells [N] of worlds [N], to `chosen`
        [N, K, 3]."""
        place = self._place
        keys = np.empty((2, len(own_cell), place.num_objects), dtype=np.int64)
        # Nothing is out of range; `clip` writes in place, where the default makes a copy first.
        self._steps_key.take(own_cell, axis=0, out=keys[0], mode="clip")
        if self._barred is not None:
            keys[0] += of_worlds(self._barred, worlds)
        load = (state.load[:-1] * self._load_unit).reshape(place.num_worlds, -1)
        np.add(keys[0], of_worlds(load, worlds), out=keys[1])
        best = np.minimum.reduceat(keys, place.segments, axis=2)
        if len(place.present) < len(place.actions.types):
            chosen[...] = place.num_objects
        chosen[:, self._kinds, _FIRST] = of_worlds(self._first, worlds)
        chosen[:, self._kinds, _NEAREST:] = (best & self._digits).transpose(1, 2, 0)
        if self._kind_is_out:
            agents, kinds = (best[0] >= _BARRED).nonzero()
            chosen[agents, place.present[kinds]] = place.num_objects

    def _look_at_stocks(self, state: TownState, stock: bytes) -> None:
        """Find the objects that are out of stock, and the first of each type that is not."""
        place = self._place
        self._stock_seen = stock
        barred = ((state.stock[:-1] <= 0) & place.needs_stock).reshape(place.num_worlds, -1) * _BARRED
        first = np.minimum.reduceat(place.object_index[:-1].reshape(barred.shape) + barred, place.segments, axis=1)
        out = first >= _BARRED
        self._kind_is_out = bool(np.count_nonzero(out))
        self._first = np.where(out, place.num_objects, first)
        self._barred = barred if np.count_nonzero(barred) else None

    def may_chat(self, state: TownState, num_others: Ints) -> Bools:
        """Return the column `chat` of `legal_actions` alone, [S]."""
        if not self._place.knows_chats:
            return np.zeros(self._num_slots, dtype=np.bool_)
        may: Bools = (num_others > 0) & (state.chat_ready_at <= state.tick)
        may &= state.phase != USING
        return may

    def legal_actions(self, state: TownState, targets: Targets, num_others: Ints) -> Bools:
        """Return the legal actions: `wait` always; walking within the grid and not while using an object; `request`
        where its object exists (while using: only of that type, which goes on); `start` with a turn; `release` with an
        object; `go_to:workplace` with a job; `chat` where there are others on the cell, the last chat is
        long enough ago, and not while using an object.

        Args:
            state: of all worlds.
            targets: of this state.
            num_others: [S]; other agents on the cell.

        Returns:
            [S, A].
        """
        place = self._place
        mask = self._legal_on.take(targets.own_cell, axis=0)
        if targets.some_unusable:
            # A plain object is always usable.
            np.less(targets.local[:, :NUM_KNOWN], place.count, out=mask[:, TABLE.requests])
        mask[:, _WORK] = state.job >= 0
        if place.knows_chats:
            np.logical_and(num_others, state.chat_ready_at <= state.tick, out=mask[:, _CHAT])
        busy = targets.busy
        if busy.size:
            phase = state.phase[busy]
            rows, flat = self._rows[busy], mask.reshape(-1)
            flat[rows + _START] = phase >= HOLDS_TURN
            flat[rows + _RELEASE] = True
            using = busy[phase == USING]
            if using.size:
                mask[using] = self._while_using.take(place.object_type[state.object[using]], axis=0)
        return mask


def _while_using(actions: ActionTable) -> Bools:
    """[K, A]; what an agent may do while it uses an object of each type."""
    allowed = np.zeros((len(actions.types), len(actions.vocabulary)), dtype=np.bool_)
    allowed[:, [0, _START, _RELEASE]] = True
    allowed[np.arange(actions.num_targets) // _WAYS, actions.request_of] = True
    return allowed

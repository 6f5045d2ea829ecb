"""`ReplayStage` plays a record as a `Stage` plays a world; `ReplayDesk` does what people may ask of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from townlet_runtime.drawing.scene import Drawing, Scene, plain_scene
from townlet_runtime.live.answering import Answer, Answering, Person
from townlet_runtime.live.messages import Message
from townlet_runtime.live.player import Player, Snapshot
from townlet_runtime.live.record import Record, RecordHistory
from townlet_runtime.live.resimulation import Resimulation
from townlet_runtime.live.wire import finite, group_document
from townlet_trajectory import ACTION_MASK


class ReplayStage(Player):
    """Plays the ticks of a record.

    Args:
        record: of one world.
        world: its name.
        policy: digest of the policy that acted; None: none is known.
        picture: the world that was made again; None: agents stand in a plain grid.
        note: why there is no picture; empty where there is one.
        speed: ticks a second; None: as fast as it goes.
    """

    history: RecordHistory

    def __init__(
        self,
        record: Record,
        *,
        world: str,
        policy: str | None = None,
        picture: Resimulation | None = None,
        note: str = "",
        speed: float | None = 10.0,
    ) -> None:
        super().__init__(speed=speed, paused=False)
        self.record = record
        self.history = RecordHistory(record)
        self._world, self._digest = world, policy
        self._picture, self._note = picture, note
        self._plain = plain_scene(sum(each.capacity for each in record.groups.values()))
        self._places = {
            str(agent): index
            for index, each in enumerate(record.groups.values())
            for agent in each.batch.agent_ids.tolist()
            if index
        }

    @property
    def world(self) -> str:
        return self._world

    @property
    def has_script(self) -> bool:
        return any("script" in each.names.proposers for each in self.record.groups.values())

    @property
    def policy(self) -> str | None:
        return self._digest

    @property
    def kept(self) -> int | None:
        return None

    @property
    def span(self) -> dict[str, Any]:
        return {"first": self.record.first, "last": self.record.last, "note": self.note}

    @property
    def note(self) -> str:
        """Why the world is not drawn as it was; empty where it is."""
        return self._note if self._picture is None else self._picture.differs

    def group_documents(self) -> list[dict[str, Any]]:
        return [group_document(group, each.names) for group, each in self.record.groups.items()]

    def places_of_groups(self) -> dict[str, int]:
        return self._places

    def play(self) -> None:
        """Go on; at the end, from the beginning."""
        if self.history.tick >= self.record.last:
            self.call(lambda: self.seek(self.record.first))
        super().play()

    def seek(self, tick: int) -> int:
        """Go to a tick, the nearest that there is; returns it. For `call`."""
        place = min(max(tick, self.record.first), self.record.last)
        self.history.go_to(place)
        return place

    def advance(self) -> None:
        if self.history.tick >= self.record.last:
            self.pause()
            self.want()
            return
        self.history.go_to(self.history.tick + 1)

    def _publish(self) -> None:
        tick = self.history.tick
        seen = None if self._picture is None else self._picture.after(tick)
        scene, drawing = self._grid() if seen is None or seen.drawn is None else seen.drawn
        self._show(
            Snapshot(
                tick=tick,
                scene=scene,
                drawing=drawing,
                pixels=None if seen is None else seen.pixels,
                latest=self.history.latest(),
                points=self.history.points(),
                paused=self.paused,
                ratio=self.record.ratio_at(tick),
                ticks_per_s=self.measured_speed(),
            )
        )

    def _grid(self) -> tuple[Scene, Drawing]:
        """The agents of the tick, each in a cell of its own."""
        ids, cells, first, columns = [], [], 0, int(self._plain.width)
        for each in self.record.groups.values():
            rows = each.rows_at(self.history.tick)
            ids.append(each.ids_of(rows))
            cells.append(each.cells_of(rows) + first)
            first += each.capacity
        places = np.concatenate(cells)
        positions = np.stack([places % columns, places // columns], axis=1).astype(np.float32) + np.float32(0.5)
        return self._plain, Drawing(agent_ids=np.concatenate(ids), positions=positions)


class ReplayDesk(Answering):
    """Does what people ask of a record, which nobody can change.

    Args:
        stage: plays the record.
    """

    _stage: ReplayStage

    def __init__(self, stage: ReplayStage) -> None:
        others: Mapping[str, Answer] = {"seek": self._seek, "inspect": self._inspect}
        refusal = "this is a record of what has happened: it can be looked at, and not be changed"
        super().__init__(stage, others, refusal=refusal)

    @property
    def can(self) -> dict[str, bool]:
        """What is possible with a record."""
        possible = dict.fromkeys(("ratio", "possess", "reset", "again", "label", "teach", "swap"), False)
        return {**possible, "step": True, "seek": True}

    @property
    def lease_ticks(self) -> int:
        return 0

    async def renew_all(self, names: Collection[str]) -> None:
        """There is nothing to renew."""

    async def release_all(self, name: str) -> None:
        """There is nothing to release."""

    async def agent(self, agent_id: str, person: Person, tick: int | None = None) -> dict[str, Any]:
        """The inspector's message about an agent.

        Raises:
            SimulationError: if nothing is recorded of it at that tick.
        """
        return await self._asked(lambda: self._explained(agent_id, tick))

    def _explained(self, agent_id: str, tick: int | None) -> dict[str, Any]:
        at = self._stage.history.tick if tick is None else tick
        group, row = self._stage.record.find(agent_id, at)
        explained = group.explained(row)
        mask = group.batch.observations.get(ACTION_MASK)
        return finite(
            {
                "type": "agent",
                "id": agent_id,
                "tick": at,
                "explanation": explained.document(),
                "legal": None if mask is None else mask[row].astype(bool).tolist(),
                "why_illegal": {},
                "possessed_by": None,
                "lease_left": None,
                "reward": explained.reward,
                "terms": dict(explained.reward_terms),
            }
        )

    async def _seek(self, person: Person, message: Message) -> dict[str, Any]:
        return {"tick": await self._asked(lambda: self._stage.seek(message["tick"]))}

    async def _inspect(self, person: Person, message: Message) -> dict[str, Any]:
        person.inspects = message["agent"]
        return {}

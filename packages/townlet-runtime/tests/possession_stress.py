"""Many threads take agents over while the loop runs, and every input and every possession is accounted for.

`python packages/townlet-runtime/tests/possession_stress.py --seconds 600` runs it for ten minutes and prints JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Event, Lock

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from strategies import LOWEST, LinearPolicy, bridge_config, log_softmax

from townlet_behavior import BatchController, DecisionBatch, EndReason, PossessionError, StatelessController, Ticket
from townlet_runtime.core.loop import BatchLoop
from townlet_runtime.core.runtime import BatchRuntime
from townlet_runtime.simulation.interface import Observations, Observed
from townlet_runtime.testing import Corridor, CorridorConfig

PLACES, NUM_WORLDS, NUM_PEOPLE = 4, 3, 4
POSSESSED_PLACES = 2
"""Agents of the places from here on are never taken over."""
SWEEP = 500
"""Operations after which a person looks at its tickets."""


class Witness(StatelessController):
    """A script that notes what was decided: of agents that people never touch a digest, of the others what was fed."""

    def __init__(self, script: BatchController) -> None:
        self.script = script
        self.ticks = 0
        self.digests = array("Q")
        """By tick, of every column of all decisions so far."""
        self.fed: dict[tuple[int, int], tuple[int, bool]] = {}
        """By tick and slot, the input and whether it was vetoed, until its ticket is found."""
        self._digest = hashlib.blake2b(digest_size=8)

    def propose(self, view: Observed) -> NDArray[np.int64]:
        return self.script.propose(view)

    def settled(self, view: Observed, decisions: DecisionBatch) -> None:
        others = view.slots % PLACES >= POSSESSED_PLACES
        for column in (view.slots, view.keys, *decisions.columns().values()):
            self._digest.update(column[others].tobytes())
        self.digests.append(int.from_bytes(self._digest.digest(), "big"))
        for row in np.flatnonzero(decisions.demonstrated | (decisions.possessed & decisions.vetoed)).tolist():
            what = int(decisions.chosen_action[row]), bool(decisions.vetoed[row])
            self.fed[self.ticks, int(view.slots[row])] = what
        self.ticks += 1


class RowByRow(LinearPolicy):
    """The same numbers for an agent whoever else is there: a matrix product rounds by the size of the batch."""

    def act(
        self, observations: Observations, action_mask: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        features = observations["features"].T[:, :, np.newaxis]
        logits = sum(column * weights for column, weights in zip(features, self.weights, strict=True))
        values = sum(column[:, 0] * value for column, value in zip(features, self.values, strict=True))
        if action_mask is not None:
            logits = np.where(action_mask, logits, LOWEST)
        return log_softmax(logits), np.asarray(values)


def loop_of(seed: int) -> tuple[BatchLoop, Witness]:
    """A corridor whose agents walk out, tire and come back, half of them decided for by a policy."""
    config = CorridorConfig(length=4, places=PLACES, episode_ticks=60, max_absence=3, rest_ticks=3, slip=0.1)
    corridor = Corridor(config, num_worlds=NUM_WORLDS)
    witness = Witness(corridor.scripted("scripted"))
    policy, blend = RowByRow(corridor.spec, seed=seed), bridge_config(corridor, ratio=0.5)
    runtime = BatchRuntime(corridor.spec, witness, config=blend, policy=policy, service=None, seed=seed)
    loop = BatchLoop(corridor, runtime)
    loop.reset(seed=seed)
    return loop, witness


@dataclass
class Ends:
    """The possessions that ended without a release, as callbacks are told."""

    runtime: BatchRuntime
    lock: Lock = field(default_factory=Lock)
    told: Counter[tuple[str | None, EndReason]] = field(default_factory=Counter)

    def tell(self, agent_id: str, owner: str | None, reason: EndReason) -> None:
        with self.lock:
            self.told[owner, reason] += 1
        # A callback may call the runtime.
        assert isinstance(self.runtime.possessed_agents(), list)


@dataclass
class Person:
    """Takes agents over at random, and keeps account of each ticket."""

    number: int
    seed: int
    runtime: BatchRuntime
    witness: Witness
    operations: int = 0
    refused: int = 0
    accepted: int = 0
    acquired: int = 0
    released: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    waiting: list[Ticket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = f"person {self.number}"
        self._random = np.random.default_rng([self.seed, self.number])
        self._agent = "", 0

    def live(self, stop: Event) -> None:
        while not stop.is_set():
            self._operate(*self._random.integers(0, 1000, 3).tolist())
            self.operations += 1
            if self.operations % 8 == 0:  # else hundreds of operations would meet each tick
                time.sleep(1e-3)
            if self.operations % SWEEP == 0:
                self.account()

    def _operate(self, dice: int, which: int, more: int) -> None:
        runtime, (agent, world) = self.runtime, self._agent
        try:
            if dice < 300:
                agent, world = self._agent = self._choose(which)
                lease = None if more % 10 == 0 else 1 + more % 6
                self.acquired += runtime.acquire_possession(agent, world=world, owner=self.name, lease_ticks=lease)
            elif dice < 800:
                key = ("wait", "left", "right", "right", "rest")[which % 5]
                ticket = runtime.feed_action(agent, key, world=world, owner=self.name, queue=more % 3 > 0)
                self.accepted += 1
                self.waiting.append(ticket)
                if more % 200 == 0:
                    ticket.wait(timeout=0.01)
            elif dice < 900:
                runtime.renew_possession(agent, 1 + which % 4, world=world, owner=self.name)
            else:
                self.released += runtime.release_possession(agent, world=world, owner=self.name)
        except PossessionError:
            self.refused += 1

    def _choose(self, which: int) -> tuple[str, int]:
        observed = self.runtime.observed
        assert observed is not None
        rows = np.flatnonzero(observed.slots % PLACES < POSSESSED_PLACES)
        if not len(rows):
            return "nobody", 0
        row = rows[which % len(rows)]
        return str(observed.agent_ids[row]), int(observed.worlds[row])

    def account(self) -> None:
        """Find the decision of every ticket that came to one; it is the ticket's own, and nobody else's."""
        settled, waiting = self.witness.ticks, []
        for ticket in self.waiting:
            end = ticket.end
            if end is None or (end.tick is not None and end.tick >= settled):
                waiting.append(ticket)
                continue
            self.ends[end.reason] += 1
            if end.tick is not None:
                fed = self.witness.fed.pop((end.tick, ticket.slot))
                assert fed == (ticket.action, end.reason == "vetoed"), (ticket, fed)
        self.waiting = waiting


@dataclass(frozen=True, kw_only=True)
class Report:
    seconds: float
    """While people were at it; the world without them is run afterwards, and takes its own time."""
    ticks: int
    operations: int
    refused: int
    accepted: int
    ends: dict[str, int]
    acquired: int
    released: int
    told: dict[str, int]
    compared_ticks: int


@contextmanager
def impatient_threads() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def stress(*, seed: int, operations: int, seconds: float) -> Report:
    """Run until there were so many operations and seconds, and check everything.

    Raises:
        AssertionError: if an input or a possession is not accounted for, or an agent that people never touch was
            decided for otherwise than without them.
    """
    loop, witness = loop_of(seed)
    runtime, stop, begun = loop.runtime, Event(), time.monotonic()
    ends = Ends(runtime)
    for world in range(NUM_WORLDS):
        runtime.register_possession_end_callback(ends.tell, world=world)
    people = [Person(number, seed, runtime, witness) for number in range(NUM_PEOPLE)]
    with impatient_threads(), ThreadPoolExecutor(NUM_PEOPLE) as pool:
        living = [pool.submit(person.live, stop) for person in people]
        try:
            while sum(one.operations for one in people) < operations or time.monotonic() - begun < seconds:
                loop.step()
                if any(future.done() for future in living):
                    break
        finally:
            stop.set()
        for future in living:
            future.result()
    lasted = time.monotonic() - begun
    held = [runtime.possessed_agents(world=world) for world in range(NUM_WORLDS)]
    counts, told = runtime.input_counts(), Counter[str]()
    for person in people:
        person.account()
        lost = sum(count for (owner, _), count in ends.told.items() if owner == person.name)
        told.update({reason: count for (owner, reason), count in ends.told.items() if owner == person.name})
        person.acquired -= person.released + lost
        assert person.acquired >= 0
    require_accounted(people, witness, counts, num_held=sum(map(len, held)))
    runtime.reset_state()
    for person in people:
        assert all(ticket.end == ("ended", None) for ticket in person.waiting)
    reference, undisturbed = loop_of(seed)
    reference.run_for(witness.ticks)
    assert undisturbed.digests == witness.digests, "agents that nobody touched were decided for otherwise"
    return Report(
        seconds=round(lasted, 1),
        ticks=witness.ticks,
        operations=sum(person.operations for person in people),
        refused=sum(person.refused for person in people),
        accepted=counts.pop("accepted"),
        ends=counts,
        acquired=sum(person.acquired + person.released for person in people) + told.total(),
        released=sum(person.released for person in people),
        told=dict(told),
        compared_ticks=len(undisturbed.digests),
    )


def require_accounted(people: list[Person], witness: Witness, counts: dict[str, int], *, num_held: int) -> None:
    """Every input ended once, as the counters say; every decision that was fed has its ticket.

    Args:
        people: whose `acquired` are those that were neither released nor reported.
        witness: of the decisions.
        counts: of the runtime.
        num_held: agents that are still possessed.
    """
    found = sum((person.ends for person in people), Counter())
    found.update(accepted=sum(person.accepted for person in people), waiting=sum(len(p.waiting) for p in people))
    assert {reason: found[reason] for reason in counts} == counts
    assert counts["accepted"] == sum(counts.values()) - counts["accepted"]
    assert not witness.fed, f"decisions without a ticket: {list(witness.fed.items())[:5]}"
    assert sum(person.acquired for person in people) == num_held


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    report = stress(seed=chosen.seed, operations=chosen.operations, seconds=chosen.seconds)
    sys.stdout.write(json.dumps(asdict(report)) + "\n")


if __name__ == "__main__":
    main()

"""A slow mind beside the script of the town: what it costs when every answer is late, and whether a tick ever waits.

Prints one JSON line per number of agents, the loop with the mind against the script alone, in rounds in which they take
turns: wall time, as a wait would show there and not in CPU time. Then one line of ticks that were blocked: how many of
`BLOCKED_TICKS` took half as long as a call of the mind or longer, while calls were always under way.

    python benchmarks/bench_deferred.py [--short]
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from townlet_behavior import (
    Answer,
    BatchController,
    BridgeConfig,
    CommitmentConfig,
    DeferredConfig,
    DeferredController,
    Question,
)
from townlet_runtime import BatchLoop, BatchRuntime, DescribedObservations, SimulationSpec
from townlet_runtime.town import Town, TownConfig

AGENTS = (10, 100, 1000)
ROUNDS = 11
ROUND_TICKS = {10: 1000, 100: 400, 1000: 100}
BLOCKED_TICKS = 100_000
SHOWN = 12
"""Features that the mind is shown, as in examples/language_model_town.py."""
CALL_S = 0.5
"""Of one call of the mind: a thousand ticks of a town of ten, and still quick for a language model."""


def slow_mind(seconds: float) -> Callable[[Sequence[Question]], list[Answer]]:
    """A mind whose answers come after `seconds`."""

    def answer(questions: Sequence[Question]) -> list[Answer]:
        time.sleep(seconds)
        return [Answer(action=question.actions[-1], tokens=100) for question in questions]

    return answer


def deferred(spec: SimulationSpec, script: BatchController, *, call_s: float) -> DeferredController:
    """Beside the script of the town: every answer is late, as its deadline is one tick, and the breaker never stops."""
    config = DeferredConfig(
        deadline_ticks=1,
        max_age_ticks=1,
        options=CommitmentConfig(ticks=spec.option_ticks),
        in_flight=4,
        cache_entries=0,
        breaker_failures=2**40,
    )
    return DeferredController(
        slow_mind(call_s),
        script,
        vocabulary=spec.vocabulary,
        describe=DescribedObservations(spec, names=spec.feature_names[:SHOWN]),
        capacity=spec.capacity,
        config=config,
    )


def loop_of(agents: int, *, call_s: float | None) -> tuple[BatchLoop, DeferredController | None]:
    """The town of so many agents, by its script; with the mind where `call_s` is given."""
    town = Town(TownConfig(num_agents=agents), num_worlds=1)
    script = town.scripted("scripted")
    mind = None if call_s is None else deferred(town.spec, script, call_s=call_s)
    config = BridgeConfig(commitment=CommitmentConfig(ticks=town.spec.option_ticks))
    controller = script if mind is None else mind
    runtime = BatchRuntime(town.spec, controller, config=config, policy=None, service=None, seed=1)
    loop = BatchLoop(town, runtime)
    loop.reset(seed=1)
    return loop, mind


def rates(agents: int, rounds: int) -> dict[str, str | int | float]:
    """Ticks a second of both, and the median ratio of neighbouring rounds."""
    alone, _ = loop_of(agents, call_s=None)
    beside, mind = loop_of(agents, call_s=CALL_S)
    assert mind is not None
    ticks = ROUND_TICKS[agents]
    measured: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = [
            (loop, loop.run_for(ticks).ticks_per_s) for loop in ((alone, beside) if number % 2 else (beside, alone))
        ]
        by_loop = {id(loop): rate for loop, rate in pair}
        if number:  # the first round warms both up
            measured.append((by_loop[id(alone)], by_loop[id(beside)]))
    counts = mind.counts
    mind.close()
    return {
        "benchmark": "deferred",
        "case": "every answer late",
        "agents": agents,
        "script_ticks_per_s": round(statistics.median(rate for rate, _ in measured), 1),
        "deferred_ticks_per_s": round(statistics.median(rate for _, rate in measured), 1),
        "ratio": round(statistics.median(beside / alone for alone, beside in measured), 4),
        "asked": counts.asked,
        "late": counts.late,
        "used": counts.used,
    }


def blocked(ticks: int) -> dict[str, str | int | float]:
    """Count the ticks that took half as long as a call, of so many; and the longest."""
    loop, mind = loop_of(10, call_s=CALL_S)
    assert mind is not None
    over, longest = 0, 0.0
    for _ in range(ticks):
        begun = time.perf_counter()
        loop.step()
        took = time.perf_counter() - begun
        over += took >= 0.5 * CALL_S
        longest = max(longest, took)
    counts = mind.counts
    mind.close()
    return {
        "benchmark": "deferred",
        "case": "blocked ticks",
        "agents": 10,
        "ticks": ticks,
        "call_ms": 1e3 * CALL_S,
        "blocked": over,
        "longest_ms": round(1e3 * longest, 2),
        "asked": counts.asked,
        "late": counts.late,
    }


def measure(*, short: bool) -> Iterator[dict[str, str | int | float]]:
    """One record per case; `short`: a run that only shows that it runs."""
    for agents in AGENTS[:1] if short else AGENTS:
        yield rates(agents, 2 if short else ROUNDS)
    yield blocked(2000 if short else BLOCKED_TICKS)


if __name__ == "__main__":
    for record in measure(short="--short" in sys.argv[1:]):
        print(json.dumps(record), flush=True)

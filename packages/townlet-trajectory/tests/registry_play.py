"""Registries to test with: small releases, comparisons made by hand, and a player who does something at random."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from townlet_trajectory.errors import PromotionError
from townlet_trajectory.evaluation.comparisons import PairedComparison
from townlet_trajectory.evaluation.promotion import PromotionConfig
from townlet_trajectory.evaluation.registry import JOURNAL_NAME, PromotionRegistry
from townlet_trajectory.evaluation.registry_records import RegistrySettings
from townlet_trajectory.evaluation.registry_state import RegistryState
from townlet_trajectory.storage.files import DirectoryLock
from townlet_trajectory.storage.journal import read_journal

CONFIG = PromotionConfig(required_passes=2, num_episodes=10, num_resamples=100)
SETTINGS = RegistrySettings(config=CONFIG, seed=5, behavior="scripted", config_id="v1.3.0", world={"name": "town"})
SCRIPT = {"config_id": "v1.3.0"}
BETTER = PairedComparison(num_episodes=10, mean=1.5, ci=(1.0, 2.0), iqm=1.5, candidate_tail=4.0, incumbent_tail=3.0)
UNPROVEN = PairedComparison(num_episodes=10, mean=0.5, ci=(-1.0, 2.0), iqm=0.5, candidate_tail=3.0, incumbent_tail=3.0)


def files(number: int) -> dict[str, bytes]:
    """The files of a release."""
    return {"policy.onnx": f"policy {number}".encode(), "release.json": b"{}"}


def submit(registry: PromotionRegistry, number: int) -> str:
    """Make release `number` the candidate."""
    return registry.submit(files(number), metadata={"run": f"runs/{number}"})


def win(registry: PromotionRegistry, candidate: str, comparison: PairedComparison = BETTER) -> int:
    """Play a pass; return its number."""
    one = registry.begin_pass(candidate)
    registry.record_pass(one.number, comparison=comparison, gates=[], evidence={})
    return one.number


def promote(registry: PromotionRegistry, number: int) -> str:
    """Take release `number` through its passes and let it be live."""
    digest = submit(registry, number)
    incumbent = registry.state().live
    for _ in range(CONFIG.required_passes):
        win(registry, digest)
    registry.mark_promoted(digest, incumbent=incumbent)
    return digest


def play(registry: PromotionRegistry, rng: random.Random) -> str | None:
    """Do something at random; return a word, or None where it was refused or there was nothing to do."""
    state = registry.state()
    candidate, target = state.candidate or "nobody", rng.choice([*state.releases, state.settings.behavior])
    try:
        match rng.randrange(12):
            case 0 | 1:
                submit(registry, rng.randrange(8))
            case 2 | 3 | 4:
                registry.begin_pass(candidate)
            case 5 | 6 | 7:
                waiting = [one.number for one in state.passes if one.result is None]
                outcome = UNPROVEN if rng.random() < 0.2 else BETTER
                registry.record_pass(rng.choice(waiting or [0]), comparison=outcome, gates=[], evidence={})
            case 8:
                registry.mark_promoted(candidate, incumbent=state.live)
            case 9:
                registry.register_rollback(reason="at random", live=state.live)
            case 10:
                registry.record_manual_swap(target, reason="at random", by="a test", live=state.live)
            case _ if rng.random() < 0.5:
                registry.set_alias(rng.choice("abc"), rng.choice([target, None]))
            case _:
                return "pruned" if registry.prune() else None
    except PromotionError:
        return None
    return "done"


def require_sound(path: Path) -> RegistryState:
    """Assert that no release is lost, no evidence used twice, and the history a chain; return the state."""
    registry = PromotionRegistry(path)
    state = registry.state()
    for digest in state.releases:
        assert registry.release_files(digest)
    assert state.protected() <= state.releases.keys()
    assert set(state.stack) <= {*state.releases, state.settings.behavior}
    history = [dict(one) for one in state.history() if isinstance(one, dict)]
    before = SCRIPT
    for event in history:
        assert event["previous_release"] == before
        before = event["release"]
    assert before == state.snapshot()["current_release"]
    used = []
    for record in read_journal(path / JOURNAL_NAME).records:
        if record.event == "promoted":
            used += record.content.integers("passes")
    assert len(used) == len(set(used))
    assert all(state.passes[number].won for number in used)
    seeds = [one.first_seed for one in state.passes]
    assert len(set(seeds)) == len(seeds)
    return state


def acknowledged(path: Path, seed: int, num_changes: int, told: int) -> None:
    """Do things at random as a process of its own, and tell the number of changes after each."""
    rng, registry = random.Random(seed), PromotionRegistry(path)
    for _ in range(num_changes):
        if play(registry, rng):
            os.write(told, b"+")


def start(path: Path, seed: int, num_changes: int) -> tuple[int, int]:
    """Fork a writer; return its process and the end of the pipe that it tells to."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            acknowledged(path, seed, num_changes, write)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    return pid, read


def ended(pid: int, read: int) -> tuple[int, int]:
    """The exit status of a writer, and how many changes it told."""
    told = b""
    while chunk := os.read(read, 1 << 16):
        told += chunk
    os.close(read)
    return os.waitpid(pid, 0)[1], len(told)


def hammer(path: Path, *, num_writers: int, num_changes: int) -> None:
    """Let processes change one registry at once: each change that was told is one record, and no other is there."""
    PromotionRegistry.create(path, SETTINGS)
    writers = [start(path, seed, num_changes) for seed in range(num_writers)]
    results = [ended(*writer) for writer in writers]
    assert [status for status, _ in results] == [0] * num_writers
    told = sum(count for _, count in results)
    assert (require_sound(path).sequence - 1, told > num_changes // 4) == (told, True)


def kill_writers(path: Path, *, num_kills: int, seed: int) -> None:
    """Kill a writer at random times, again and again; what it told stays, and there is at most one record more."""
    rng = random.Random(seed)
    PromotionRegistry.create(path, SETTINGS)
    before = 1
    for number in range(num_kills):
        pid, read = start(path, number, 10**6)
        heard = sum(len(os.read(read, 1)) for _ in range(rng.randrange(6)))
        time.sleep(rng.uniform(0.0, 0.02))
        os.kill(pid, signal.SIGKILL)
        status, rest = ended(pid, read)
        assert os.WTERMSIG(status) == signal.SIGKILL
        state = require_sound(path)
        assert state.sequence - before - (heard + rest) in (0, 1)
        before = state.sequence
        with DirectoryLock(path):
            assert not [each for each in path.rglob("*.tmp")]
    assert before > 1

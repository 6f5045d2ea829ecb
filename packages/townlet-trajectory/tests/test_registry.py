"""Releases come and go by evidence, one after the other, whoever writes and whenever a writer dies."""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from faulty_os import Killed, inject
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from registry_play import (
    BETTER,
    CONFIG,
    SETTINGS,
    UNPROVEN,
    files,
    hammer,
    kill_writers,
    promote,
    require_sound,
    submit,
    win,
)

from townlet_trajectory.errors import ArtifactError, ManifestError, PromotionError
from townlet_trajectory.evaluation import registry as module
from townlet_trajectory.evaluation import registry_state
from townlet_trajectory.evaluation.gates import GateResult, Verdict
from townlet_trajectory.evaluation.interfaces import promotion_seeds
from townlet_trajectory.evaluation.promotion import Decision
from townlet_trajectory.evaluation.registry import PromotionRegistry
from townlet_trajectory.storage.files import DirectoryLock
from townlet_trajectory.storage.json import parse_json
from townlet_trajectory.storage.manifest import manifest_of

DRILL = Path(__file__).parent / "data" / "promotion" / "drill.json"
FAILED = GateResult(name="kept", verdict=Verdict.FAILED, detail="low")


@pytest.fixture
def registry(tmp_path: Path) -> PromotionRegistry:
    return PromotionRegistry.create(tmp_path / "registry", SETTINGS)


def test_a_drill_looks_as_it_always_did(registry: PromotionRegistry) -> None:
    recorded = parse_json(DRILL.read_bytes(), DRILL)
    digest = submit(registry, 1)
    named = {"checkpoint": f"releases/{digest}", "policy_hash": digest}
    for _ in range(2):
        win(registry, digest)

    def spelled(value):
        """The recorded value with our names for what has other ones: policy, time, and reason."""
        text = json.dumps(value).replace("ROOT/promotion_drill_checkpoint.pt", named["checkpoint"])
        return json.loads(text.replace("drill-candidate", digest))

    def timeless(value):
        """Without ticks: those of the drill are all 0, ours count records."""
        if isinstance(value, dict):
            return {key: 0 if key.endswith("tick") and one is not None else timeless(one) for key, one in value.items()}
        return [timeless(one) for one in value] if isinstance(value, list) else value

    expected = spelled(recorded)
    ready = expected["initial"]["promotion"] | {"candidate": named}  # the drill was ready without a candidate
    assert timeless(registry.snapshot()) == ready
    assert list(registry.snapshot()) == list(ready)
    registry.mark_promoted(digest, incumbent="scripted")
    assert timeless(registry.snapshot()) == expected["promote"]["promotion"]
    registry.register_rollback(reason="drill-rollback")
    assert timeless(registry.snapshot()) == expected["rollback"]["promotion"]
    assert timeless(registry.history) == expected["history"]


def test_nothing_is_promoted_without_its_passes(registry: PromotionRegistry) -> None:
    digest = submit(registry, 1)
    with pytest.raises(PromotionError, match="not ready: 0 of 2 passes in a row against scripted"):
        registry.mark_promoted(digest, incumbent="scripted")
    win(registry, digest)
    win(registry, digest, UNPROVEN)
    win(registry, digest)
    with pytest.raises(PromotionError, match="not ready: 1 of 2"):
        registry.mark_promoted(digest, incumbent="scripted")
    win(registry, digest)
    for release, incumbent in (("f" * 64, "scripted"), (digest, "f" * 64)):
        with pytest.raises(PromotionError, match="is not the candidate, or .* no longer live"):
            registry.mark_promoted(release, incumbent=incumbent)
    assert registry.mark_promoted(digest, incumbent="scripted").live == digest
    with pytest.raises(PromotionError, match="is live already"):
        registry.mark_promoted(digest, incumbent="scripted")


def test_passes_count_for_one_candidate_against_one_incumbent_from_now_on(registry: PromotionRegistry) -> None:
    first = submit(registry, 1)
    win(registry, first)
    second = submit(registry, 2)
    with pytest.raises(PromotionError, match="is not the candidate"):
        registry.begin_pass(first)
    win(registry, second)
    assert submit(registry, 2) == second and registry.snapshot()["pass_streak"] == 1
    submit(registry, 1)
    win(registry, first)
    assert registry.snapshot()["pass_streak"] == 1
    registry.record_manual_swap(second, reason="why not", by="me")
    assert registry.snapshot()["pass_streak"] == 0
    # A pass that was opened before the swap is evidence against what is no longer live.
    registry.register_rollback(reason="back")
    submit(registry, 1)
    old = registry.begin_pass(first)
    registry.record_manual_swap(second, reason="why not", by="me")
    decision = registry.record_pass(old.number, comparison=BETTER, gates=[], evidence={})
    assert (decision.decision, decision.pass_streak) == (Decision.HOLD, 0)


def test_a_losing_pass_cannot_be_given_up(registry: PromotionRegistry) -> None:
    digest = submit(registry, 1)
    win(registry, digest)
    registry.begin_pass(digest)  # and never recorded
    assert registry.snapshot()["pass_streak"] == 1
    win(registry, digest)
    assert registry.snapshot()["pass_streak"] == 1
    win(registry, digest)
    with pytest.raises(PromotionError, match="has passed already: promote it"):
        registry.begin_pass(digest)


def test_a_pass_has_one_result_of_its_own_episodes(registry: PromotionRegistry) -> None:
    digest = submit(registry, 1)
    with pytest.raises(PromotionError, match="pass 0 was not opened"):
        registry.record_pass(0, comparison=BETTER, gates=[], evidence={})
    number = win(registry, digest)
    for one, comparison in ((number, BETTER), (-1, BETTER)):
        with pytest.raises(PromotionError, match="was not opened, or has its result already"):
            registry.record_pass(one, comparison=comparison, gates=[], evidence={})
    opened = registry.begin_pass(digest)
    with pytest.raises(PromotionError, match="pass 1 has 10 episodes, got 9"):
        registry.record_pass(opened.number, comparison=replace(BETTER, num_episodes=9), gates=[], evidence={})
    with pytest.raises(PromotionError, match="1 failed, and the comparison is there"):
        registry.record_pass(opened.number, comparison=BETTER, gates=[FAILED], evidence={})
    with pytest.raises(ArtifactError, match="not JSON compliant"):
        registry.record_pass(opened.number, comparison=replace(BETTER, mean=float("nan")), gates=[], evidence={})
    decision = registry.record_pass(opened.number, comparison=None, gates=[FAILED], evidence={})
    assert (decision.decision, decision.reason) == (Decision.FAIL, "gate kept failed: low")
    assert registry.snapshot()["last_result"] == "fail"


def test_no_two_passes_have_an_episode_in_common(registry: PromotionRegistry) -> None:
    blocks = []
    for number in (1, 2, 1):
        digest = submit(registry, number)
        blocks += [registry.begin_pass(digest).seeds.tolist() for _ in range(3)]
    assert len({seed for block in blocks for seed in block}) == 9 * CONFIG.num_episodes
    # A run whose seed is that of the registry has played others.
    own = {seed for number in range(9) for seed in promotion_seeds(SETTINGS.seed, number, 10).tolist()}
    assert own.isdisjoint(seed for block in blocks for seed in block)


def test_rollbacks_go_back_release_by_release(registry: PromotionRegistry) -> None:
    chain = [promote(registry, number) for number in range(4)]
    assert [registry.register_rollback(reason="back").live for _ in range(4)] == [*chain[:3][::-1], "scripted"]
    with pytest.raises(PromotionError, match="scripted is live, and nothing was before it"):
        registry.register_rollback(reason="back")
    again = promote(registry, 2)
    assert again == chain[2] and registry.state().stack == ("scripted", again)
    swapped = registry.record_manual_swap(chain[0], reason="an urgent matter", by="me")
    assert swapped.live == chain[0]
    assert registry.register_rollback(reason="back").live == again
    events = [one["event"] for one in registry.history]
    assert events == ["promoted"] * 4 + ["rollback"] * 4 + ["promoted", "manual_swap", "rollback"]
    require_sound(registry.path)


def test_what_a_change_is_based_on_must_still_hold(registry: PromotionRegistry) -> None:
    first, second = (promote(registry, number) for number in range(2))
    other = PromotionRegistry(registry.path)
    registry.register_rollback(reason="back", live=second)
    with pytest.raises(PromotionError, match="is no longer live"):
        other.register_rollback(reason="back", live=second)
    with pytest.raises(PromotionError, match="is no longer live"):
        other.record_manual_swap(second, reason="back", by="me", live=second)
    assert other.state().live == first
    third = submit(registry, 2)
    for _ in range(2):
        win(other, third)
    registry.mark_promoted(third, incumbent=first)
    with pytest.raises(PromotionError, match="live already"):
        other.mark_promoted(third, incumbent=first)
    assert other.state().stack == ("scripted", first, third)


def test_a_damaged_release_is_never_live(registry: PromotionRegistry) -> None:
    first, second = (promote(registry, number) for number in range(2))
    path = registry.path / "releases" / first / "policy.onnx"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"0", b"1"))
    with pytest.raises(ManifestError, match=r"policy\.onnx: verify"):
        registry.register_rollback(reason="back")
    with pytest.raises(ManifestError, match=r"policy\.onnx: verify"):
        registry.record_manual_swap(first, reason="back", by="me")
    with pytest.raises(ManifestError, match=r"policy\.onnx: verify"):
        registry.submit(files(0), metadata={})
    # Another release under this name, with a manifest that is true of it.
    other = registry.path / "releases" / second
    path.write_bytes(b"policy 1")
    (registry.path / "releases" / first / "manifest.json").write_bytes((other / "manifest.json").read_bytes())
    with pytest.raises(ManifestError, match=f"expected the files of {first}, got {second}"):
        registry.release_files(first)
    assert registry.state().live == second


def forged(registry: PromotionRegistry, event: str, content: dict) -> None:
    """Append a record whose chain is right."""
    own = module.read_journal(registry.path / "journal.jsonl")
    own.append(own.draft(event, content, time=1.0))


@pytest.mark.parametrize("passes", [[], [0], [0, 1]])
def test_a_promotion_in_the_journal_is_not_believed(registry: PromotionRegistry, passes: list[int]) -> None:
    digest = submit(registry, 1)
    win(registry, digest)
    win(registry, digest, UNPROVEN)
    forged(registry, "promoted", {"release": digest, "incumbent": "scripted", "passes": passes})
    with pytest.raises(ManifestError, match=r"journal\.jsonl:7: verify: .* is not ready: 0 of 2"):
        PromotionRegistry(registry.path)


@pytest.mark.parametrize(
    ("event", "content", "problem"),
    [
        ("rollback", {"from": "scripted", "to": "scripted", "reason": "r"}, "nothing was before it"),
        ("manual_swap", {"from": "scripted", "to": "f" * 64, "reason": "r", "by": "b"}, "there is no release 'ffff"),
        ("manual_swap", {"from": "nobody", "to": "scripted", "reason": "r", "by": "b"}, "nobody is no longer live"),
        ("alias", {"name": "champion", "release": None}, "an alias is other than `champion`"),
        ("pruned", {"releases": ["f" * 64]}, "there is no release"),
        ("submitted", {"release": "../../etc", "metadata": {}}, "a release is named by its SHA-256"),
        (
            "opened",
            {"candidate": "c", "incumbent": "scripted", "pass": 0, "first_seed": 1, "num_episodes": 1},
            "no candi",
        ),
        ("created", {}, "unknown event 'created'"),
        ("\x1b[31m", {}, r"unknown event '\\x1b\[31m'"),
    ],
)
def test_a_record_must_follow(registry: PromotionRegistry, event: str, content: dict, problem: str) -> None:
    forged(registry, event, content)
    with pytest.raises(ManifestError, match=problem):
        PromotionRegistry(registry.path)


def test_names_are_bounded_and_free_ones_mean_releases(registry: PromotionRegistry) -> None:
    first, second = (promote(registry, number) for number in range(2))
    registry.set_alias("stable", first)
    state = registry.state()
    assert [state.resolve(name) for name in ("champion", "stable", "scripted", first[:8], first)] == [
        second,
        first,
        "scripted",
        first,
        first,
    ]
    third = submit(registry, 3)
    assert registry.state().resolve("challenger") == third
    for name in ("nobody", first[:7], ""):
        with pytest.raises(PromotionError, match="means 0 releases; there are stable, champion"):
            state.resolve(name)
    for name in ("Champion", "challenger", "a b", "", "x" * 64, "-a", "\x1b"):
        with pytest.raises(PromotionError, match="an alias is other than"):
            registry.set_alias(name, first)
    with pytest.raises(PromotionError, match="there is no alias 'other'"):
        registry.set_alias("other", None)
    with pytest.raises(PromotionError, match="there is no release"):
        registry.set_alias("other", "f" * 64)
    registry.set_alias("stable", None)
    assert registry.state().aliases == {}


def test_pruning_keeps_what_is_needed_and_clears_what_a_killed_writer_left(registry: PromotionRegistry) -> None:
    first, second = (promote(registry, number) for number in range(2))
    named, tried, candidate = (submit(registry, number) for number in (2, 3, 4))
    registry.set_alias("stable", named)
    (registry.path / "releases" / ("0" * 64)).mkdir()
    assert registry.prune() == (tried,)
    kept = {first, second, named, candidate}
    assert {path.name for path in (registry.path / "releases").iterdir()} == kept
    assert registry.state().releases.keys() == kept
    assert registry.prune() == ()
    with pytest.raises(PromotionError, match="there is no release"):
        registry.release_files(tried)
    assert submit(registry, 3) == tried


def test_who_was_live_when_does_not_depend_on_the_clock(tmp_path: Path) -> None:
    now = 1000.0
    registry = PromotionRegistry.create(tmp_path / "r", SETTINGS, clock=lambda: now)
    live = ["scripted"]
    for number, time_ in enumerate((2000.0, 1500.0, 3000.0)):  # set back by 500 seconds, once
        now = time_
        live.append(promote(registry, number))
    state = registry.state()
    assert [[one.release for one in state.live_at(at)] for at in (999.0, 1000.0, 1499.0, 3000.0, 9e9)] == [
        [],
        live[:1],
        live[:1],
        live[3:],
        live[3:],
    ]
    # Between 1500 and 2000 the clock showed each second twice.
    assert [one.release for one in state.live_at(1700.0)] == [live[0], live[2]]
    assert [one.release for one in state.live_at(2500.0)] == [live[2]]
    changes = [1, *(one["tick"] for one in state.history())]
    assert [state.live_after(tick).release for tick in changes] == live
    assert [state.live_after(tick - 1).release for tick in changes[1:]] == live[:-1]
    for tick in (0, state.sequence + 1):
        with pytest.raises(PromotionError, match="there are the records 1 to"):
            state.live_after(tick)


def test_releases_and_words_are_bounded(registry: PromotionRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in ({}, {f"{number}": b"" for number in range(65)}):
        with pytest.raises(PromotionError, match="a release has 1 to 64 files"):
            registry.submit(content, metadata={})
    monkeypatch.setattr(module, "MAX_RELEASE_BYTES", 3)
    with pytest.raises(PromotionError, match="got 1 files of 4 bytes"):
        registry.submit({"a": b"1234"}, metadata={})
    monkeypatch.undo()
    with pytest.raises(ArtifactError, match="path"):
        registry.submit({"../a": b"1"}, metadata={})
    promote(registry, 1)
    for reason in ("", "x" * 501):
        with pytest.raises(PromotionError, match="`reason` must have 1 to 500 characters"):
            registry.register_rollback(reason=reason)
    monkeypatch.setattr(registry_state, "MAX_RELEASES", 1)
    with pytest.raises(PromotionError, match="keeps at most 1 releases: prune it first"):
        submit(registry, 2)
    assert len(list((registry.path / "releases").iterdir())) == 1
    monkeypatch.setattr(registry_state, "MAX_ALIASES", 0)
    with pytest.raises(PromotionError, match="at most 0 aliases"):
        registry.set_alias("a", registry.state().live)


def test_a_registry_is_made_once(registry: PromotionRegistry, tmp_path: Path) -> None:
    with pytest.raises(PromotionError, match="there is a registry already"):
        PromotionRegistry.create(registry.path, SETTINGS)
    with pytest.raises(ArtifactError, match="No such file"):
        PromotionRegistry(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "journal.jsonl").write_bytes(b'{"seq')
    with pytest.raises(ManifestError, match="not a registry: the journal is empty"):
        PromotionRegistry(tmp_path / "empty")
    assert PromotionRegistry.create(tmp_path / "empty", SETTINGS).state().settings == SETTINGS
    with pytest.raises(PromotionError, match="`behavior` must have 1 to 500 characters"):
        PromotionRegistry.create(tmp_path / "new", replace(SETTINGS, behavior=""))


def test_a_writer_waits_for_another(registry: PromotionRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.02)
    with DirectoryLock(registry.path):
        assert registry.snapshot()["state"] == "monitoring"  # readers need no lock
        with pytest.raises(ArtifactError, match="another writer holds this directory"):
            submit(registry, 1)
    assert submit(registry, 1)


def test_the_old_name_still_works() -> None:
    with pytest.warns(DeprecationWarning, match="PromotionManager is called PromotionRegistry"):
        assert module.PromotionManager is PromotionRegistry
    with pytest.raises(AttributeError, match="no attribute 'PromotionHelper'"):
        _ = module.PromotionHelper


@pytest.mark.parametrize("change", [promote, submit])
def test_killed_at_every_call_the_registry_is_as_before_or_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change
) -> None:
    at, killed = 1, True
    while killed:
        path = tmp_path / f"{at}"
        own = PromotionRegistry.create(path, SETTINGS)
        promote(own, 1)
        before = own.state().sequence
        with monkeypatch.context() as patch:
            inject(patch, at, error=None)
            try:
                change(own, 2)
                killed = False
            except Killed:
                pass
        state = require_sound(path)
        assert before <= state.sequence <= before + 6
        assert require_sound(path).live in (state.stack[-1], "scripted")
        promote(PromotionRegistry(path), 3)  # and it goes on
        require_sound(path)
        at += 1 if change is submit else 7
    assert at > 10


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_killed_writers_lose_and_double_nothing(tmp_path: Path) -> None:
    kill_writers(tmp_path / "r", num_kills=12, seed=1)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_writers_do_everything_once(tmp_path: Path) -> None:
    hammer(tmp_path / "r", num_writers=2, num_changes=60)


class RegistryMachine(RuleBasedStateMachine):
    """A registry behaves as a list of what is live, a candidate and its results, whichever of two handles is used."""

    @initialize(folder=st.uuids())
    def create(self, folder) -> None:
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / str(folder)
        self.now = 1000.0
        PromotionRegistry.create(path, SETTINGS, clock=lambda: self.now)
        self.handles = [PromotionRegistry(path, clock=lambda: self.now) for _ in range(2)]
        self.turn = 0
        self.stack = ["scripted"]
        self.candidate: str | None = None
        self.results: list[bool | None] = []  # since the last change of candidate or live release
        self.numbers: dict[int, int] = {}  # open passes that count: number -> place in results
        self.stale: list[int] = []
        self.num_passes = 0
        self.kept: set[str] = set()
        self.names: dict[str, str] = {}

    @property
    def own(self) -> PromotionRegistry:
        self.turn = 1 - self.turn
        return self.handles[self.turn]

    def streak(self) -> int:
        results = list(self.results)
        while results and results[-1] is None:
            results.pop()
        count = 0
        while results and results.pop():
            count += 1
        return count

    def begin_anew(self) -> None:
        self.stale += self.numbers
        self.results, self.numbers = [], {}

    @rule(number=st.integers(0, 4))
    def submit(self, number: int) -> None:
        try:
            digest = submit(self.own, number)
        except PromotionError:
            assert self.stack[-1] == manifest_of(files(number)).sha256
            return
        assert digest != self.stack[-1]
        if digest != self.candidate:
            self.begin_anew()
        self.candidate = digest
        self.kept.add(digest)

    @precondition(lambda self: self.candidate is not None)
    @rule()
    def open(self) -> None:
        allowed = self.candidate != self.stack[-1] and self.streak() < 2
        try:
            number = self.own.begin_pass(str(self.candidate)).number
        except PromotionError:
            assert not allowed
            return
        assert allowed and number == self.num_passes
        self.num_passes += 1
        self.numbers[number] = len(self.results)
        self.results.append(None)

    @rule(won=st.booleans(), pick=st.integers(0, 99))
    def record(self, won: bool, pick: int) -> None:
        waiting = [*self.numbers, *self.stale]
        if not waiting:
            return
        number = waiting[pick % len(waiting)]
        self.own.record_pass(number, comparison=BETTER if won else UNPROVEN, gates=[], evidence={})
        if number in self.numbers:
            self.results[self.numbers.pop(number)] = won
        else:
            self.stale.remove(number)

    @precondition(lambda self: self.candidate is not None)
    @rule()
    def promote(self) -> None:
        try:
            self.own.mark_promoted(str(self.candidate), incumbent=self.stack[-1])
        except PromotionError:
            assert self.streak() < 2
            return
        assert self.streak() >= 2
        self.stack.append(str(self.candidate))
        self.begin_anew()

    @rule()
    def roll_back(self) -> None:
        try:
            self.own.register_rollback(reason="r")
        except PromotionError:
            assert len(self.stack) == 1
            return
        self.stack.pop()
        self.candidate = None
        self.begin_anew()

    @rule(pick=st.integers(0, 99))
    def swap(self, pick: int) -> None:
        targets = ["scripted", *sorted(self.kept)]
        target = targets[pick % len(targets)]
        try:
            self.own.record_manual_swap(target, reason="r", by="b")
        except PromotionError:
            assert target == self.stack[-1]
            return
        self.stack.append(target)
        self.candidate = None if target == self.candidate else self.candidate
        self.begin_anew()

    @precondition(lambda self: self.kept)
    @rule(name=st.sampled_from("xy"), pick=st.integers(0, 99), remove=st.booleans())
    def alias(self, name: str, pick: int, remove: bool) -> None:
        target = sorted(self.kept)[pick % len(self.kept)]
        try:
            self.own.set_alias(name, None if remove else target)
        except PromotionError:
            assert remove and name not in self.names
            return
        self.names.pop(name, None)
        if not remove:
            self.names[name] = target

    @rule()
    def prune(self) -> None:
        needed = {*self.stack, *self.names.values(), self.candidate}
        assert set(self.own.prune()) == self.kept - needed
        self.kept &= needed

    @rule(by=st.floats(-500.0, 500.0))
    def jump(self, by: float) -> None:
        self.now += by

    @rule()
    def reopen(self) -> None:
        self.handles[0] = PromotionRegistry(self.handles[0].path, clock=lambda: self.now)

    @invariant()
    def agrees(self) -> None:
        state = self.handles[0].state()
        assert list(state.stack) == self.stack
        assert (state.candidate, state.releases.keys(), state.aliases) == (self.candidate, self.kept, self.names)
        assert (len(state.counted_passes), len(state.passes)) == (self.streak(), self.num_passes)
        assert state.live_after(state.sequence).release == self.stack[-1]
        assert self.stack[-1] in {one.release for one in state.live_at(max(one.time for one in state.periods))}

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            require_sound(self.handles[0].path)
            self.folder.cleanup()


RegistryMachine.TestCase.settings = settings(max_examples=settings().max_examples // 4)
TestRegistryModel = RegistryMachine.TestCase

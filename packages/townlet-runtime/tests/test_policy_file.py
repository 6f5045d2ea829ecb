import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_files import card, digest, policy_file

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy import file as module
from townlet_runtime.policy.file import PolicyCard, parse_card, read_policy_bytes, verified_digest
from townlet_trajectory import Box, MultiDiscrete
from townlet_trajectory.data.actions import ArrayActions

PATH = Path("policy.onnx")
GOOD = policy_file(np.eye(8, 4, dtype=np.float32), np.zeros(8, np.float32), card())


def test_the_digest_is_that_of_the_file_with_zeros_in_its_place() -> None:
    # printf '{"file_sha256": "%064d"}' 0 | sha256sum
    expected = "a9f46e083d49106ebf2d74322023dc28d5ee67188ccdf38afc47970067a84c71"
    assert verified_digest(f'{{"file_sha256": "{expected}"}}'.encode(), PATH) == expected


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(position: int, change: int) -> None:
    damaged = bytearray(GOOD)
    damaged[position] ^= change
    with pytest.raises(PolicyFileError, match="policy.onnx: expected"):
        verified_digest(bytes(damaged), PATH)


@given(st.integers(0, len(GOOD) - 1))
def test_no_shortened_file_goes_unnoticed(size: int) -> None:
    with pytest.raises(PolicyFileError):
        verified_digest(GOOD[:size], PATH)


@pytest.mark.parametrize("data", [b"", b"\x08\x08", GOOD + GOOD])
def test_a_file_without_one_digest_is_foreign(data: bytes) -> None:
    with pytest.raises(PolicyFileError, match="expected one `file_sha256` .* foreign"):
        verified_digest(data, PATH)


def test_a_card_is_read() -> None:
    read = parse_card(json.dumps(card()), PATH)
    assert read.vocabulary == ("wait", "left", "right", "rest")
    assert read.observation_shapes == {"features": (8,), "map": (1, 1, 6)}
    assert (read.weights_sha256, read.world) == ("0" * 64, "corridor")
    assert (read.feature_names, read.commitment, read.state_size, read.has_values) == ((), None, 0, True)


def test_what_a_writer_says_is_what_a_reader_reads() -> None:
    written = PolicyCard(
        vocabulary=("wait", "go"),
        observation_shapes={"features": (2,), "map": (1, 3, 3)},
        weights_sha256="ab" * 32,
        world="road",
        feature_names=("speed", "held"),
        commitment=("features", 1, 15),
        state_size=7,
        has_values=False,
    )
    assert parse_card(written.text(), PATH) == written


PARTS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
NUMBERS = Box(names=("steer", "throttle"), low=(-1.0, 0.0), high=(1.0, 2.5))


def of_actions(actions: ArrayActions, distribution: str) -> PolicyCard:
    return PolicyCard(
        vocabulary=(),
        observation_shapes={"features": (2,)},
        weights_sha256="ab" * 32,
        world="road",
        actions=actions,
        distribution=distribution,
    )


@pytest.mark.parametrize(
    ("actions", "distribution"), [(PARTS, ""), (NUMBERS, "clipped"), (NUMBERS, "squashed")], ids=str
)
def test_the_label_of_array_actions_is_read_as_written(actions: ArrayActions, distribution: str) -> None:
    written = of_actions(actions, distribution)
    assert parse_card(written.text(), PATH) == written


@pytest.mark.parametrize(
    ("actions", "distribution", "change", "complaint"),
    [
        (PARTS, "", {"actions": None}, "an object in `actions`, got None"),
        (PARTS, "", {"actions": {"parts": []}}, "`parts` must name at least one part"),
        (PARTS, "", {"actions": {"parts": [{"name": "a", "keys": ["b"]}]}}, "two or more different keys"),
        (PARTS, "", {"distribution": "clipped"}, "`distribution` must be one of"),
        (PARTS, "", {"actions": {"parts": [{"name": "a", "keys": ["b", "c"]}]}}, "a spec of SHA-256"),
        (NUMBERS, "clipped", {"actions": {"names": ["a"], "low": [0], "high": [1e999]}}, "must be a finite number"),
        (NUMBERS, "clipped", {"distribution": ""}, "`distribution` must be one of"),
        (NUMBERS, "clipped", {"distribution": "beta"}, "`distribution` must be one of .* got 'beta'"),
        (NUMBERS, "clipped", {"distribution": 1}, "text in `distribution`"),
        (NUMBERS, "clipped", {"vocabulary": ["a"], "vocabulary_sha256": digest(("a",))}, "got both"),
        (NUMBERS, "clipped", {"vocabulary": ["a"]}, "vocabulary of SHA-256"),
        (NUMBERS, "clipped", {"version": 1}, "list of different keys in `vocabulary`"),
    ],
)
def test_a_label_of_array_actions_that_contradicts_itself_is_refused(
    actions: ArrayActions, distribution: str, change: dict[str, object], complaint: str
) -> None:
    label = json.loads(of_actions(actions, distribution).text())
    with pytest.raises(PolicyFileError, match=complaint):
        parse_card(json.dumps({**label, **change}), PATH)


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ("{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[1]", "foreign"),
        (json.dumps({"format": "onnx-zoo"}), "expected format `townlet-policy`, .* foreign"),
        (json.dumps(card(version=3)), "expected version 1 to 2, got 3: written by a newer townlet"),
        (json.dumps(card(version="1")), "expected version 1 to 2, got '1'"),
        (json.dumps(card(vocabulary=[])), "list of different keys"),
        (json.dumps(card(vocabulary=["a", "a"])), "list of different keys"),
        (json.dumps(card(vocabulary=["a", 1])), "text in `vocabulary`"),
        (json.dumps(card(vocabulary_sha256=digest(("wait",)))), "vocabulary of SHA-256"),
        (json.dumps(card(observations={})), "a shape per observation"),
        (json.dumps(card(observations={"features": [8.0]})), "positive sizes in `observations.features`"),
        (json.dumps(card(observations={"features": [0]})), "positive sizes in `observations.features`"),
        (json.dumps(card(observations={"features": [True]})), "positive sizes in `observations.features`"),
        (json.dumps(card(weights_sha256=None)), "text in `weights_sha256`"),
        (json.dumps(card(world=3)), "text in `world`"),
        (json.dumps(card(values=1)), "true or false in `values`"),
        (json.dumps(card(state_size=True)), "an integer in `state_size`"),
        (json.dumps(card(state_size=-1)), r"a `state_size` in \[0, 65536\], got -1"),
        (json.dumps(card(state_size=65537)), "a `state_size` in"),
        (json.dumps(card(feature_names="ab")), "a list in `feature_names`"),
        (json.dumps(card(commitment=["features", 0, 1])), "an object in `commitment`"),
        (json.dumps(card(commitment={"observation": "features", "start": 1})), "an integer in `max_ticks`"),
        (json.dumps({**card(), "feature_names": ["speed"]}), "a spec of SHA-256"),
        (json.dumps({name: value for name, value in card().items() if name != "commitment"}), "in `commitment`"),
        (json.dumps(card(shapes={"state_in": (2,)})), "a shape per observation"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(metadata: str, complaint: str) -> None:
    with pytest.raises(PolicyFileError, match=complaint):
        parse_card(metadata, PATH)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    with pytest.raises(PolicyFileError, match="readable policy file, got No such file"):
        read_policy_bytes(path)
    path.write_bytes(b"abc")
    assert read_policy_bytes(path) == b"abc"
    with pytest.raises(PolicyFileError, match="a regular file"):
        read_policy_bytes(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PolicyFileError, match="a regular file"):
        read_policy_bytes(tmp_path / "pipe")


def test_a_file_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_POLICY_BYTES", 4)
    path = tmp_path / "policy.onnx"
    path.write_bytes(b"1234")
    assert read_policy_bytes(path) == b"1234"
    path.write_bytes(b"12345")
    with pytest.raises(PolicyFileError, match="at most 4 bytes are read, got 5"):
        read_policy_bytes(path)

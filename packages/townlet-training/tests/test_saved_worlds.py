"""What worlds are is what they are again."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from townlet_training.errors import ShapeError
from townlet_training.run.saved_worlds import decode_worlds, encode_worlds
from townlet_trajectory import ArtifactError

HERE = Path("checkpoint")
NUMBERS = st.sampled_from("bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 >f8 >i4".split()).map(
    np.dtype
)
ARRAYS = st.one_of(NUMBERS, st.integers(1, 5).map(lambda width: np.dtype(f"<U{width}"))).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
)


@pytest.mark.property
@given(st.dictionaries(st.from_regex(r"[a-z]{1,3}(/[a-z0-9]{1,3}){0,2}", fullmatch=True), ARRAYS, max_size=4))
def test_what_was_saved_is_what_is_read(state: dict[str, np.ndarray]) -> None:
    read = decode_worlds(encode_worlds(state), HERE)
    assert read.keys() == state.keys()
    for name, array in state.items():
        assert read[name].dtype == array.dtype.newbyteorder("=")
        assert read[name].shape == array.shape
        # Bytes: NaN is NaN, and -0.0 is not 0.0.
        assert read[name].tobytes() == array.astype(array.dtype.newbyteorder("=")).tobytes()


def test_equal_states_are_equal_files() -> None:
    state = {"seeds": np.arange(3), "ids": np.array([["walker", "ä"]]), "tick": np.array(7)}
    assert encode_worlds(state) == encode_worlds({name: array.copy() for name, array in state.items()})


@pytest.mark.parametrize("array", [np.array([{}]), np.array([b"x"]), np.array([1j]), np.zeros(1, "M8[s]")])
def test_anything_else_is_refused_by_name(array: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="the state `rng` of the worlds must be numbers, bools or text"):
        encode_worlds({"rng": array})


def test_numbers_that_are_no_characters_are_refused() -> None:
    files = encode_worlds({"ids": np.array([[0x110000]], np.uint32)})
    with pytest.raises(ArtifactError, match="not the characters of text"):
        decode_worlds({**files, "worlds.json": b'{"ids": "text"}'}, HERE)
    files = encode_worlds({"ids": np.array(65, np.uint32)})
    with pytest.raises(ArtifactError, match="not the characters of text"):
        decode_worlds({**files, "worlds.json": b'{"ids": "text"}'}, HERE)

import re
import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from townlet_runtime.adapters.spaces.observations import (
    FlattenedObservationWarning,
    ObservationCodec,
    require_known_names,
)
from townlet_runtime.adapters.spaces.settings import DeclaredKind, SpaceSettings
from townlet_runtime.errors import ConfigError, EnvironmentFaultError


def fault(row: int, problem: str) -> EnvironmentFaultError:
    return EnvironmentFaultError("small", problem, world=row)


def codec(space: spaces.Space[Any], **settings: Any) -> ObservationCodec:
    return ObservationCodec(space, environment="small", settings=SpaceSettings(**settings))


@pytest.mark.filterwarnings("ignore:small")
def test_boxes_keep_their_shape_and_become_float32() -> None:
    bytes_ = codec(spaces.Box(0, 255, (2, 3), np.uint8))
    assert bytes_.shapes == {"observation": (2, 3)}
    seen = bytes_.stacked([np.full((2, 3), 255, np.uint8)] * 2, fault)["observation"]
    assert (seen.dtype, seen.shape, seen.min()) == (np.float32, (2, 2, 3), 255.0)
    scalar = codec(spaces.Box(-1.0, 1.0, ()))
    assert scalar.shapes == {"observation": (1,)}
    assert scalar.stacked([0.5, np.float64(-1.0)], fault)["observation"].tolist() == [[0.5], [-1.0]]


def test_discrete_observations_are_one_hot() -> None:
    seen = codec(spaces.Discrete(3, start=-1)).stacked([-1, np.int64(1), np.array(0)], fault)["observation"]
    assert seen.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_dictionaries_and_tuples_become_named_arrays() -> None:
    space = spaces.Dict(
        {
            "arm": spaces.Dict({"angle": spaces.Box(-4.0, 4.0, (2,)), "features": spaces.Discrete(2)}),
            "features": spaces.Box(0.0, 1.0, (1,)),
            "pair": spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 1.0, ()))),
            "5 m": spaces.Box(0.0, 1.0, (1,)),
            "action": spaces.Box(0.0, 1.0, (1,)),
            "action_mask": spaces.MultiBinary(4),
        }
    )
    names = codec(space)
    assert names.has_mask
    assert names.shapes == {
        "_5_m": (1,),
        "action_": (1,),
        "arm_angle": (2,),
        "arm_features": (2,),
        "features_": (1,),
        "pair_item_0": (2,),
        "pair_item_1": (1,),
    }
    one = {
        "arm": {"angle": [1.0, 2.0], "features": 1},
        "features": [0.5],
        "pair": (0, 0.25),
        "5 m": [0.0],
        "action": [0.0],
        "action_mask": [1, 1, 1, 1],
    }
    seen = names.stacked([one], fault)
    assert seen["arm_angle"].tolist() == [[1.0, 2.0]] and seen["arm_features"].tolist() == [[0.0, 1.0]]
    assert seen["pair_item_0"].tolist() == [[1.0, 0.0]] and seen["pair_item_1"].tolist() == [[0.25]]


def test_an_observation_beside_its_mask_is_just_an_observation() -> None:
    space = spaces.Dict({"action_mask": spaces.MultiBinary(2), "observation": spaces.Box(0.0, 1.0, (1,))})
    assert codec(space).shapes == {"observation": (1,)}
    assert not codec(spaces.Dict({"x": spaces.Discrete(2)})).has_mask


def test_a_batch_is_read_like_its_rows() -> None:
    space = spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,)), "b": spaces.Discrete(3)})
    rows = [{"a": np.array([0.0, 0.5]), "b": 2}, {"a": np.array([1.0, 0.25]), "b": 0}]
    batch = {"a": np.array([row["a"] for row in rows]), "b": np.array([row["b"] for row in rows])}
    one, other = codec(space).stacked(rows, fault), codec(space).batched(batch, 2, fault)
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    # what was read is nobody else's
    other["a"][:] = 9
    assert batch["a"].max() == 1.0
    with pytest.raises(EnvironmentFaultError, match=r"expected `a` of shape \(3, 2\), got \(2, 2\)"):
        codec(space).batched(batch, 3, fault)


def test_nobody_sees_nothing() -> None:
    seen = codec(spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,)), "b": spaces.Discrete(3)})).stacked([], fault)
    assert {name: array.shape for name, array in seen.items()} == {"a": (0, 2), "b": (0, 3)}


GOOD = np.array([0.0, 0.5], np.float32)


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (np.zeros(3, np.float32), r"expected `observation` of shape \(2,\), got \(3,\)"),
        (np.zeros((1, 2), np.float32), r"of shape \(2,\), got \(1, 2\)"),
        (0.0, r"of shape \(2,\), got \(\)"),
        (None, r"of shape \(2,\), got \(\)"),
        ([0.0, [1.0]], "expected an observation with `observation`, got ValueError"),
        (np.array([0.0, np.nan]), r"expected finite numbers in `observation`, got \[ 0. nan\]"),
        (np.array([np.inf, 0.0]), "expected finite numbers"),
        (np.array([1e300, 0.0]), "expected finite numbers"),
    ],
)
def test_an_observation_that_is_not_of_its_space_is_named(bad: object, problem: str) -> None:
    with pytest.raises(EnvironmentFaultError, match=f"small, world 1: .*{problem}"):
        codec(spaces.Box(0.0, 1.0, (2,))).stacked([GOOD, bad, GOOD], fault)


def test_observations_of_another_dtype_are_refused() -> None:
    with pytest.raises(EnvironmentFaultError, match="expected `observation` of dtype float32, got <U1"):
        codec(spaces.Box(0.0, 1.0, (2,))).stacked([["a", "b"]], fault)
    with pytest.raises(EnvironmentFaultError, match="expected `observation` of dtype int64, got float64"):
        codec(spaces.Discrete(3)).stacked([1.0], fault)


@pytest.mark.parametrize("bad", [3, -1])
def test_a_number_outside_of_its_space_is_named(bad: int) -> None:
    with pytest.raises(EnvironmentFaultError, match=rf"world 1: expected `observation` in \[0, 3\), got {bad}"):
        codec(spaces.Discrete(3)).stacked([0, bad], fault)


def test_a_part_that_is_missing_is_named() -> None:
    space = spaces.Dict({"a": spaces.Box(0.0, 1.0, (1,))})
    with pytest.raises(EnvironmentFaultError, match="world 1: expected an observation with `a`, got KeyError"):
        codec(space).stacked([{"a": [0.0]}, {"b": [0.0]}], fault)


def quiet(space: spaces.Space[Any], **settings: Any) -> ObservationCodec:
    """The codec of a space that gives no reason for a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return codec(space, **settings)


@pytest.mark.parametrize("size", [(4, 5, 3), (9, 8, 1), (5, 6, 4)])
def test_images_are_shown_channels_first(size: tuple[int, int, int]) -> None:
    height, width, channels = size
    images = quiet(spaces.Box(0, 255, size, np.uint8))
    assert images.shapes == {"observation": (channels, height, width)}
    assert images.kinds == {"observation": "image"}
    picture = np.random.default_rng(0).integers(0, 256, (2, *size)).astype(np.uint8)
    for seen in (images.stacked(list(picture), fault), images.batched(picture, 2, fault)):
        shown = seen["observation"]
        assert shown.flags.c_contiguous and shown.shape == (2, channels, height, width)
        for place in ((0, 1, 2, 0), (1, height - 1, width - 1, channels - 1)):
            world, row, column, channel = place
            assert shown[world, channel, row, column] == picture[place]


@pytest.mark.parametrize("shape", [(4, 84, 84), (1, 3, 5), (3, 9, 9)])
def test_images_whose_channels_are_first_stay_so(shape: tuple[int, int, int]) -> None:
    images = quiet(spaces.Box(0, 255, shape, np.uint8))
    assert (images.shapes, images.kinds) == ({"observation": shape}, {"observation": "image"})
    picture = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(images.stacked([picture], fault)["observation"][0], picture)


@pytest.mark.parametrize(
    ("shape", "dtype", "helps"),
    [
        ((3, 3, 3), np.uint8, "`channels_first` or `channels_last` of a map or image$"),
        ((7, 7, 3), np.float32, "`channels_first` or `channels_last` of a map or image$"),
        ((7, 7, 2), np.uint8, "`channels_first` or `channels_last` of a map or image$"),
        ((8, 3), np.float32, "a table of things has `observation_mask` beside it$"),
        ((2, 2, 2, 2), np.float32, "is read as numbers side by side$"),
    ],
)
def test_other_arrays_keep_their_axes_and_a_warning_says_so(
    shape: tuple[int, ...], dtype: type[np.generic], helps: str
) -> None:
    space = spaces.Box(0, 9, shape, dtype)
    with pytest.warns(FlattenedObservationWarning, match=rf"^small: `observation` {re.escape(str(shape))} .*{helps}"):
        told = codec(space)
    assert (told.shapes, told.kinds) == ({"observation": shape}, {})
    # who says so is not warned
    flat = quiet(space, observation_kinds={"observation": "flat"})
    assert (flat.shapes, flat.kinds) == ({"observation": shape}, {})


def test_a_declared_image_is_one() -> None:
    last = quiet(spaces.Box(0.0, 1.0, (5, 6, 7)), observation_kinds={"observation": "channels_last"})
    assert (last.shapes, last.kinds) == ({"observation": (7, 5, 6)}, {"observation": "image"})
    board = np.random.default_rng(0).random((5, 6, 7), np.float32)
    np.testing.assert_array_equal(last.stacked([board], fault)["observation"][0], board.transpose(2, 0, 1))
    first = quiet(spaces.MultiBinary((2, 3, 3)), observation_kinds={"observation": "channels_first"})
    assert (first.shapes, first.kinds) == ({"observation": (2, 3, 3)}, {"observation": "image"})
    # an image of uint8 that is said to be none
    flat = quiet(spaces.Box(0, 255, (4, 5, 3), np.uint8), observation_kinds={"observation": "flat"})
    assert (flat.shapes, flat.kinds) == ({"observation": (4, 5, 3)}, {})


@pytest.mark.parametrize("kind", ["channels_first", "channels_last"])
def test_an_image_without_an_axis_of_channels_has_one(kind: DeclaredKind) -> None:
    grey = quiet(spaces.Box(0, 255, (4, 5), np.uint8), observation_kinds={"observation": kind})
    assert (grey.shapes, grey.kinds) == ({"observation": (1, 4, 5)}, {"observation": "image"})
    picture = np.arange(20, dtype=np.uint8).reshape(4, 5)
    assert grey.stacked([picture], fault)["observation"].tolist() == [[picture.tolist()]]


def test_a_map_of_choices_has_a_channel_for_each() -> None:
    space = spaces.MultiDiscrete(np.full((2, 3), 4))
    cells = quiet(space, observation_kinds={"observation": "channels_last"})
    assert (cells.shapes, cells.kinds) == ({"observation": (4, 2, 3)}, {"observation": "image"})
    board = np.array([[0, 1, 2], [3, 0, 1]])
    seen = cells.stacked([board], fault)["observation"][0]
    assert seen.argmax(axis=0).tolist() == board.tolist() and seen.sum() == 6
    with pytest.warns(
        FlattenedObservationWarning, match=r"`observation` \(2, 3\) .*`channels_last` of a map whose cells are choices"
    ):
        assert codec(space).shapes == {"observation": (24,)}


@pytest.mark.parametrize(
    "space",
    [spaces.Box(0.0, 1.0, (5,)), spaces.Discrete(4), spaces.MultiDiscrete([[2, 3]]), spaces.Box(0.0, 1.0, (1,) * 4)],
)
def test_what_cannot_be_an_image_is_refused(space: spaces.Space[Any]) -> None:
    expected = "`environment.observation_kinds`: `small`: expected `observation` to be an image of two axes, or three"
    with pytest.raises(ConfigError, match=expected):
        codec(space, observation_kinds={"observation": "channels_first"})


THINGS = {"things": spaces.Box(-1.0, 1.0, (3, 2)), "things_mask": spaces.MultiBinary(3), "own": spaces.Discrete(2)}


def test_a_table_beside_its_mask_holds_things() -> None:
    table = quiet(spaces.Dict(THINGS))
    assert table.shapes == {"own": (2,), "things": (3, 2), "things_mask": (3,)}
    assert table.kinds == {"things": "entities"}
    one = {"things": np.full((3, 2), 0.5), "things_mask": np.array([1, 0, 1]), "own": 0}
    assert table.stacked([one], fault)["things_mask"].tolist() == [[1.0, 0.0, 1.0]]
    loose = codec(spaces.Dict({**THINGS, "things_mask": spaces.Box(0, 9, (3,), np.int8)}))
    with pytest.raises(
        EnvironmentFaultError, match=r"world 1: expected `things_mask` of zeros and ones, got \[1. 2. 0."
    ):
        loose.stacked([one, {**one, "things_mask": np.array([1, 2, 0])}], fault)
    flat = quiet(spaces.Dict(THINGS), observation_kinds={"things": "flat"})
    assert flat.kinds == {}


def test_a_mask_of_fractions_is_one_only_where_that_is_said() -> None:
    space = spaces.Dict({**THINGS, "things_mask": spaces.Box(0.0, 1.0, (3,))})
    with pytest.warns(FlattenedObservationWarning, match="`things`"):
        assert codec(space).kinds == {}
    assert quiet(space, observation_kinds={"things": "entities"}).kinds == {"things": "entities"}


@pytest.mark.parametrize("mask", [None, spaces.MultiBinary(2), spaces.Discrete(3)])
def test_things_without_a_mask_are_refused(mask: spaces.Space[Any] | None) -> None:
    space = spaces.Dict({"things": THINGS["things"], **({} if mask is None else {"things_mask": mask})})
    expected = r"expected `things` to be \[E, F\], with `things_mask` \[E\] beside it, got `things` \(3, 2\)"
    with pytest.raises(ConfigError, match=expected):
        codec(space, observation_kinds={"things": "entities"})


def test_sequences_are_things_and_their_mask() -> None:
    space = spaces.Dict({"own": spaces.Box(0.0, 1.0, (1,)), "seen": spaces.Sequence(spaces.Box(0.0, 9.0, (2,)))})
    things = quiet(space, max_entities=3)
    assert things.shapes == {"own": (1,), "seen": (3, 2), "seen_mask": (3,)}
    assert things.kinds == {"seen": "entities"}
    rows = [{"own": [0.0], "seen": ()}, {"own": [1.0], "seen": (np.array([1.0, 2.0]), np.array([3.0, 4.0]))}]
    seen = things.stacked(rows, fault)
    assert seen["seen"].tolist() == [[[0, 0]] * 3, [[1, 2], [3, 4], [0, 0]]]
    assert seen["seen_mask"].tolist() == [[0, 0, 0], [1, 1, 0]]
    with pytest.raises(ConfigError, match="expected `seen` to be a Box, got a Sequence, whose things are `entities`"):
        codec(space, max_entities=3, observation_kinds={"seen": "flat"})
    with pytest.raises(
        ConfigError, match=r"expected a bound on the length of sequences \(`environment.max_entities`\)"
    ):
        codec(space)


@pytest.mark.parametrize("inner", [spaces.Text(2), spaces.Dict({"a": spaces.Discrete(2)}), spaces.Tuple([])])
def test_sequences_of_anything_else_are_refused(inner: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="expected sequences of Box, MultiBinary, Discrete or MultiDiscrete, got"):
        codec(spaces.Sequence(inner), max_entities=3)


def test_names_of_masks_are_not_taken_twice() -> None:
    space = spaces.Dict([("x_mask", spaces.Discrete(2)), ("x", spaces.Sequence(spaces.Discrete(2)))])
    assert codec(space, max_entities=2).shapes == {"x_mask": (2,), "x_": (2, 2), "x__mask": (2,)}


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        (spaces.Text(2, charset="ab"), "is text, of whose one-hot characters a network learns little"),
        (spaces.Discrete(1025), "has 1025 one-hot columns, each learned for itself"),
        (
            spaces.Tuple([spaces.Discrete(2)] * 3),
            "is 3 equal spaces, each with weights of its own in a network; things",
        ),
    ],
)
def test_a_space_that_is_not_learned_well_is_said_so(space: spaces.Space[Any], reason: str) -> None:
    with pytest.warns(FlattenedObservationWarning, match=f"^small: `observation` {reason}"):
        codec(space)
    quiet(spaces.Tuple([spaces.Discrete(1024), spaces.Discrete(2), spaces.Discrete(2)]))


def test_kinds_of_observations_that_nobody_has_are_refused() -> None:
    settings = SpaceSettings(observation_kinds={"map": "channels_last"})
    codecs = [ObservationCodec(spaces.Discrete(2), environment="small", settings=settings)]
    with pytest.raises(ConfigError, match=r"`small` has no observation `map` \(there are: observation\)"):
        require_known_names("small", settings, codecs)
    require_known_names("small", SpaceSettings(observation_kinds={"observation": "flat"}), codecs)


@pytest.mark.filterwarnings("ignore:small")
def test_bits_stay_and_discrete_parts_are_one_hot_side_by_side() -> None:
    bits = codec(spaces.MultiBinary((2, 2)))
    assert bits.shapes == {"observation": (2, 2)}
    assert bits.stacked([np.array([[0, 1], [1, 1]])], fault)["observation"].tolist() == [[[0, 1], [1, 1]]]
    # parts 0 to 1 and 10 to 12
    parts = codec(spaces.MultiDiscrete([2, 3], start=[0, 10]))
    assert parts.shapes == {"observation": (5,)}
    seen = parts.stacked([[1, 10], [0, 12]], fault)["observation"]
    assert seen.tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]]
    with pytest.raises(EnvironmentFaultError, match=r"world 1: expected `observation` in \[10, 13\), got 13"):
        parts.stacked([[0, 10], [0, 13]], fault)
    nested = codec(spaces.MultiDiscrete([[2, 1], [1, 2]]))
    assert nested.stacked([[[1, 0], [0, 0]]], fault)["observation"].tolist() == [[0, 1, 1, 1, 1, 0]]


@pytest.mark.filterwarnings("ignore:small")
def test_texts_are_one_hot_characters() -> None:
    # three characters, each one of: none, "a", "b"
    texts = codec(spaces.Dict({"said": spaces.Text(3, charset="ba"), "n": spaces.Discrete(2)}))
    assert texts.shapes == {"said": (9,), "n": (2,)}
    seen = texts.stacked([{"said": "ab", "n": 0}, {"said": "b", "n": 0}], fault)["said"]
    assert seen.tolist() == [[0, 1, 0, 0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 0, 0, 1, 0, 0]]
    batch = {"said": ("ab", "b"), "n": np.zeros(2, np.int64)}
    np.testing.assert_array_equal(texts.batched(batch, 2, fault)["said"], seen)
    for bad in ("abab", "x", 3):
        with pytest.raises(EnvironmentFaultError, match=f"world 1: expected `said` .* up to 3 of 'ab', got '?{bad}"):
            texts.stacked([{"said": "a", "n": 0}, {"said": bad, "n": 0}], fault)


def test_boxes_without_numbers_are_left_out() -> None:
    space = spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,)), "b": spaces.Box(0.0, 1.0, (3, 0))})
    assert codec(space).shapes == {"a": (2,)}
    assert codec(space).stacked([{"a": [0.0, 1.0], "b": np.zeros((3, 0))}], fault).keys() == {"a"}
    with pytest.raises(ConfigError, match="`small` shows nothing"):
        codec(spaces.Box(0.0, 1.0, (0,)))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.uint32, np.int64])
def test_integers_of_any_width_are_taken_where_they_fit(dtype: type[np.integer[Any]]) -> None:
    bounds = np.iinfo(dtype)
    low, high = max(int(bounds.min), -(2**31)), min(int(bounds.max), 2**31)
    numbers = codec(spaces.Box(low, high, (2,), dtype))
    assert numbers.stacked([np.array([low, high])], fault)["observation"].tolist() == [
        [np.float32(low), np.float32(high)]
    ]
    if bounds.max < 2**62:
        for wrong in (bounds.min - 1, bounds.max + 1):
            problem = rf"of dtype {np.dtype(dtype)} in \[{bounds.min}, {bounds.max}\], got {wrong}"
            with pytest.raises(EnvironmentFaultError, match=f"world 1: expected `observation` {problem}"):
                numbers.stacked([np.array([low, low]), np.array([low, wrong])], fault)


def test_numbers_with_a_fraction_are_no_integers() -> None:
    with pytest.raises(EnvironmentFaultError, match="expected `observation` of dtype uint8, got float64"):
        codec(spaces.Box(0, 255, (1,), np.uint8)).stacked([[0.5]], fault)


def test_a_batch_that_is_none_is_named() -> None:
    space = spaces.Dict({"a": spaces.Box(0.0, 1.0, (2,))})
    for batch in ({"a": [[0.0], [0.0, 1.0]]}, {"b": 0}, None):
        with pytest.raises(EnvironmentFaultError, match="world 0: expected observations with `a`, got"):
            codec(space).batched(batch, 2, fault)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Graph(spaces.Discrete(2), None),
        spaces.Dict({"x": spaces.OneOf([spaces.Discrete(2)])}),
    ],
)
def test_other_observation_spaces_are_refused_by_name(space: spaces.Space[Any]) -> None:
    with pytest.raises(
        ConfigError, match="`environment.name`: `small` cannot be learned: expected observations of Box"
    ):
        codec(space)


def test_an_environment_that_shows_only_a_mask_is_refused() -> None:
    with pytest.raises(ConfigError, match="`small` shows nothing"):
        codec(spaces.Dict({"action_mask": spaces.MultiBinary(2)}))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(2**40),
        spaces.Text(2**22),
    ],
)
def test_boundless_observations_are_refused_by_the_environment(space: spaces.Space[Any]) -> None:
    with pytest.raises(ConfigError, match="`small` cannot be learned: expected observations of 1 to 16777216 numbers"):
        codec(space)

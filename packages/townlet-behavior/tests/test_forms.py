import itertools
import operator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import BOX, EAT, NUM_ACTIONS, PARTS, VOCABULARY, WORK, ints, random_parts

from townlet_behavior import ActionSpec, ActionVocabulary, Box, MultiDiscrete, UnknownActionError, mixture_log_prob
from townlet_behavior.forms import ActionForm, form_of

NAN, INF = float("nan"), float("inf")
FLOOR = float(np.finfo(np.float32).min)
HANDS = MultiDiscrete(parts={"move": ("stay", "north", "south"), "hand": ("open", "closed")})
INDEX, TWO, NUMBERS = form_of(VOCABULARY), form_of(HANDS), form_of(BOX)
SOUTH, CLOSED = 2, 1


def parts(*rows: tuple[int, int]) -> NDArray[np.int64]:
    return np.array(rows, np.int64).reshape(-1, 2)


def numbers(*rows: tuple[float, float]) -> NDArray[np.float32]:
    return np.array(rows, np.float32).reshape(-1, 2)


def masks(*rows: str) -> NDArray[np.bool_]:
    """Columns of both parts, as in `101 01`."""
    return np.array([[column == "1" for column in row.replace(" ", "")] for row in rows])


def test_the_form_of_each_kind_of_action() -> None:
    assert (INDEX.shape, INDEX.dtype, INDEX.mask_columns, str(INDEX)) == ((), np.int64, 5, "[0, 5)")
    assert (TWO.shape, TWO.dtype, TWO.mask_columns, str(TWO)) == ((2,), np.int64, 5, "[0, 3) × [0, 2)")
    assert (NUMBERS.shape, NUMBERS.dtype, NUMBERS.mask_columns) == ((2,), np.float32, 0)
    assert str(NUMBERS) == "[-1.0, 1.0] × [0.5, 2.0]"
    assert (INDEX.wait.tolist(), TWO.wait.tolist(), NUMBERS.wait.tolist()) == (0, [0, 0], [0.0, 0.5])


@pytest.mark.parametrize(
    ("form", "expected"), [(INDEX, [-1, -1]), (TWO, [[-1, -1]] * 2), (NUMBERS, [[NAN, NAN]] * 2)], ids=str
)
def test_rows_without_an_action_are_silent(form: ActionForm, expected: list[object]) -> None:
    empty = form.empty(2)
    assert empty.dtype == form.dtype
    np.testing.assert_array_equal(empty, expected)
    assert form.silent(empty).tolist() == [True, True]
    assert form.proposed(empty).tolist() == [True, True]
    assert form.known(empty).tolist() == [False, False]
    assert form.empty(0).shape == (0, *form.shape)


def test_a_row_that_is_half_an_action_is_neither_an_action_nor_none() -> None:
    half = parts((-1, 0), (0, -1), (-2, -2), (3, 0), (2, 1))
    assert TWO.silent(half).tolist() == [False] * 5
    assert TWO.known(half).tolist() == TWO.usable(half).tolist() == TWO.proposed(half).tolist() == [False] * 4 + [True]
    half_numbers = numbers((NAN, 1.0), (0.0, NAN), (1.0, 2.0))
    assert NUMBERS.silent(half_numbers).tolist() == [False] * 3
    assert NUMBERS.proposed(half_numbers).tolist() == [False, False, True]


def test_indices_that_exist() -> None:
    actions = ints(-2, -1, 0, 4, 5)
    assert INDEX.known(actions).tolist() == INDEX.usable(actions).tolist() == [False, False, True, True, False]
    assert INDEX.proposed(actions).tolist() == [False, True, True, True, False]


def test_numbers_beyond_their_bounds_are_drawn_but_not_executed() -> None:
    drawn = numbers((-3.0, 0.5), (1.0, 9.0), (INF, 1.0), (NAN, 1.0))
    assert NUMBERS.known(drawn).tolist() == [False] * 4
    assert NUMBERS.usable(drawn).tolist() == [True, True, False, False]
    assert NUMBERS.executed(drawn[:2]).tolist() == [[-1.0, 0.5], [1.0, 2.0]]
    assert NUMBERS.executed(drawn).dtype == np.float32
    assert NUMBERS.recorded(numbers((NAN, NAN), (0.5, 1.0))).tolist() == [[0.0, 0.0], [0.5, 1.0]]


def test_indices_are_executed_and_recorded_as_they_are() -> None:
    for form, actions in (INDEX, ints(3, -1)), (TWO, parts((2, 1), (-1, -1))):
        assert form.executed(actions) is actions
        assert form.recorded(actions) is actions


def test_the_mask_of_each_part() -> None:
    # `move` may stay or go south, `hand` may close.
    mask = masks("101 01", "101 01", "101 01", "101 01")
    actions = parts((0, 1), (1, 1), (2, 0), (1, 0))
    assert TWO.legal(mask, actions).tolist() == [True, False, False, False]
    # Only the part that is forbidden is replaced: by its first value where that is legal, else by the first legal one.
    assert TWO.replaced(mask, actions).tolist() == [[0, 1], [0, 1], [2, 1], [0, 1]]
    assert TWO.first(masks("001 01", "110 11")).tolist() == [[SOUTH, CLOSED], [0, 0]]


def test_a_part_without_a_legal_value_leaves_nothing() -> None:
    assert TWO.stuck(masks("000 11", "111 00", "100 01")).tolist() == [True, True, False]


def test_a_single_action_is_left_where_every_part_has_a_single_value() -> None:
    assert TWO.only(masks("010 01", "010 11", "110 01", "111 11")).tolist() == [True, False, False, False]


def test_a_joint_log_probability_is_the_sum_over_the_parts() -> None:
    # (south, closed): 0.25 · 0.75.
    log_probs = np.log(np.array([[0.5, 0.25, 0.25, 0.25, 0.75]], np.float32))
    joint = TWO.log_prob(log_probs, parts((SOUTH, CLOSED)))
    assert joint.dtype == np.float32
    assert np.exp(joint) == pytest.approx([0.1875])


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_what_two_parts_forbid_is_as_impossible_as_a_float32_can_say() -> None:
    log_probs = np.array([[0.0, FLOOR, FLOOR, 0.0, FLOOR]], np.float32)
    assert TWO.log_prob(log_probs, parts((1, 1))).tolist() == [FLOOR]


def test_a_temperature_is_of_each_part() -> None:
    # τ = 1/2 squares: (1/2, 1/4, 1/4) → (4, 1, 1)/6 and (1/4, 3/4) → (1, 9)/10.
    log_probs = np.log(np.array([[0.5, 0.25, 0.25, 0.25, 0.75]], np.float32))
    tempered = TWO.tempered(log_probs, np.array([0.5], np.float32))
    assert np.exp(tempered) == pytest.approx(np.array([[4 / 6, 1 / 6, 1 / 6, 0.1, 0.9]]))
    assert np.exp(TWO.log_prob(tempered, parts((0, CLOSED)))) == pytest.approx([0.6])


def test_a_reduction_is_of_each_part() -> None:
    table = np.array([[1.0, 2.0, 3.0, 4.0, 5.0]])
    assert TWO.reduced(np.add, table).tolist() == [[6.0, 9.0]]
    assert INDEX.reduced(np.add, table).tolist() == [15.0]


@given(st.integers(0, 2**32), st.floats(0.05, 1.0))
def test_the_mixture_sums_to_one_over_all_joint_actions(seed: int, ratio: float) -> None:
    form, rng = form_of(PARTS), np.random.default_rng(seed)
    mask = rng.random((1, form.mask_columns)) < 0.7
    starts = np.cumsum((0, *PARTS.sizes))[:-1]
    mask[:, starts] = True
    log_probs = random_parts(seed, mask, greedy=False, known=True, opinion=False).log_probs
    assert log_probs is not None
    every = np.array(list(itertools.product(*map(range, PARTS.sizes))), np.int64)
    log_pi = form.log_prob(np.repeat(log_probs, len(every), axis=0), every).astype(np.float64)
    assert np.exp(log_pi).sum() == pytest.approx(1.0, abs=1e-5)
    expert = every[rng.integers(len(every))]
    log_mu = mixture_log_prob(log_pi, (every == expert).all(axis=1), ratio)
    assert np.exp(log_mu).sum() == pytest.approx(1.0, abs=1e-5)


def spec_of_one_part(size: int) -> tuple[ActionSpec, ActionSpec]:
    keys = tuple(map(str, range(size)))
    return ActionVocabulary(keys=keys, kinds=keys), MultiDiscrete(parts={"only": keys})


@given(st.integers(2, 6), st.integers(0, 2**32))
def test_one_part_is_an_index_with_an_axis(size: int, seed: int) -> None:
    vocabulary, single = map(form_of, spec_of_one_part(size))
    rng = np.random.default_rng(seed)
    index, mask = rng.integers(0, size, 4), rng.random((4, size)) < 0.5
    part = index[:, None]
    log_probs = np.log(rng.dirichlet(np.ones(size), 4)).astype(np.float32)
    temperatures = rng.uniform(0.2, 3.0, 4).astype(np.float32)
    for name in ("known", "silent", "usable", "proposed"):
        ask = operator.methodcaller(name, index - 1), operator.methodcaller(name, part - 1)
        assert ask[0](vocabulary).tolist() == ask[1](single).tolist(), name
    assert vocabulary.legal(mask, index).tolist() == single.legal(mask, part).tolist()
    assert vocabulary.stuck(mask).tolist() == single.stuck(mask).tolist()
    assert vocabulary.only(mask).tolist() == single.only(mask).tolist()
    assert vocabulary.first(mask).tolist() == single.first(mask)[:, 0].tolist()
    illegal = ~vocabulary.legal(mask, index)
    assert vocabulary.replaced(mask, index)[illegal].tolist() == single.replaced(mask, part)[illegal, 0].tolist()
    assert vocabulary.log_prob(log_probs, index).tolist() == single.log_prob(log_probs, part).tolist()
    tempered = vocabulary.tempered(log_probs, temperatures), single.tempered(log_probs, temperatures)
    assert tempered[0].tolist() == tempered[1].tolist()


@pytest.mark.parametrize(
    ("actions", "fed", "read"),
    [
        (VOCABULARY, EAT, EAT),
        (VOCABULARY, np.int64(WORK), WORK),
        (HANDS, [2, 1], (2, 1)),
        (HANDS, np.array([0, 1]), (0, 1)),
        (BOX, (-1, 0.5), (-1.0, 0.5)),
        (BOX, np.array([0.25, 2.0]), (0.25, 2.0)),
        (Box(names=("a",), low=(0.0,), high=(0.1,)), (0.1,), (float(np.float32(0.1)),)),
    ],
)
def test_one_agents_action_in_plain_numbers(actions: ActionSpec, fed: object, read: object) -> None:
    assert form_of(actions).one(fed) == read


@pytest.mark.parametrize(
    ("actions", "fed", "message"),
    [
        (VOCABULARY, NUM_ACTIONS, r"in \[0, 5\), got 5"),
        (VOCABULARY, -1, r"in \[0, 5\), got -1"),
        (VOCABULARY, 1.5, r"in \[0, 5\), got 1.5: 'float' object"),
        (VOCABULARY, (1, 2), r"in \[0, 5\), got \(1, 2\): 'tuple' object"),
        (VOCABULARY, 2**70, "got 1180591620717411303424: "),
        (HANDS, (3, 0), r"in \[0, 3\) × \[0, 2\), got \(3, 0\)"),
        (HANDS, (0, -1), r"got \(0, -1\)"),
        (HANDS, (0,), r"got \(0,\): expected 2 indices, got 1"),
        (HANDS, 1, "got 1: 'int' object"),
        (HANDS, (0.5, 0), r"got \(0.5, 0\): 'float' object"),
        (BOX, (0.0, 0.25), r"in \[-1.0, 1.0\] × \[0.5, 2.0\], got \(0.0, 0.25\)"),
        (BOX, (NAN, 1.0), r"got \(nan, 1.0\)"),
        (BOX, (1e300, 1.0), r"got \(1e\+300, 1.0\)"),
        (BOX, (0.0, 1.0, 1.0), r"got \(0.0, 1.0, 1.0\): expected 2 numbers, got 3"),
        (BOX, 0.5, "got 0.5: 'float' object"),
        (BOX, ("left", 1.0), r"got \('left', 1.0\): could not convert"),
    ],
)
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_an_action_that_does_not_exist_is_refused(actions: ActionSpec, fed: object, message: str) -> None:
    with pytest.raises(UnknownActionError, match=f"`action` must be .*{message}"):
        form_of(actions).one(fed)

"""Memory over fragments is memory step by step, in torch and in numpy."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.testing import assert_close

from townlet_training.errors import ShapeError
from townlet_training.network.memory import Fragments, Frames, GatedUnit, Memory

NUM_INPUTS = 3
MEMORIES = ("gru", "frames")


def memory_of(kind: str, *, seed: int = 0) -> Memory:
    if kind == "frames":
        return Frames(NUM_INPUTS, 4)
    memory = GatedUnit(NUM_INPUTS, 5, "uniform", generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for weight in memory.parameters():
            weight.mul_(2.0)
    return memory


def rows_of(lengths: list[int], memory: Memory, *, seed: int) -> tuple[torch.Tensor, Fragments]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(sum(lengths), NUM_INPUTS, generator=generator)
    states = torch.randn(len(lengths), memory.state_size, generator=generator).tanh()
    return inputs, Fragments(torch.tensor([0, *lengths]).cumsum(0), states)


def stepped(memory: Memory, inputs: torch.Tensor, fragments: Fragments) -> tuple[torch.Tensor, torch.Tensor]:
    """Brute force: one row at a time."""
    outputs, after = [], []
    for start, end, state in zip(fragments.offsets, fragments.offsets[1:], fragments.states, strict=False):
        state = state[None]
        for row in inputs[start:end]:
            output, state = memory.step(row[None], state)
            outputs.append(output)
        after.append(state)
    return torch.cat(outputs), torch.cat(after)


def test_a_gated_unit_by_hand() -> None:
    # One unit, h = 0.5, x = 1. r = σ(0) = 1/2 and z = σ(log 3) = 3/4, n = tanh(1 + 1/2 (2 · 1/2 - 1)) = tanh 1.
    memory = GatedUnit(1, 1, "orthogonal", generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        memory.gru.weight_ih_l0.copy_(torch.tensor([[2.0], [math.log(3.0)], [1.0]]))
        memory.gru.bias_ih_l0.copy_(torch.tensor([-2.0, 0.0, 0.0]))
        memory.gru.weight_hh_l0.copy_(torch.tensor([[0.0], [0.0], [2.0]]))
        memory.gru.bias_hh_l0.copy_(torch.tensor([0.0, 0.0, -1.0]))
    expected = 0.25 * math.tanh(1.0) + 0.75 * 0.5
    inputs, state = torch.ones(1, 1), torch.tensor([[0.5]])
    for outputs, after in (memory.step(inputs, state), memory(inputs, Fragments.single_steps(state))):
        assert outputs.item() == pytest.approx(expected, abs=1e-6)
        assert torch.equal(outputs, after)
    outputs, after = memory.array_memory()(inputs.numpy(), state.numpy())
    assert outputs.item() == after.item() == pytest.approx(expected, abs=1e-6)


def test_a_gated_unit_is_torchs_cell() -> None:
    memory = GatedUnit(NUM_INPUTS, 5, "uniform", generator=torch.Generator().manual_seed(0))
    cell = torch.nn.GRUCell(NUM_INPUTS, 5)
    cell.load_state_dict({name.removesuffix("_l0"): weight for name, weight in memory.gru.state_dict().items()})
    inputs, fragments = rows_of([1] * 6, memory, seed=3)
    assert_close(memory.step(inputs, fragments.states)[1], cell(inputs, fragments.states))


def test_frames_by_hand() -> None:
    # Two earlier frames of one number; a fragment of one row keeps one of them.
    frames = Frames(num_inputs=1, num_frames=3)
    fragments = Fragments(torch.tensor([0, 1, 5]), torch.tensor([[8.0, 9.0], [0.0, 0.0]]))
    outputs, after = frames(torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]]), fragments)
    assert outputs.tolist() == [[8, 9, 1], [0, 0, 2], [0, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert after.tolist() == [[9, 1], [4, 5]]


@pytest.mark.parametrize("kind", MEMORIES)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=6), seed=st.integers(0, 2**16))
def test_whole_fragments_are_steps(kind: str, lengths: list[int], seed: int) -> None:
    memory = memory_of(kind, seed=seed)
    inputs, fragments = rows_of(lengths, memory, seed=seed)
    outputs, after = memory(inputs, fragments)
    expected, expected_after = stepped(memory, inputs, fragments)
    assert_close(outputs, expected, rtol=0.0, atol=1e-6)
    assert_close(after, expected_after, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("kind", MEMORIES)
@given(length=st.integers(2, 12), data=st.data())
def test_a_fragment_may_be_cut_anywhere(kind: str, length: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, length - 1))
    memory = memory_of(kind)
    inputs, whole = rows_of([length], memory, seed=length)
    outputs, after = memory(inputs, whole)
    first, between = memory(inputs[:cut], Fragments(torch.tensor([0, cut]), whole.states))
    second, end = memory(inputs[cut:], Fragments(torch.tensor([0, length - cut]), between))
    assert_close(torch.cat([first, second]), outputs, rtol=0.0, atol=1e-6)
    assert_close(end, after, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("kind", MEMORIES)
@given(lengths=st.lists(st.integers(1, 5), min_size=2, max_size=5), seed=st.integers(0, 2**16))
def test_fragments_do_not_see_each_other(kind: str, lengths: list[int], seed: int) -> None:
    memory = memory_of(kind)
    inputs, fragments = rows_of(lengths, memory, seed=seed)
    outputs, after = memory(inputs, fragments)
    order = np.random.default_rng(seed).permutation(len(lengths))
    bounds = list(zip(fragments.offsets[:-1], fragments.offsets[1:], strict=True))
    rows = torch.cat([torch.arange(*bounds[each]) for each in order])
    turned = Fragments(torch.tensor([0, *np.array(lengths)[order]]).cumsum(0), fragments.states[order])
    turned_outputs, turned_after = memory(inputs[rows], turned)
    assert_close(turned_outputs, outputs[rows], rtol=0.0, atol=1e-6)
    assert_close(turned_after, after[order], rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("kind", MEMORIES)
def test_numpy_steps_as_torch_does_for_a_long_time(kind: str) -> None:
    memory = memory_of(kind)
    rng = np.random.default_rng(0)
    states = np.zeros((7, memory.state_size), np.float32)
    expected_states = torch.zeros(7, memory.state_size)
    twin = memory.array_memory()
    for _ in range(300):
        inputs = (3.0 * rng.normal(size=(7, NUM_INPUTS))).astype(np.float32)
        outputs, states = twin(inputs, states)
        with torch.no_grad():
            expected, expected_states = memory.step(torch.from_numpy(inputs), expected_states)
        assert outputs.dtype == states.dtype == np.float32
        assert_allclose(outputs, expected.numpy(), rtol=0.0, atol=1e-6)
        assert_allclose(states, expected_states.numpy(), rtol=0.0, atol=1e-6)


def test_numpy_follows_the_weights_in_place() -> None:
    memory = memory_of("gru")
    twin = memory.array_memory()
    inputs, states = np.ones((2, NUM_INPUTS), np.float32), np.full((2, 5), 0.3, np.float32)
    before = twin(inputs, states)[0]
    with torch.no_grad():
        for weight in memory.parameters():
            weight.mul_(-1.0)
    expected = memory.step(torch.from_numpy(inputs), torch.from_numpy(states))[0].detach().numpy()
    assert_allclose(twin(inputs, states)[0], expected, rtol=0.0, atol=1e-6)
    assert not np.allclose(before, expected)


def test_large_inputs_do_not_overflow() -> None:
    with np.errstate(all="raise"):
        outputs, _ = memory_of("gru").array_memory()(
            np.full((1, NUM_INPUTS), 1e4, np.float32), np.zeros((1, 5), np.float32)
        )
    assert np.isfinite(outputs).all()


def test_frames_are_a_queue() -> None:
    frames = Frames(NUM_INPUTS, 4)
    state = np.zeros((1, frames.state_size), np.float32)
    queue = deque([np.zeros(NUM_INPUTS, np.float32)] * 4, maxlen=4)
    for step in range(9):
        seen = np.full(NUM_INPUTS, step, np.float32)
        queue.append(seen)
        outputs, state = frames.array_memory()(seen[None], state)
        assert_array_equal(outputs[0], np.concatenate(queue))


def test_the_gradient_of_a_sequence_is_finite_differences() -> None:
    memory = memory_of("gru").double()
    inputs, fragments = rows_of([3, 1, 4], memory, seed=1)
    inputs, states = inputs.double().requires_grad_(), fragments.states.double().requires_grad_()
    offsets = fragments.offsets

    def loss(inputs: torch.Tensor, states: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        outputs, after = memory(inputs, Fragments(offsets, states))
        return outputs.square().sum() + after.sin().sum()

    assert torch.autograd.gradcheck(loss, (inputs, states, *memory.parameters()))


def test_the_gradient_of_a_sequence_is_that_of_its_steps() -> None:
    memory = memory_of("gru").double()
    inputs, fragments = rows_of([5, 2, 6], memory, seed=2)
    inputs, fragments = inputs.double(), Fragments(fragments.offsets, fragments.states.double())
    gradients = []
    for run in (memory, lambda *given: stepped(memory, *given)):
        memory.zero_grad()
        outputs, after = run(inputs, fragments)
        (outputs.square().sum() + after.sum()).backward()
        gradients.append([weight.grad for weight in memory.parameters()])
    assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("kind", MEMORIES)
def test_fragments_that_do_not_fit_are_refused(kind: str) -> None:
    memory = memory_of(kind)
    inputs, states = torch.zeros(4, NUM_INPUTS), torch.zeros(2, memory.state_size)
    with pytest.raises(ShapeError, match=rf"`states` must be \[2, {memory.state_size}\], got \(2, 99\)"):
        memory(inputs, Fragments(torch.tensor([0, 1, 4]), torch.zeros(2, 99)))
    with pytest.raises(ShapeError, match=r"`offsets` must rise from 0 to 4, got \[0\] to \[3\]"):
        memory(inputs, Fragments(torch.tensor([0, 1, 3]), states))
    with pytest.raises(ShapeError, match="with 1 empty fragments"):
        memory(inputs, Fragments(torch.tensor([0, 0, 4]), states))


def test_fragments_by_hand() -> None:
    fragments = Fragments(torch.tensor([0, 2, 3, 7]), torch.zeros(3, 5))
    assert fragments.lengths.tolist() == [2, 1, 4]
    fragments.require(7, 5)
    steps = Fragments.single_steps(torch.ones(3, 2))
    assert steps.offsets.tolist() == [0, 1, 2, 3] and steps.lengths.tolist() == [1, 1, 1]
    steps.require(3, 2)


@pytest.mark.parametrize(
    ("offsets", "states", "message"),
    [
        ([0, 2, 7], (3, 5), r"`states` must be \[2, 5\], got \(3, 5\)"),
        ([0, 2, 7], (2, 4), r"`states` must be \[2, 5\], got \(2, 4\)"),
        ([0, 2, 6], (2, 5), r"`offsets` must rise from 0 to 7, got \[0\] to \[6\]"),
        ([1, 2, 7], (2, 5), r"got \[1\] to \[7\]"),
        ([0, 0, 7], (2, 5), "with 1 empty fragments"),
        ([0, 8, 7], (2, 5), "with 1 empty fragments"),
    ],
)
def test_fragments_of_other_rows_are_refused(offsets: list[int], states: tuple[int, int], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Fragments(torch.tensor(offsets), torch.zeros(*states)).require(7, 5)

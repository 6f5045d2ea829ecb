"""Policy files that are programs: each is built here, and refused without being run."""

import json
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx.numpy_helper import from_array
from onnx_files import card, seal

from townlet_runtime.errors import PolicyFileError
from townlet_runtime.policy import graph
from townlet_runtime.policy.onnx import OnnxPolicy
from townlet_runtime.policy.operators import ALLOWED

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
SHAPES = {"features": (8,)}
PATH = Path("policy.onnx")


def small(name: str, values: Sequence[int] | int) -> TensorProto:
    return from_array(np.array(values, np.int64), name)


def model(*nodes: NodeProto, constants: Sequence[TensorProto] = ()) -> ModelProto:
    """A policy whose outputs are those of one linear layer, and which computes `nodes` before."""
    ends = [
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["log_probs"]),
        helper.make_node("ReduceMax", ["logits"], ["values"], axes=[1], keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info("features", FLOAT, ["N", 8]),
        helper.make_tensor_value_info("action_mask", TensorProto.BOOL, ["N", 4]),
    ]
    outputs = [
        helper.make_tensor_value_info("log_probs", FLOAT, ["N", 4]),
        helper.make_tensor_value_info("values", FLOAT, ["N"]),
    ]
    weights = from_array(np.ones((8, 4), np.float32), "weights")
    body = helper.make_graph([*nodes, *ends], "policy", inputs, outputs, [weights, *constants])
    made = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(made, {"townlet": json.dumps(card(shapes=SHAPES))})
    return made


def refusal(made: ModelProto, tmp_path: Path) -> str:
    path = tmp_path / "policy.onnx"
    path.write_bytes(seal(made.SerializeToString()))
    with pytest.raises(PolicyFileError) as refused:
        OnnxPolicy.load(path)
    return str(refused.value)


@pytest.fixture(autouse=True)
def no_session_is_made(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """What is refused is refused before onnxruntime sees it."""
    if "accepted" not in request.node.name:
        monkeypatch.setattr("onnxruntime.InferenceSession", None)


@pytest.fixture
def bounded() -> Iterator[None]:
    """At most ten seconds of processor time and 200 MB more memory than before."""
    begun, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert time.process_time() - begun < 10.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000


def test_a_plain_policy_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    path.write_bytes(seal(model().SerializeToString()))
    log_probs, values = OnnxPolicy.load(path).act({"features": np.ones((2, 8), np.float32)}, None)
    np.testing.assert_allclose(log_probs, np.full((2, 4), -np.log(4.0)), rtol=1e-6)
    assert values.tolist() == [8.0, 8.0]


def loop_of(trips: int) -> ModelProto:
    """`features` doubled so many times."""
    step = [
        helper.make_node("Identity", ["going"], ["still"]),
        helper.make_node("Add", ["carried", "carried"], ["doubled"]),
    ]

    def carried(name: str) -> ValueInfoProto:
        return helper.make_tensor_value_info(name, FLOAT, None)

    body = helper.make_graph(
        step,
        "body",
        [
            helper.make_tensor_value_info("trip", INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            carried("carried"),
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), carried("doubled")],
    )
    loop = helper.make_node("Loop", ["trips", "", "features"], ["looped"], body=body)
    return model(loop, constants=[small("trips", trips)])


def test_a_loop_is_refused_by_its_operator(tmp_path: Path, bounded: None) -> None:
    made = loop_of(2**62)
    assert len(made.SerializeToString()) < 1400
    assert "operators of plain networks, got `Loop`" in refusal(made, tmp_path)


@pytest.mark.parametrize("operator", ["If", "Scan", "SequenceMap", "NonZero", "Range", "RandomNormal", "Einsum"])
def test_what_branches_draws_or_has_no_size_is_not_allowed(operator: str) -> None:
    assert operator not in ALLOWED


def test_forty_gigabytes_of_zeros_are_refused_by_their_size(tmp_path: Path, bounded: None) -> None:
    zeros = helper.make_node("ConstantOfShape", ["shape"], ["zeros"], name="huge")
    message = refusal(model(zeros, constants=[small("shape", [100_000, 100_000])]), tmp_path)
    assert "at most 4294967296 bytes of intermediate values at 4096 agents" in message
    assert "got 40000000000 with `zeros` [100000, 100000] of node `huge` (ConstantOfShape)" in message


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Expand", ["features", "tall"], ["much"]),
        helper.make_node("Tile", ["features", "times"], ["much"]),
        helper.make_node("Pad", ["features", "pads"], ["much"]),
        helper.make_node("OneHot", ["two", "depth", "pair"], ["much"]),
        helper.make_node("MatMul", ["column", "row"], ["much"]),
    ],
    ids=lambda node: str(node.op_type),
)
def test_every_way_to_make_much_of_little_is_bounded(node: NodeProto, tmp_path: Path, bounded: None) -> None:
    constants = [
        small("tall", [1_000_000, 1, 8]),
        small("times", [1_000_000, 1_000_000]),
        small("pads", [0, 0, 0, 10_000_000]),
        small("two", [0, 1]),
        small("depth", 2_000_000_000),
        from_array(np.zeros(2, np.float32), "pair"),
        from_array(np.zeros((100_000, 1), np.float32), "column"),
        from_array(np.zeros((1, 100_000), np.float32), "row"),
    ]
    assert "bytes of intermediate values" in refusal(model(node, constants=constants), tmp_path)


def test_many_middling_values_add_up(tmp_path: Path, bounded: None) -> None:
    # each [4096, 8192] of 2^27 bytes: 32 are allowed, the 33rd is not
    tiles = [helper.make_node("Tile", ["features", "times"], [f"tile{index}"]) for index in range(40)]
    message = refusal(model(*tiles, constants=[small("times", [1, 1024])]), tmp_path)
    assert "got 4429185024 with `tile32` [4096, 8192] of a node Tile" in message


def test_sizes_that_would_wrap_around_are_refused(tmp_path: Path, bounded: None) -> None:
    # 4096 * 2^52 = 2^64, which is 0 in 64 bits
    tile = helper.make_node("Tile", ["features", "times"], ["nothing"])
    message = refusal(model(tile, constants=[small("times", [2**52, 1])]), tmp_path)
    assert "expected integers up to 2^31 for a node Tile, got `times`" in message
    pool = helper.make_node("MaxPool", ["image"], ["pooled"], kernel_shape=[2**62])
    image = from_array(np.zeros((1, 1, 4), np.float32), "image")
    assert "expected integers up to 2^31 in a node MaxPool" in refusal(model(pool, constants=[image]), tmp_path)


def test_a_size_that_depends_on_what_is_seen_is_refused(tmp_path: Path, bounded: None) -> None:
    seen = helper.make_node("Cast", ["features"], ["seen"], to=INT64)
    first = helper.make_node("Slice", ["seen", "zero", "one"], ["first"])
    flat = helper.make_node("Reshape", ["first", "minus"], ["flat"])
    zeros = helper.make_node("ConstantOfShape", ["flat"], ["zeros"])
    constants = [small("zero", [0]), small("one", [1]), small("minus", [-1])]
    message = refusal(model(seen, first, flat, zeros, constants=constants), tmp_path)
    assert "a node ConstantOfShape to give `zeros` a size that is known beforehand" in message


def test_much_work_on_little_memory_is_refused(tmp_path: Path, bounded: None) -> None:
    # [16384, 16384] @ itself: 2^42 multiplications each, 2^30 bytes each
    square = helper.make_node("ConstantOfShape", ["shape"], ["square"])
    products = [helper.make_node("MatMul", ["square", "square"], [f"product{index}"]) for index in range(3)]
    message = refusal(model(square, *products, constants=[small("shape", [16384, 16384])]), tmp_path)
    assert "at most 8796093022208 multiplications at 4096 agents" in message
    assert "up to a node MatMul" in message


def test_a_recurrent_layer_is_as_large_as_what_it_holds(tmp_path: Path, bounded: None) -> None:
    # 10^6 steps of one agent through 512 units: 4 gates * 512 * 10^6 numbers, although only the last state is put out
    weights = np.zeros((1, 2048, 1), np.float32), np.zeros((1, 2048, 512), np.float32)
    constants = [small("shape", [1_000_000, 1, 1]), from_array(weights[0], "W"), from_array(weights[1], "R")]
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["sequence"]),
        helper.make_node("LSTM", ["sequence", "W", "R"], ["", "last"], hidden_size=512),
    ]
    assert "bytes of intermediate values" in refusal(model(*nodes, constants=constants), tmp_path)


IMAGE = from_array(np.zeros((1, 3, 8, 8), np.float32), "image")
KERNEL = from_array(np.zeros((4, 3, 3, 3), np.float32), "kernel")


def convolved(kernel: TensorProto = KERNEL, image: TensorProto = IMAGE, **attributes: object) -> ModelProto:
    node = helper.make_node("Conv", ["image", "kernel"], ["seen"], **attributes)
    return model(node, constants=[image, kernel])


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({"strides": [0, 1]}, "positive integers in a node Conv, got `strides` [0, 1]"),
        ({"strides": [-1, -1]}, "positive integers in a node Conv, got `strides` [-1, -1]"),
        ({"dilations": [1, 0]}, "positive integers in a node Conv, got `dilations` [1, 0]"),
        ({"kernel_shape": [0, 0]}, "positive integers in a node Conv, got `kernel_shape` [0, 0]"),
        ({"group": 0}, "positive integers in a node Conv, got `group` [0]"),
        ({"group": 7}, "a node Conv to fit its weights, got [1, 3, 8, 8], [4, 3, 3, 3] in 7 groups of (3, 3)"),
        ({"group": 3}, "a node Conv to fit its weights"),
        (
            {"kernel_shape": [1, 1]},
            "a node Conv to fit its weights, got [1, 3, 8, 8], [4, 3, 3, 3] in 1 groups of (1, 1)",
        ),
        ({"pads": [2**30] * 4}, "bytes of intermediate values"),
        ({"pads": [2**62] * 4}, "expected integers up to 2^31 in a node Conv"),
    ],
)
def test_a_convolution_with_hostile_sizes_is_refused(
    attributes: dict[str, object], complaint: str, tmp_path: Path, bounded: None
) -> None:
    assert complaint in refusal(convolved(**attributes), tmp_path)


def test_a_convolution_is_as_much_work_as_its_windows(tmp_path: Path, bounded: None) -> None:
    # 1024 filters of 2048 * 16 * 16 = 524288 numbers over 113 * 113 places: less than 2^43 multiplications, but the
    # windows may be laid side by side, up to 4 * 1024 * 524288 * 12769 = 2.74e13 bytes.
    sizes = (("image", [1, 2048, 128, 128]), ("kernel", [1024, 2048, 16, 16]))
    zeros = [helper.make_node("ConstantOfShape", [f"{name}.shape"], [name]) for name, _ in sizes]
    node = helper.make_node("Conv", ["image", "kernel"], ["seen"])
    made = model(*zeros, node, constants=[small(f"{name}.shape", shape) for name, shape in sizes])
    assert "bytes of intermediate values at 4096 agents, got 274235" in refusal(made, tmp_path)


def test_one_value_may_be_several_inputs(tmp_path: Path, bounded: None) -> None:
    square = from_array(np.zeros((3, 3, 3, 3), np.float32), "image")
    node = helper.make_node("Conv", ["image", "image"], ["seen"])
    made = model(node, constants=[square])
    assert graph.check_graph(made, graph.declared_inputs(made), PATH)["values"] == (FLOAT, (4096,))
    both = [helper.make_node("GRU", ["sequence", "W", "W"], ["", "last"], hidden_size=2)]
    weights = from_array(np.zeros((1, 6, 2), np.float32), "W")
    made = model(*both, constants=[from_array(np.zeros((1, 4, 2), np.float32), "sequence"), weights])
    assert graph.check_graph(made, graph.declared_inputs(made), PATH)["values"] == (FLOAT, (4096,))


@pytest.mark.parametrize(
    ("attributes", "shapes", "complaint"),
    [
        ({"hidden_size": 0}, {}, "positive integers in a node GRU, got `hidden_size` [0]"),
        ({"hidden_size": 2**30}, {}, "bytes of intermediate values"),
        ({"hidden_size": 2}, {}, "a node GRU to fit its weights, got [2, 3, 5], [1, 12, 5], [1, 12, 4] with 2 units"),
        ({"hidden_size": 4, "layout": 1}, {}, "a node GRU to fit its weights"),
        ({"hidden_size": 4, "direction": "bidirectional"}, {}, "a node GRU to fit its weights"),
        ({"hidden_size": 4}, {"W": (1, 12, 6)}, "a node GRU to fit its weights"),
        ({"hidden_size": 4}, {"R": (1, 8, 4)}, "a node GRU to fit its weights"),
    ],
)
def test_a_recurrent_layer_with_hostile_sizes_is_refused(
    attributes: dict[str, object], shapes: dict[str, tuple[int, ...]], complaint: str, tmp_path: Path, bounded: None
) -> None:
    sizes = {"sequence": (2, 3, 5), "W": (1, 12, 5), "R": (1, 12, 4)} | shapes
    constants = [from_array(np.zeros(shape, np.float32), name) for name, shape in sizes.items()]
    node = helper.make_node("GRU", ["sequence", "W", "R"], ["y", "last"], **attributes)
    assert complaint in refusal(model(node, constants=constants), tmp_path)


def test_attention_over_very_many_things_is_refused(tmp_path: Path, bounded: None) -> None:
    # The scores of 4096 agents with 16384 things each: 4096 * 16384 * 16384 numbers, 4.398e12 bytes.
    nodes = [
        helper.make_node("Tile", ["features", "times"], ["wide"]),
        helper.make_node("Reshape", ["wide", "things"], ["query"]),
        helper.make_node("Transpose", ["query"], ["key"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["query", "key"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights.of"], axis=-1),
    ]
    constants = [small("times", [1, 2048]), small("things", [0, 16384, 1])]
    message = refusal(model(*nodes, constants=constants), tmp_path)
    assert "got 4398851817472 with `scores` [4096, 16384, 16384] of a node MatMul" in message


def test_a_product_that_is_stretched_over_both_its_sides_is_refused(tmp_path: Path, bounded: None) -> None:
    # [4096, 1, 8] and [1, 4096, 8]-shaped batches meet as 4096 * 4096 products.
    nodes = [
        helper.make_node("Unsqueeze", ["features", "first"], ["tall"]),
        helper.make_node("Unsqueeze", ["features", "second"], ["deep"]),
        helper.make_node("Mul", ["tall", "deep"], ["met"]),
        helper.make_node("Mul", ["met", "met"], ["again"]),
        helper.make_node("Unsqueeze", ["met", "last"], ["column"]),
        helper.make_node("Unsqueeze", ["met", "row"], ["line"]),
        helper.make_node("MatMul", ["column", "line"], ["products"]),
    ]
    constants = [small("first", [0]), small("second", [1]), small("last", [3]), small("row", [2])]
    assert "bytes of intermediate values" in refusal(model(*nodes, constants=constants), tmp_path)


def test_functions_of_its_own_are_refused(tmp_path: Path, bounded: None) -> None:
    # each calls the one before it twice: 2^40 additions once they are unfolded
    made = model(helper.make_node("f40", ["features"], ["y"], domain="own"))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    for index in range(41):
        operator, domain = ("Identity", "") if index == 0 else (f"f{index - 1}", "own")
        nodes = [
            helper.make_node(operator, ["x"], ["a"], domain=domain),
            helper.make_node(operator, ["a"], ["b"], domain=domain),
        ]
        made.functions.append(helper.make_function("own", f"f{index}", ["x"], ["b"], nodes, imports))
    made.opset_import.append(helper.make_opsetid("own", 1))
    assert "got functions of its own: ['f0', 'f1', 'f2']" in refusal(made, tmp_path)
    del made.functions[:]
    assert "got operator sets: ['own']" in refusal(made, tmp_path)
    del made.opset_import[1:]
    assert "`own.f40`" in refusal(made, tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda made: made.graph.node.extend([made.graph.node[0]] * 2000), "at most 2000 nodes, got 2003"),
        (lambda made: made.graph.initializer[0].dims.__setitem__(0, 2**40), "got 32 numbers stored for it"),
        (lambda made: made.graph.initializer[0].dims.append(-1), "got 32 numbers stored for it"),
        (
            lambda made: setattr(made.graph.initializer[0], "data_location", TensorProto.EXTERNAL),
            "`weights` in the file itself, got external data",
        ),
        (lambda made: setattr(made.graph.initializer[0], "data_type", TensorProto.STRING), "got STRING"),
        (lambda made: setattr(made.graph.initializer[0], "data_type", 999), "got data type 999"),
        (lambda made: made.graph.sparse_initializer.add(), "got sparse initializers"),
        (lambda made: made.training_info.add(), "got training"),
        (lambda made: made.graph.node[0].attribute.append(AttributeProto(name="g", type=5)), "a graph, type or ref"),
        (lambda made: made.graph.node[1].input.__setitem__(0, "nowhere"), "`nowhere`, which is not there yet"),
        (lambda made: made.graph.node.append(made.graph.node[0]), "every value computed once, got `logits` twice"),
        (lambda made: made.graph.initializer.append(made.graph.initializer[0]), "got `weights` twice"),
        (lambda made: setattr(made.opset_import[0], "version", 999), "operator set of version 1 to"),
        (lambda made: made.graph.node.pop(), "nodes that compute every output, got none for"),
        (lambda made: made.metadata_props.add(key="note", value="x" * 2**20), "at most 1048576 bytes beside"),
    ],
)
def test_a_damaged_or_hostile_part_is_named(
    change: Callable[[ModelProto], object], complaint: str, tmp_path: Path, bounded: None
) -> None:
    made = model()
    change(made)
    assert complaint in refusal(made, tmp_path)


def test_empty_nodes_by_the_million_are_counted_before_they_are_parsed(bounded: None) -> None:
    nodes = b"\x0a\x00" * 30_000_000
    data = b"\x3a" + varint(len(nodes)) + nodes
    with pytest.raises(PolicyFileError, match="at most 1048576 bytes beside the content of the initializers"):
        graph.read_model(data, PATH)


def test_attributes_nested_without_end_are_refused(bounded: None) -> None:
    nested = b""
    for _ in range(20_000):  # a graph with a node with an attribute with a graph ...
        for field in (b"\x32", b"\x2a", b"\x0a"):
            nested = field + varint(len(nested)) + nested
    with pytest.raises(PolicyFileError, match="expected an ONNX model"):
        graph.read_model(b"\x3a" + varint(len(nested)) + nested, PATH)


@pytest.mark.parametrize("data", [b"\x3a\xff", b"\x3a\x05ab", b"\xff" * 11, b"\x0b", b"\x3a\x02\x2a\x07"])
def test_what_is_no_protocol_buffer_is_refused(data: bytes) -> None:
    with pytest.raises(PolicyFileError, match="expected an ONNX model"):
        graph.read_model(data, PATH)


def test_sizes_are_followed_through_the_arithmetic_of_shapes() -> None:
    """`x.reshape(N * 2, -1)` as exporters write it, where N is only known from `Shape`."""
    nodes = [
        helper.make_node("Shape", ["features"], ["shape"], start=0, end=1),
        helper.make_node("Mul", ["shape", "two"], ["rows"]),
        helper.make_node("Concat", ["rows", "minus"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["features", "wanted"], ["log_probs"]),
        helper.make_node("Shape", ["features"], ["both"]),
        helper.make_node("Gather", ["both", "index"], ["eight"]),
        helper.make_node("Div", ["eight", "two"], ["four"]),
        helper.make_node("Expand", ["one", "four"], ["values"]),
    ]
    made = model()
    del made.graph.node[:]
    made.graph.node.extend(nodes)
    made.graph.initializer.extend(
        [small("two", [2]), small("minus", [-1]), small("index", [1]), from_array(np.ones(1, np.float32), "one")]
    )
    found = graph.check_graph(made, graph.declared_inputs(made), PATH)
    assert found == {"log_probs": (FLOAT, (8192, 4)), "values": (FLOAT, (4,))}


def varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])

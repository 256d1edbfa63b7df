"""Weights of a network in fewer bytes: what comes out is what comes in, to the step of 8 bits."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs the extra export")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from clip_italian.models import onnx_weights  # noqa: E402
from clip_italian.models.onnx_weights import stored_as  # noqa: E402

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def int8_from_few_numbers_on(monkeypatch):
    monkeypatch.setattr(onnx_weights, "LEAST_INT8", 512)


def network(nodes, inputs, rank=2, **weights):
    """Make a network of named weights; its output is called y and has `rank` axes."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def run(proto, **arrays):
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, arrays)[0]


def stored(proto):
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}


def spread(*shape):
    """Weights whose output channels, the first axis, differ a thousandfold: one scale for all would lose most."""
    scale = np.logspace(-3, 0, shape[0], dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1))
    return RNG.normal(size=shape).astype(np.float32) * scale


CASES = {
    "convolution": (
        [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3])],
        {"x": RNG.normal(size=(1, 8, 6, 6)).astype(np.float32)}, spread(16, 8, 3, 3), 1, (16, 1, 1, 1),
    ),
    "matmul": (
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        {"x": RNG.normal(size=(200, 64)).astype(np.float32)}, spread(32, 64).T.copy(), -1, (1, 32),
    ),
    "gemm": (
        [helper.make_node("Gemm", ["x", "w"], ["y"])],
        {"x": RNG.normal(size=(200, 64)).astype(np.float32)}, spread(32, 64).T.copy(), -1, (1, 32),
    ),
    "gemm turned": (
        [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)],
        {"x": RNG.normal(size=(200, 64)).astype(np.float32)}, spread(32, 64), -1, (32, 1),
    ),
    "turned before": (
        [helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]), helper.make_node("MatMul", ["x", "t"], ["y"])],
        {"x": RNG.normal(size=(200, 64)).astype(np.float32)}, spread(32, 64), -1, (32, 1),
    ),
    "embedding": (
        [helper.make_node("Gather", ["w", "x"], ["y"])],
        {"x": np.array([[3, 0, 19]], np.int64)}, spread(20, 64), -2, (20, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_output_channel_has_a_scale_of_its_own(case):
    nodes, arrays, weight, channels, scales = CASES[case]
    kinds = {
        name: (TensorProto.INT64 if x.dtype == np.int64 else TensorProto.FLOAT, x.shape) for name, x in arrays.items()
    }
    proto = network(nodes, kinds, {"convolution": 4, "embedding": 3}.get(case, 2), w=weight)
    before = run(proto, **arrays)
    for weights, step in (("float16", 2**-11), ("int8", 1 / 127)):
        small = stored_as(proto, weights)
        after = run(small, **arrays)
        axes = tuple(axis for axis in range(before.ndim) if axis != channels % before.ndim)
        error = np.sqrt(np.square(after - before).mean(axis=axes))
        size = np.sqrt(np.square(before).mean(axis=axes))
        assert (error <= 2 * step * size + 1e-7).all() and error.max() > 0
        sizes = {name: value.dtype for name, value in stored(small).items()}
        if weights == "int8":
            assert sizes == {"w.int8": np.int8, "w.scale": np.float32}
            assert stored(small)["w.scale"].shape == scales
        else:
            assert sizes == {"w.float16": np.float16}
    assert stored(stored_as(proto, "float32"))["w"].tobytes() == weight.tobytes()
    assert stored(proto)["w"].tobytes() == weight.tobytes()  # the network given is left alone


def test_rows_of_an_embedding_are_turned_back_after_the_look_up():
    nodes, _, weight, _, _ = CASES["embedding"]
    small = stored_as(network(nodes, {"x": (TensorProto.INT64, ["n"])}, w=weight), "int8")
    kinds = [node.op_type for node in small.graph.node]
    assert kinds == ["Gather", "Gather", "Cast", "Mul"]
    assert {node.input[0] for node in small.graph.node[:2]} == {"w.int8", "w.scale"}


def test_small_tensors_are_float16_where_int8_is_asked_for(monkeypatch):
    monkeypatch.setattr(onnx_weights, "LEAST_INT8", 20 * 64 + 1)
    nodes, _, weight, _, _ = CASES["embedding"]
    proto = network(nodes, {"x": (TensorProto.INT64, ["n"])}, w=weight)
    assert {name: value.dtype for name, value in stored(stored_as(proto, "int8")).items()} == {"w.float16": np.float16}
    monkeypatch.setattr(onnx_weights, "LEAST_INT8", 20 * 64)
    assert set(stored(stored_as(proto, "int8"))) == {"w.int8", "w.scale"}


def test_what_is_small_or_too_large_for_float16_stays():
    weight, bias = spread(16, 16, 1, 1), RNG.normal(size=300).astype(np.float32)
    huge = np.full((20, 20), 1e6, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("ReduceMean", ["huge"], ["m"], keepdims=0),
        helper.make_node("Add", ["c", "m"], ["y"]),
    ]
    proto = network(nodes, {"x": (TensorProto.FLOAT, (1, 16, 5, 5))}, 4, w=weight, b=bias[:16], huge=huge)
    found = stored(stored_as(proto, "int8"))
    assert {name: value.dtype for name, value in found.items()} == {
        "w.float16": np.float16, "b": np.float32, "huge": np.float32
    }  # fmt: skip
    assert np.isfinite(run(stored_as(proto, "float16"), x=np.ones((1, 16, 5, 5), np.float32))).all()


def test_channels_of_zeros_stay_zero():
    weight = spread(16, 32)
    weight[3] = 0
    proto = network([helper.make_node("Gather", ["w", "x"], ["y"])], {"x": (TensorProto.INT64, ["n"])}, w=weight)
    assert (run(stored_as(proto, "int8"), x=np.array([3])) == 0).all()

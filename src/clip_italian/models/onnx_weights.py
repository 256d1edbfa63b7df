"""An ONNX network's weights in fewer bytes; all that is computed stays float32.

A weight becomes a smaller constant and one or two steps that turn it back, which the runtime does once, when it opens
the network: a picture or text then costs what it costs in float32. (Computing in 8 bits is another thing: convolutions
are three to four times slower for it, and products share one scale among all that stands in a batch.)

Public names: stored_as, Weights, WEIGHTS, FLOAT32.
"""

from typing import Any, Literal, get_args

import numpy as np

Weights = Literal["float32", "float16", "int8"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
FLOAT32: Weights = "float32"

LEAST = 256  # smaller tensors, and vectors such as biases, stay as they are
# Smaller tensors are stored as float16 where int8 is asked for: first layers and depthwise filters, on which all others
# build. In photos-it's image tower that is 7 % more bytes for less than half of the loss, in clip-italian-small's 9 %
# more for a tenth of it (docs/export.md).
LEAST_INT8 = 2**16
_LARGEST_HALF = float(np.finfo(np.float16).max)
_STEPS = 127


def stored_as(proto: Any, weights: Weights) -> Any:
    """Return an onnx.ModelProto like `proto` with its weights stored in another way.

    "float16" halves them; "int8" gives every output channel of a convolution or product, and every row of an embedding,
    whole numbers from -127 to 127 and a scale in float32. Rows of an embedding are turned back when they are looked up.
    A tensor that float16 cannot hold stays float32.
    """
    import onnx

    small = onnx.ModelProto()
    small.CopyFrom(proto)
    if weights == FLOAT32:
        return small
    graph = small.graph
    initializers, nodes = list(graph.initializer), list(graph.node)
    del graph.initializer[:], graph.node[:]
    behind: dict[int, list[Any]] = {}
    for tensor in initializers:
        value = onnx.numpy_helper.to_array(tensor)
        readers = [node for node in nodes if tensor.name in node.input]
        if not _shrinks(value) or not readers:
            graph.initializer.append(tensor)
            continue
        parts = _parts(tensor.name, value, weights, _channel_axis(tensor.name, readers[0], value.ndim))
        graph.initializer.extend(onnx.numpy_helper.from_array(part, name) for name, part in parts.items())
        if all(_looks_up(tensor.name, node) for node in readers):
            for node in readers:
                behind[id(node)] = _turned_back_rows(node, list(parts))
        else:
            graph.node.extend(_turned_back(list(parts), tensor.name))
    for node in nodes:
        graph.node.extend(behind.get(id(node), [node]))
    return small


def _shrinks(value: np.ndarray) -> bool:
    return (
        value.dtype == np.float32
        and value.ndim > 1
        and value.size >= LEAST
        and bool(np.abs(value).max() <= _LARGEST_HALF)
    )


def _channel_axis(name: str, reader: Any, ndim: int) -> int:
    """Return the axis of a weight along which its reader's outputs lie."""
    if reader.op_type == "MatMul" and reader.input[1] == name:
        return ndim - 1
    if reader.op_type == "Gemm" and reader.input[1] == name:
        return 0 if any(attribute.name == "transB" and attribute.i for attribute in reader.attribute) else 1
    return 0


def _parts(name: str, value: np.ndarray, weights: Weights, axis: int) -> dict[str, np.ndarray]:
    """Return the constants that stand for a weight: one of float16, or int8 and its scales."""
    if weights == "float16" or value.size < LEAST_INT8:
        return {f"{name}.float16": value.astype(np.float16)}
    whole, scale = _quantised(value, axis)
    return {f"{name}.int8": whole, f"{name}.scale": scale}


def _quantised(value: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Return int8 of value's shape and float32 scales, one along `axis`, 1 along the others.

    The largest number of a channel is the largest that 8 bits say: cutting rare ones off never lessened the error.
    """
    others = tuple(place for place in range(value.ndim) if place != axis)
    largest = np.abs(value).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / np.float32(_STEPS), np.float32(1))
    return np.round(value / scale).astype(np.int8), scale


def _looks_up(name: str, node: Any) -> bool:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return bool(node.op_type == "Gather" and node.input[0] == name and axis == 0)


def _turned_back(parts: list[str], name: str) -> list[Any]:
    """Return the steps from stored constants to the float32 tensor `name`."""
    from onnx import TensorProto, helper

    stored, *scale = parts
    if not scale:
        return [helper.make_node("Cast", [stored], [name], name=f"{name}.cast", to=TensorProto.FLOAT)]
    between = f"{name}.steps"
    return [
        helper.make_node("Cast", [stored], [between], name=f"{name}.cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", [between, *scale], [name], name=f"{name}.scaled"),
    ]


def _turned_back_rows(node: Any, parts: list[str]) -> list[Any]:
    """Return the steps that look rows up among stored constants and turn these alone back."""
    from onnx import helper

    found = [f"{part}.rows.{node.output[0]}" for part in parts]
    looked_up = [
        helper.make_node("Gather", [part, node.input[1]], [rows], name=rows, axis=0)
        for part, rows in zip(parts, found, strict=True)
    ]
    return [*looked_up, *_turned_back(found, node.output[0])]

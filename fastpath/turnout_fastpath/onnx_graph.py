"""Recognises, in an ONNX model's bytes, the graph that the trainer exports (training/export.py).

Read by hand: the onnx package is far larger than all that serving needs. Whatever is not exactly that graph is no error;
ONNX Runtime runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

# Field numbers of onnx.proto3, https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT = 1, 5, 11, 12
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_INT = 1, 3
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_VALUE_NAME = 1
_FLOAT, _INT64 = 1, 7
_DTYPES = {_FLOAT: "<f4", _INT64: "<i8"}

# Each node's operator, inputs and outputs; capitals are constants.
_NODES = (
    ("Sub", ("x", "MEAN"), ("centred",)),
    ("Mul", ("centred", "SCALE"), ("scaled",)),
    ("Clip", ("scaled", "LOW", "HIGH"), ("clipped",)),
    ("Gemm", ("clipped", "INNER", "INNER_BIAS"), ("hidden",)),
    ("Relu", ("hidden",), ("active",)),
    ("Gemm", ("active", "OUTER", "BIAS"), ("partial",)),
    ("Gemm", ("clipped", "DIRECT", "partial"), ("mixed",)),
    ("Split", ("mixed", "SIZES"), ("own", "gate_logit", "kind_logits", "expert")),
    ("Softmax", ("kind_logits",), ("kinds",)),
    ("MatMul", ("kinds", "SPREAD"), ("weight",)),
    ("Mul", ("expert", "weight"), ("weighted",)),
    ("Gemm", ("weighted", "COLLECT", "own"), ("joined",)),
    ("Split", ("joined", "HALVES"), ("base", "difference")),
    ("Sigmoid", ("gate_logit",), ("gate",)),
    ("Mul", ("difference", "gate"), ("shift",)),
    ("Gemm", ("shift", "PLACE", "base"), ("scores",)),
)
_BY_COLUMN = {"Split", "Softmax"}


@dataclass(frozen=True)
class NetGraph:
    """The constants of the exported graph.

    With z the clipped, standardised inputs and a = relu(z @ inner + inner_bias):
    [own | gate | kind | expert] = z @ direct + a @ outer + bias,
    joined = own + (expert * (softmax(kind) @ spread)) @ collect,
    scores = joined[:n_scores] + (joined[n_scores:] * sigmoid(gate)) @ place.

    Attributes:
        mean, scale: (inputs,) standardisation.
        low, high: bounds of a standardised input.
        inner, inner_bias: (inputs, hidden) and (hidden,).
        outer, direct: (hidden, mixed) and (inputs, mixed); mixed = scores + 2 shifts + kinds + experts.
        bias: (mixed,).
        spread: (kinds, experts).
        collect: (experts, scores + shifts).
        place: (shifts, scores).
    """

    mean: Floats
    scale: Floats
    low: float
    high: float
    inner: Floats
    inner_bias: Floats
    outer: Floats
    direct: Floats
    bias: Floats
    spread: Floats
    collect: Floats
    place: Floats

    @property
    def n_scores(self) -> int:
        """Columns of the model's output."""
        return int(self.place.shape[1])


class _OtherGraph(Exception):
    """The bytes hold something else."""


def find_net(model: bytes, input_name: str, output_name: str) -> NetGraph | None:
    """The net that a model consists of; None if it is any other model."""
    try:
        graph = _only(_fields(memoryview(model)), _MODEL_GRAPH)
        return _read_graph(graph, input_name, output_name)
    except _OtherGraph:
        return None


def _read_graph(graph: memoryview, input_name: str, output_name: str) -> NetGraph:
    fields = list(_fields(graph))
    names = [
        _text(_only(_fields(_only(fields, kind)), _VALUE_NAME)) for kind in (_GRAPH_INPUT, _GRAPH_OUTPUT)
    ]
    if names != [input_name, output_name]:
        raise _OtherGraph
    nodes = [_read_node(node) for number, node in fields if number == _GRAPH_NODE]
    # From the names of the pattern to those of the model.
    meant = {"x": input_name, "scores": output_name}
    if len(nodes) != len(_NODES):
        raise _OtherGraph
    for (operator, inputs, outputs, attributes), pattern in zip(nodes, _NODES, strict=True):
        if operator != pattern[0] or attributes != ({"axis": 1} if operator in _BY_COLUMN else {}):
            raise _OtherGraph
        if len(inputs) != len(pattern[1]) or len(outputs) != len(pattern[2]):
            raise _OtherGraph
        for name, role in zip(inputs + outputs, pattern[1] + pattern[2], strict=True):
            if meant.setdefault(role, name) != name:
                raise _OtherGraph
    if len(set(meant.values())) != len(meant):
        raise _OtherGraph
    tensors = dict(_read_tensor(tensor) for number, tensor in fields if number == _GRAPH_INITIALIZER)
    constants = {role: tensors.get(name) for role, name in meant.items() if role.isupper()}
    return _check_shapes(constants)


def _check_shapes(constants: dict[str, Array | None]) -> NetGraph:
    found = {role: value for role, value in constants.items() if value is not None}
    if len(found) != len(constants):
        raise _OtherGraph
    if any((value.dtype == np.int64) != (role in ("SIZES", "HALVES")) for role, value in found.items()):
        raise _OtherGraph
    if any(found[role].ndim != 2 for role in ("INNER", "SPREAD", "PLACE")):
        raise _OtherGraph
    (inputs, hidden), (kinds, experts) = found["INNER"].shape, found["SPREAD"].shape
    shifts, scores = found["PLACE"].shape
    mixed = scores + 2 * shifts + kinds + experts
    shapes = {
        "MEAN": (inputs,),
        "SCALE": (inputs,),
        "LOW": (),
        "HIGH": (),
        "INNER_BIAS": (hidden,),
        "OUTER": (hidden, mixed),
        "DIRECT": (inputs, mixed),
        "BIAS": (mixed,),
        "COLLECT": (experts, scores + shifts),
    }
    if any(found[role].shape != shape for role, shape in shapes.items()):
        raise _OtherGraph
    if found["SIZES"].tolist() != [scores + shifts, shifts, kinds, experts]:
        raise _OtherGraph
    if found["HALVES"].tolist() != [scores, shifts] or not kinds or not experts:
        raise _OtherGraph
    return NetGraph(
        found["MEAN"],
        found["SCALE"],
        float(found["LOW"]),
        float(found["HIGH"]),
        found["INNER"],
        found["INNER_BIAS"],
        found["OUTER"],
        found["DIRECT"],
        found["BIAS"],
        found["SPREAD"],
        found["COLLECT"],
        found["PLACE"],
    )


def _read_node(node: memoryview) -> tuple[str, tuple[str, ...], tuple[str, ...], dict[str, int]]:
    fields = list(_fields(node))
    attributes = {}
    for number, attribute in fields:
        if number == _NODE_ATTRIBUTE:
            parts = list(_fields(attribute))
            attributes[_text(_only(parts, _ATTRIBUTE_NAME))] = _only(parts, _ATTRIBUTE_INT)
    inputs, outputs = (
        tuple(_text(value) for number, value in fields if number == kind)
        for kind in (_NODE_INPUT, _NODE_OUTPUT)
    )
    return _text(_only(fields, _NODE_OPERATOR)), inputs, outputs, attributes


def _read_tensor(tensor: memoryview) -> tuple[str, Array]:
    fields = list(_fields(tensor))
    dims: list[int] = []
    for number, value in fields:
        if number == _TENSOR_DIMS:
            dims.extend([value] if isinstance(value, int) else _varints(value))
    dtype = _DTYPES.get(_only(fields, _TENSOR_TYPE))
    if dtype is None:
        raise _OtherGraph
    name, raw = _text(_only(fields, _TENSOR_NAME)), _only(fields, _TENSOR_RAW)
    try:
        return name, np.frombuffer(raw, dtype).reshape(dims).astype(dtype[1:])
    except (TypeError, ValueError, OverflowError):
        # No such bytes, no such shape, or not both together.
        raise _OtherGraph from None


def _only(fields: Any, number: int) -> Any:
    """The value of a field that stands once."""
    found = [value for other, value in fields if other == number]
    if len(found) != 1:
        raise _OtherGraph
    return found[0]


def _text(value: Any) -> str:
    try:
        return bytes(value).decode()
    except (TypeError, UnicodeDecodeError):
        raise _OtherGraph from None


def _fields(message: Any) -> Iterator[tuple[int, Any]]:
    """Number and value of each field: an integer, or the payload."""
    if not isinstance(message, memoryview):
        raise _OtherGraph
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, at = _varint(message, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise _OtherGraph
        if at + size > len(message):
            raise _OtherGraph
        yield tag >> 3, message[at : at + size]
        at += size


def _varints(packed: memoryview) -> Iterator[int]:
    at = 0
    while at < len(packed):
        value, at = _varint(packed, at)
        yield value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(message[at : at + 10]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, at + i + 1
    raise _OtherGraph

"""Recognises, in an ONNX model's bytes, the graph that the trainer exports (training/export.py), and heads behind it
(training/head_export.py).

Read by hand: the onnx package is far larger than all that serving needs. Whatever is not exactly that graph is no error;
ONNX Runtime runs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]
_Node = tuple[str, tuple[str, ...], tuple[str, ...]]

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
# Other heads on top: what the scores and the inputs before them become. An extended model can be extended again.
_TAIL_INPUT = "Identity"
_TAIL_NODES = (
    ("Sub", ("x", "MEAN"), ("centred",)),
    ("Mul", ("centred", "SCALE"), ("scaled",)),
    ("Clip", ("scaled", "LOW", "HIGH"), ("clipped",)),
    ("Gemm", ("scores below", "CARRIED", "CONSTANTS"), ("kept",)),
    ("Gemm", ("clipped", "ADDED", "kept"), ("scores",)),
)


@dataclass(frozen=True)
class TailGraph:
    """The constants of heads on top: scores = scores below @ carried + clip((x - mean) * scale) @ added + constants.

    Attributes:
        mean, scale: (inputs,) standardisation.
        low, high: bounds of a standardised input.
        carried: (scores below, scores).
        added: (inputs, scores).
        constants: (scores,).
    """

    mean: Floats
    scale: Floats
    low: float
    high: float
    carried: Floats
    added: Floats
    constants: Floats


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
        tails: heads on top, the lowest first.
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
    tails: tuple[TailGraph, ...] = ()

    @property
    def n_scores(self) -> int:
        """Columns of the net's own scores."""
        return int(self.place.shape[1])

    @property
    def n_outputs(self) -> int:
        """Columns of the model's output: of the last tail, or of the net."""
        return len(self.tails[-1].constants) if self.tails else self.n_scores


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
    pattern, tails = _pattern(len(nodes))
    # From the names of the pattern to those of the model.
    meant = {_at("x", tails): input_name, _at("scores", tails): output_name}
    for (operator, inputs, outputs, attributes), expected in zip(nodes, pattern, strict=True):
        if operator != expected[0] or attributes != ({"axis": 1} if operator in _BY_COLUMN else {}):
            raise _OtherGraph
        if len(inputs) != len(expected[1]) or len(outputs) != len(expected[2]):
            raise _OtherGraph
        for name, role in zip(inputs + outputs, expected[1] + expected[2], strict=True):
            if meant.setdefault(role, name) != name:
                raise _OtherGraph
    if len(set(meant.values())) != len(meant):
        raise _OtherGraph
    tensors = dict(_read_tensor(tensor) for number, tensor in fields if number == _GRAPH_INITIALIZER)
    found: dict[str, Array] = {}
    for role, name in meant.items():
        if role.isupper():
            if name not in tensors:
                raise _OtherGraph
            found[role] = tensors[name]
    net = _check_net(found)
    width = net.n_scores
    for level in range(1, tails + 1):
        tail = _check_tail(found, level, len(net.mean), width)
        net, width = replace(net, tails=(*net.tails, tail)), len(tail.constants)
    return net


def _at(role: str, level: int) -> str:
    """The pattern's name of what a level of heads reads or gives; the net is level 0."""
    return f"{role} {level}" if level else role


def _pattern(length: int) -> tuple[list[_Node], int]:
    """The nodes of a graph of this length, and how many tails it has."""
    tails, rest = divmod(length - len(_NODES), 1 + len(_TAIL_NODES))
    if tails < 0 or rest:
        raise _OtherGraph
    nodes: list[_Node] = [
        (_TAIL_INPUT, (_at("x", level),), (_at("x", level - 1),)) for level in range(tails, 0, -1)
    ]
    nodes += _NODES
    for level in range(1, tails + 1):
        for operator, inputs, outputs in _TAIL_NODES:
            names = tuple(
                _at("scores", level - 1) if name == "scores below" else _at(name, level) for name in inputs
            )
            nodes.append((operator, names, tuple(_at(name, level) for name in outputs)))
    return nodes, tails


def _check_shapes(found: dict[str, Array], shapes: dict[str, tuple[int, ...]]) -> None:
    for role, shape in shapes.items():
        if found[role].shape != shape or found[role].dtype != np.float32:
            raise _OtherGraph


def _check_tail(found: dict[str, Array], level: int, inputs: int, below: int) -> TailGraph:
    roles = ("MEAN", "SCALE", "LOW", "HIGH", "CARRIED", "ADDED", "CONSTANTS")
    mean, scale, low, high, carried, added, constants = (_at(role, level) for role in roles)
    width = found[constants].size
    shapes = {
        mean: (inputs,),
        scale: (inputs,),
        low: (),
        high: (),
        carried: (below, width),
        added: (inputs, width),
        constants: (width,),
    }
    _check_shapes(found, shapes)
    if not width:
        raise _OtherGraph
    return TailGraph(
        found[mean],
        found[scale],
        float(found[low]),
        float(found[high]),
        found[carried],
        found[added],
        found[constants],
    )


def _check_net(found: dict[str, Array]) -> NetGraph:
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
        "INNER": (inputs, hidden),
        "INNER_BIAS": (hidden,),
        "OUTER": (hidden, mixed),
        "DIRECT": (inputs, mixed),
        "BIAS": (mixed,),
        "SPREAD": (kinds, experts),
        "COLLECT": (experts, scores + shifts),
        "PLACE": (shifts, scores),
    }
    _check_shapes(found, shapes)
    if any(found[role].dtype != np.int64 for role in ("SIZES", "HALVES")):
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

"""Built networks as one ONNX graph, written from their layers and weights.

Each layer becomes the few ONNX operators that compute the same; recurrent layers become ONNX's own
fused RNN, GRU and LSTM operators. A new kind of layer needs one function here, in `EMITTERS`.

The parallel decoder takes a step from the same state for each future segment. What Keras lays out as
`(window * position, ...)` is `(window, position, ...)` here, with an axis of 1 where all windows or all
positions are alike: operators broadcast, so that what is alike is computed once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from forecaster.arrays import Floats
from forecaster.networks.layers import EPSILON, LEAST_SPREAD

OPSET = 17  # the oldest that has all operators used: any ONNX Runtime from 1.12 on reads it
IR_VERSION = 8
END = np.iinfo(np.int64).max


class Graph:
    """The nodes and constants of an ONNX graph while it is written.

    Args:
        outer: The graph in whose node this one is run again and again; it holds the constants.
    """

    def __init__(self, outer: Graph | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = [] if outer is None else outer.constants
        self.values: dict[str, Floats] = {} if outer is None else outer.values  # of constants
        self.prefix: str = "" if outer is None else f"{outer.prefix}{len(outer.nodes)}_"

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Append a node and return the names of its outputs; an empty name is left out."""
        names = [f"{operator}_{self.prefix}{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(operator, list(inputs), names, **attributes))
        return names

    def one(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Append a node that has one output and return its name."""
        return self.add(operator, *inputs, **attributes)[0]

    def constant(self, value: object) -> str:
        """Store an array: integers as int64, everything else as float32."""
        array = np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        self.values[name] = array
        return name


def to_onnx(members: Sequence[Any]) -> bytes:
    """Write networks as one serialised ONNX model with a free number of windows.

    Args:
        members: Models made by `builder.build` of one spec; the graph gives their median.

    Returns:
        The model's bytes; inputs and outputs have the Keras names and shapes.

    Raises:
        TypeError: A layer that `EMITTERS` does not know.
    """
    graph = Graph()
    outputs = [_emit(graph, network) for network in members]
    first = members[0]
    output = outputs[0] if len(outputs) == 1 else _median(graph, outputs)
    graph.one("Identity", output)
    graph.nodes[-1].output[0] = output = "forecast"
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            first.name,
            [_value(tensor.name, tensor.shape, tensor.dtype) for tensor in first.inputs],
            [_value(output, first.outputs[0].shape, "float32")],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="forecaster",
    )
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


def _emit(graph: Graph, network: Any) -> str:
    """Append one network to a graph and return the name of its output."""
    names = {id(tensor): tensor.name for tensor in network.inputs}
    for node in _in_order(network):
        if node.is_input:
            continue
        emit = EMITTERS.get(type(node.operation).__name__)
        if emit is None:
            raise TypeError(f"No ONNX emitter for the layer {type(node.operation).__name__}.")
        positional, named = node.arguments.fill_in(names)
        outputs = emit(graph, node.operation, *positional, **named)
        for tensor, name in zip(node.outputs, outputs, strict=True):
            names[id(tensor)] = name
    return names[id(network.outputs[0])]


def _median(graph: Graph, outputs: list[str]) -> str:
    """Append the median of several tensors: of an even number, the mean of the middle two."""
    count, first = len(outputs), graph.constant([0])
    stacked = graph.one(
        "Concat", *(graph.one("Unsqueeze", name, first) for name in outputs), axis=0
    )
    ordered, _ = graph.add("TopK", stacked, graph.constant([count]), outputs=2, axis=0)
    begin, end = graph.constant([(count - 1) // 2]), graph.constant([count // 2 + 1])
    middle = graph.one("Slice", ordered, begin, end, first)
    return graph.one("ReduceMean", middle, axes=[0], keepdims=0)


def _in_order(network: Any) -> list[Any]:
    """Return the calls of the functional graph, each after those it needs."""
    by_depth = network._nodes_by_depth
    return [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]


def _value(name: str, shape: Sequence[int | None], dtype: str) -> onnx.ValueInfoProto:
    kind = TensorProto.INT32 if dtype == "int32" else TensorProto.FLOAT
    return helper.make_tensor_value_info(name, kind, ["window", *shape[1:]])


def _recurrent(operator: str, order: Sequence[int], **attributes: int) -> Callable[..., list[str]]:
    """Make the emitter of a recurrent layer.

    Args:
        operator: ONNX operator.
        order: For each gate as ONNX orders them, its place in Keras.
        **attributes: Attributes of the ONNX operator.
    """

    def emit(
        graph: Graph,
        layer: Any,
        sequence: str,
        initial_state: Sequence[str] = (),
        mask: str | None = None,
        **_: Any,
    ) -> list[str]:
        if initial_state:
            states = _step(graph, layer, sequence, initial_state)
            return [states[0], *states]
        ways = _ways(layer)
        x = graph.one("Transpose", sequence, perm=[1, 0, 2])  # (step, window, feature)
        y, *finals = graph.add(
            operator,
            x,
            *(
                graph.constant(np.stack(parts))
                for parts in zip(*(_weights(way, order) for way in ways), strict=True)
            ),
            mask or "",  # how many steps there are
            outputs=3 if operator == "LSTM" else 2,
            hidden_size=ways[0].units,
            direction=("forward", "bidirectional")[len(ways) - 1],
            **attributes,
        )
        each = [
            [graph.one("Gather", part, graph.constant(way), axis=0) for part in finals]
            for way in range(len(ways))
        ]  # states (window, unit)
        if layer.return_sequences:
            steps = graph.one("Transpose", y, perm=[2, 0, 1, 3])  # (window, step, way, unit)
            output = graph.one("Reshape", steps, graph.constant([0, 0, -1]))
        else:
            output = graph.one("Concat", *(states[0] for states in each), axis=1)
        return [output, *itertools.chain(*each)] if layer.return_state else [output]

    return emit


def _step(graph: Graph, layer: Any, x: str, state: Sequence[str]) -> list[str]:
    """Return the states after a step of a recurrent layer, its output first.

    Args:
        graph: To which it is appended.
        layer: Recurrent layer, one way.
        x: Its input `(..., feature)`; as a constant it goes into the biases.
        state: Before the step, its output first; each broadcasts to `(..., unit)`.
    """
    kernel, recurrent, bias = layer.cell.get_weights()
    own, *other = np.atleast_2d(bias)  # a GRU adds another one to what it makes of its state
    given = _linear(graph, x, kernel, own)
    recalled = graph.one("MatMul", state[0], graph.constant(recurrent))
    for each in other:
        recalled = graph.one("Add", recalled, graph.constant(each))
    gates = kernel.shape[1] // layer.units
    parts = (graph.add("Split", each, outputs=gates, axis=-1) for each in (given, recalled))
    return STEPS[type(layer).__name__](graph, *parts, *state)


def _rnn_step(graph: Graph, x: list[str], h: list[str], _: str) -> list[str]:
    return [graph.one("Tanh", graph.one("Add", x[0], h[0]))]


def _gru_step(graph: Graph, x: list[str], h: list[str], before: str) -> list[str]:
    update, reset = (
        graph.one("Sigmoid", graph.one("Add", *both)) for both in zip(x[:2], h[:2], strict=True)
    )
    new = graph.one("Tanh", graph.one("Add", x[2], graph.one("Mul", reset, h[2])))
    kept = graph.one("Mul", update, graph.one("Sub", before, new))
    return [graph.one("Add", new, kept)]


def _lstm_step(graph: Graph, x: list[str], h: list[str], _: str, cell: str) -> list[str]:
    sums = [graph.one("Add", *both) for both in zip(x, h, strict=True)]
    take, keep, show = (graph.one("Sigmoid", sums[gate]) for gate in (0, 1, 3))
    taken = graph.one("Mul", take, graph.one("Tanh", sums[2]))
    cell = graph.one("Add", graph.one("Mul", keep, cell), taken)
    return [graph.one("Mul", show, graph.one("Tanh", cell)), cell]


STEPS: dict[str, Callable[..., list[str]]] = {
    "SimpleRNN": _rnn_step,
    "GRU": _gru_step,
    "LSTM": _lstm_step,
}


def _bidirectional(graph: Graph, layer: Any, *inputs: Any, **named: Any) -> list[str]:
    return EMITTERS[type(layer.forward_layer).__name__](graph, layer, *inputs, **named)


def _ways(layer: Any) -> list[Any]:
    """Return the recurrent layer, or both of one that reads both ways."""
    both = type(layer).__name__ == "Bidirectional"
    return [layer.forward_layer, layer.backward_layer] if both else [layer]


def _weights(layer: Any, order: Sequence[int]) -> tuple[Floats, ...]:
    """Return kernels and biases as ONNX has them: `(gate * unit, feature)`, the same, `(2 * ...,)`."""
    kernel, recurrent, bias = (
        _gates(np.asarray(weight), order) for weight in layer.cell.get_weights()
    )
    bias = bias if bias.ndim == 2 else np.stack([bias, np.zeros_like(bias)])
    return kernel.T, recurrent.T, bias.reshape(-1)


def _gates(weights: Floats, order: Sequence[int]) -> Floats:
    """Reorder the gates along the last axis from Keras' order to that of ONNX."""
    blocks = np.split(weights, len(order), axis=-1)
    return np.concatenate([blocks[place] for place in order], axis=-1)


def _linear(graph: Graph, x: str, kernel: Floats, bias: Floats) -> str:
    """Append `x @ kernel + bias`: of a constant, the constant that it is."""
    if x in graph.values:
        return graph.constant(graph.values[x] @ kernel + bias)
    product = graph.one("MatMul", x, graph.constant(kernel))
    return graph.one("Add", product, graph.constant(bias))


def _dense(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    return _activation(graph, layer, _linear(graph, x, *layer.get_weights()))


def _activation(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    activation = layer.activation.__name__
    if activation == "linear":
        return [x]
    return [graph.one({"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}[activation], x)]


def _dropout(_: Graph, __: Any, x: str, **___: Any) -> list[str]:
    return [x]


def _slice(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    stop = END if layer.stop is None else layer.stop
    bounds = [graph.constant([number]) for number in (layer.start, stop, layer.axis)]
    return [graph.one("Slice", x, *bounds)]


def _known_first(graph: Graph, layer: Any, sequence: str, length: str, **_: Any) -> list[str]:
    """Reverse each window whole, then only its known steps; the mask becomes their number."""
    wide = graph.one("Cast", length, to=TensorProto.INT64)
    flat = graph.one("Reshape", wide, graph.constant([-1]))
    known = graph.one("Div", flat, graph.constant(layer.segment))
    bounds = [graph.constant([number]) for number in (-1, -END, 1, -1)]
    backwards = graph.one("Slice", sequence, *bounds)
    moved = graph.one("ReverseSequence", backwards, known, batch_axis=0, time_axis=1)
    return [moved, graph.one("Cast", known, to=TensorProto.INT32)]


def _regroup(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    return [graph.one("Reshape", x, graph.constant([-1, *layer.shape]))]


def _flatten(graph: Graph, _: Any, x: str, **__: Any) -> list[str]:
    return [graph.one("Flatten", x)]


def _concatenate(graph: Graph, layer: Any, parts: list[str], **_: Any) -> list[str]:
    return [graph.one("Concat", *parts, axis=layer.axis)]


def _add(graph: Graph, _: Any, parts: list[str], **__: Any) -> list[str]:
    return [graph.one("Add", *parts)]


def _average_steps(graph: Graph, _: Any, x: str, **__: Any) -> list[str]:
    return [graph.one("ReduceMean", x, axes=[1])]


def _take_steps(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    return [graph.one("Gather", x, graph.constant(layer.steps), axis=1)]


def _series_vectors(graph: Graph, layer: Any, place: str, **_: Any) -> list[str]:
    table = np.asarray(layer.get_weights()[0])
    unknown = np.zeros((1, table.shape[1]), dtype=table.dtype)  # row -1, which place -1 reads
    wide = graph.one("Cast", place, to=TensorProto.INT64)
    flat = graph.one("Reshape", wide, graph.constant([-1]))
    return [graph.one("Gather", graph.constant(np.vstack([table, unknown])), flat, axis=0)]


def _plus(graph: Graph, _: Any, forecast: str, value: str, **__: Any) -> list[str]:
    return [graph.one("Add", forecast, value)]


def _subtract(graph: Graph, _: Any, parts: list[str], **__: Any) -> list[str]:
    return [graph.one("Sub", *parts)]


def _repeat_windows(graph: Graph, _: Any, state: str, **__: Any) -> list[str]:
    return [graph.one("Unsqueeze", state, graph.constant([1]))]  # (window, 1, unit)


def _position_inputs(graph: Graph, layer: Any, _: str, **__: Any) -> list[str]:
    return [graph.constant(layer.get_weights()[0][None])]  # (1, position, unit)


def _known_ahead(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    return [graph.one("Reshape", x, graph.constant([-1, layer.positions, layer.width]))]


def _reversible_normalisation(
    graph: Graph, layer: Any, values: str, target: str, inverse: bool = False
) -> list[str]:
    gain, bias = layer.get_weights()
    mean = graph.one("ReduceMean", target, axes=[1])  # (window, 1, 1)
    centred = graph.one("Sub", target, mean)
    variance = graph.one("ReduceMean", graph.one("Mul", centred, centred), axes=[1])
    spread = graph.one("Sqrt", graph.one("Add", variance, graph.constant([EPSILON])))
    if not inverse:
        standard = graph.one("Div", graph.one("Sub", values, mean), spread)
        scaled = graph.one("Mul", standard, graph.constant(gain))
        return [graph.one("Add", scaled, graph.constant(bias))]
    standard = graph.one(
        "Div", graph.one("Sub", values, graph.constant(bias)), graph.constant(gain + EPSILON)
    )
    return [graph.one("Add", graph.one("Mul", standard, spread), mean)]


def _spread_normalisation(
    graph: Graph, layer: Any, values: str, target: str, inverse: bool = False
) -> list[str]:
    def steps(begin: int, end: int) -> str:
        return graph.one("Slice", target, *(graph.constant([place]) for place in (begin, end, 1)))

    level = graph.one("ReduceMean", steps(-layer.lag, END), axes=[1])  # (window, 1, 1)
    changes = graph.one("Abs", graph.one("Sub", steps(layer.lag, END), steps(0, -layer.lag)))
    mean = graph.one("ReduceMean", changes, axes=[1])
    spread = graph.one("Add", mean, graph.constant([LEAST_SPREAD]))
    if not inverse:
        return [graph.one("Div", graph.one("Sub", values, level), spread)]
    return [graph.one("Add", graph.one("Mul", values, spread), level)]


def _permute(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    return [graph.one("Transpose", x, perm=[0, *layer.dims])]


def _layer_normalisation(graph: Graph, layer: Any, x: str, **_: Any) -> list[str]:
    weights = (graph.constant(weight) for weight in layer.get_weights())
    return [graph.one("LayerNormalization", x, *weights, epsilon=layer.epsilon)]


def _attention(graph: Graph, layer: Any, query: str, value: str, **_: Any) -> list[str]:
    def projected(x: str, dense: Any, axes: Sequence[int]) -> str:
        kernel, bias = dense.get_weights()  # (feature, head, size), (head, size)
        flat = graph.one("MatMul", x, graph.constant(kernel.reshape(len(kernel), -1)))
        heads = graph.one("Reshape", flat, graph.constant([0, 0, *bias.shape]))
        return graph.one("Transpose", graph.one("Add", heads, graph.constant(bias)), perm=axes)

    q = projected(query, layer.query_dense, [0, 2, 1, 3])  # (window, head, step, size)
    k = projected(value, layer.key_dense, [0, 2, 3, 1])  # (window, head, size, step)
    v = projected(value, layer.value_dense, [0, 2, 1, 3])
    scaled = graph.one("Mul", q, graph.constant(1 / math.sqrt(layer.key_dim)))
    shares = graph.one("Softmax", graph.one("MatMul", scaled, k), axis=-1)
    each = graph.one("Transpose", graph.one("MatMul", shares, v), perm=[0, 2, 1, 3])
    kernel, bias = layer.output_dense.get_weights()  # (head, size, unit), (unit,)
    flat = graph.one("Reshape", each, graph.constant([0, 0, -1]))
    return [_linear(graph, flat, kernel.reshape(-1, kernel.shape[-1]), bias)]


def _recurrent_decoder(
    graph: Graph,
    layer: Any,
    state: Sequence[str],
    last: str,
    start: str | None = None,
    future: str | None = None,
    **_: Any,
) -> list[str]:
    """One `Scan` over the segments."""

    def by_segment(values: str, size: int) -> str:
        folded = graph.one("Reshape", values, graph.constant([-1, layer.positions, size]))
        return graph.one("Transpose", folded, perm=[1, 0, 2])  # (position, window, size)

    width, units = layer.width, layer.recurrent.units
    zeros = np.zeros((layer.positions, 1, width))  # the same for all windows
    sequences = [graph.constant(zeros) if start is None else by_segment(start, width)]
    if future is not None:
        sequences.append(by_segment(future, layer.known))
    body = Graph(graph)
    states = {f"state_{body.prefix}{number}": units for number in range(len(state))}
    before, added, known = (f"{name}_{body.prefix}" for name in ("last", "start", "known"))
    given = {added: width} if future is None else {added: width, known: layer.known}
    seen = before if future is None else body.one("Concat", before, known, axis=1)
    finals = _step(body, layer.recurrent, seen, list(states))
    (made,) = _dense(body, layer.head, finals[0])
    points = [body.constant([number]) for number in (0, END, 1, layer.head.units // width)]
    own = body.one("Add", added, body.one("Slice", made, *points))
    output = body.one("Identity", finals[0])
    run = helper.make_graph(
        body.nodes,
        f"segment_{body.prefix}",
        _columns(states | {before: width} | given),
        _columns(dict.fromkeys(finals, units) | {own: width, output: units}),
    )
    outputs = graph.add(
        "Scan",
        *state,
        last,
        *sequences,
        outputs=len(state) + 2,
        body=run,
        num_scan_inputs=len(sequences),
    )
    return [graph.one("Transpose", outputs[-1], perm=[1, 0, 2])]


def _columns(sizes: Mapping[str, int]) -> list[onnx.ValueInfoProto]:
    return [_value(name, (None, size), "float32") for name, size in sizes.items()]


EMITTERS: dict[str, Callable[..., list[str]]] = {
    "Activation": _activation,
    "Add": _add,
    "Bidirectional": _bidirectional,
    "Concatenate": _concatenate,
    "Dense": _dense,
    "Dropout": _dropout,
    "Flatten": _flatten,
    "GlobalAveragePooling1D": _average_steps,
    "GRU": _recurrent("GRU", (0, 1, 2), linear_before_reset=1),
    "KnownAhead": _known_ahead,
    "KnownFirst": _known_first,
    "LayerNormalization": _layer_normalisation,
    "LSTM": _recurrent("LSTM", (0, 3, 1, 2)),  # Keras i f c o, ONNX i o f c
    "MultiHeadAttention": _attention,
    "Permute": _permute,
    "Plus": _plus,
    "PositionInputs": _position_inputs,
    "RecurrentDecoder": _recurrent_decoder,
    "Regroup": _regroup,
    "RepeatWindows": _repeat_windows,
    "ReversibleNormalisation": _reversible_normalisation,
    "SeriesVectors": _series_vectors,
    "SimpleRNN": _recurrent("RNN", (0,)),
    "Slice": _slice,
    "SpreadNormalisation": _spread_normalisation,
    "Subtract": _subtract,
    "TakeSteps": _take_steps,
}

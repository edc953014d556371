"""A network's graph in 8 bits: dynamic quantisation by ONNX Runtime, and weights stored in 8 bits.

ONNX Runtime multiplies matrices and runs LSTM layers in 8-bit integers (`MatMulInteger`,
`DynamicQuantizeLSTM`); what comes in is rounded to 8 bits by the range that it has in a batch, so that
a forecast may differ a little by what else is forecast with it. It has no such operators for GRU and
SimpleRNN: their weights are stored in 8 bits, one scale for each unit, and computed with as float32.
The step that the parallel decoder takes is a product of matrices, whatever the cell.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forecaster.arrays import Floats
from forecaster.errors import InvalidInputError

COMPUTED = {
    "MatMul": "MatMulInteger",
    "LSTM": "DynamicQuantizeLSTM",
}  # by ONNX Runtime, in integers
STORED = ("GRU", "RNN")  # their weights only
LEAST = 4096  # weights of a matrix: smaller ones stay, where rounding costs more than bytes gain
LARGEST = 127  # of a signed byte, the same on either side of zero


@dataclass(frozen=True)
class Quantised:
    """A graph in 8 bits.

    Attributes:
        graph: The serialised ONNX model.
        computed: Operators that compute in 8-bit integers, by name.
        stored: Operators whose weights are stored in 8 bits and computed with as float32.
        left: Operators that stay as they were: small matrices, and those within the steps of a decoder.
    """

    graph: bytes
    computed: dict[str, int]
    stored: dict[str, int]
    left: dict[str, int]


def quantised(graph: bytes, least: int = LEAST) -> Quantised:
    """Return a graph whose large operators are in 8 bits.

    Args:
        graph: A serialised ONNX model of `networks.onnx_graph.to_onnx`.
        least: Matrices of fewer weights stay as they are.

    Raises:
        InvalidInputError: Nothing in it can be, or it is already.
    """
    import onnx

    model = onnx.load_from_string(graph)
    before = _counts(model.graph)
    again = {*COMPUTED.values(), "DequantizeLinear"} & before.keys()
    if again or not {*COMPUTED, *STORED} & before.keys():
        found = f"it is in 8 bits already ({', '.join(sorted(again))})" if again else "it has none"
        raise InvalidInputError(
            f"Operators with weights ({', '.join([*COMPUTED, *STORED])}) are needed to quantise a "
            f"network, but {found}.",
            "Quantise the version it was made from; or prune or distil it.",
        )
    model = _computing(model, least)
    stored = dict.fromkeys(STORED, 0)
    for node in list(model.graph.node):
        if node.op_type in STORED:
            stored[node.op_type] += _store(model, node)
    after = _counts(model.graph)
    computed = {old: after.get(new, 0) for old, new in COMPUTED.items()}
    left = {
        name: before.get(name, 0) - computed.get(name, 0) - stored.get(name, 0)
        for name in (*COMPUTED, *STORED)
    }
    return Quantised(
        model.SerializeToString(),
        *({k: v for k, v in each.items() if v} for each in (computed, stored, left)),
    )


def _counts(graph: Any) -> Counter[str]:
    """Count the operators of a graph, those of the graphs within it too: the steps of a `Scan`."""
    counts = Counter(node.op_type for node in graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                counts += _counts(attribute.g)
    return counts


def _computing(model: Any, least: int) -> Any:
    """Let ONNX Runtime put its integer operators in; they are written to a file only."""
    import onnx

    from forecaster.runtime import import_onnxruntime

    import_onnxruntime()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    sizes = {tensor.name: int(np.prod(tensor.dims)) for tensor in model.graph.initializer}
    for node in model.graph.node:
        node.name = node.output[0]
    small = [
        node.name
        for node in model.graph.node
        if node.op_type == "MatMul" and sizes.get(node.input[1], 0) < least
    ]
    onnx.helper.set_model_props(
        model, {"onnx.quant.pre_process": "onnxruntime.quant"}
    )  # or it warns
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        quantize_dynamic(
            model,
            path,
            op_types_to_quantize=list(COMPUTED),
            nodes_to_exclude=small,
            per_channel=True,
            reduce_range=True,  # 7 bits: the same result on processors that saturate 8-bit sums
            weight_type=QuantType.QInt8,
        )
        return onnx.load(path)


def _store(model: Any, node: Any) -> bool:
    """Store the two kernels of a recurrent operator in 8 bits; tell whether they are constants."""
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    if not {*node.input[1:3]} <= constants.keys():
        return False
    for place in (1, 2):
        name = node.input[place]
        small, scale = _rounded(numpy_helper.to_array(constants[name]))
        names = [f"{name}_{what}" for what in ("small", "scale", "float")]
        arrays = zip((small, scale), names, strict=False)
        model.graph.initializer.extend(numpy_helper.from_array(*each) for each in arrays)
        spread = helper.make_node("DequantizeLinear", names[:2], names[2:], axis=1)
        model.graph.node.insert(0, spread)
        node.input[place] = names[2]
        model.graph.initializer.remove(constants[name])
    return True


def _rounded(kernel: Floats) -> tuple[np.ndarray, Floats]:
    """Return `(1, unit, input)` in signed bytes, and what a byte's step is worth of each unit."""
    scale = np.abs(kernel).max(axis=(0, 2)) / LARGEST
    scale = np.where(scale > 0, scale, 1.0).astype(np.float32)
    return np.rint(kernel / scale[:, None]).astype(np.int8), scale

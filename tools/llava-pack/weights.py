"""Weights that are kept small in the file and computed with in fp32."""

import hashlib

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper

# Smaller tensors are left as they are: biases, norms, shapes.
LEAST_VALUES = 256
KINDS = ["fp32", "fp16", "int8"]


def _key(array):
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest() + str(array.shape).encode()


def round_weights(model, kind):
    """Rounds the model's own weights, so that transformers computes with what the pack will hold. `int8`: linear layers but the last, one
    scale for each output; the rest fp16. Answers what `compress` needs to find the int8 ones again: by their rounded values."""
    table = {}
    if kind == "fp32":
        return table
    head = model.get_output_embeddings()
    linear = {m.weight for m in model.modules() if isinstance(m, torch.nn.Linear) and m is not head} if kind == "int8" else set()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter not in linear:
                parameter.copy_(parameter.half().float())
                continue
            scale = parameter.abs().amax(dim=1, keepdim=True).clamp(min=1e-8) / 127
            quantised = (parameter / scale).round().clamp(-127, 127)
            parameter.copy_(quantised * scale)
            q, s = quantised.to(torch.int8).numpy(), scale.numpy()
            rounded = parameter.numpy()
            table[_key(rounded)] = (q, s)
            table[_key(rounded.T)] = (q.T, s.T)
    return table


def compress(graph_model, kind, table):
    """Stores initializers of an ONNX model as int8 or fp16, with a Cast to fp32 (int8: and a scale) before their use, wherever that loses
    nothing. Runtimes fold these nodes when they load the graph."""
    if kind == "fp32":
        return
    graph = graph_model.graph
    kept, nodes = [], []
    for initializer in graph.initializer:
        array = numpy_helper.to_array(initializer) if initializer.data_type == TensorProto.FLOAT else None
        if array is None or array.size < LEAST_VALUES:
            kept.append(initializer)
            continue
        name = initializer.name
        found = table.get(_key(array))
        if found:
            q, s = found
            kept += [numpy_helper.from_array(np.ascontiguousarray(q), f"{name}_q"), numpy_helper.from_array(np.ascontiguousarray(s), f"{name}_scale")]
            nodes += [
                helper.make_node("Cast", [f"{name}_q"], [f"{name}_cast"], to=TensorProto.FLOAT),
                helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name]),
            ]
            continue
        half = array.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), array):
            kept.append(initializer)
            continue
        kept.append(numpy_helper.from_array(half, f"{name}_fp16"))
        nodes.append(helper.make_node("Cast", [f"{name}_fp16"], [name], to=TensorProto.FLOAT))
    rest = list(graph.node)
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes + rest)
    graph.initializer.extend(kept)


def strip(graph_model):
    """Takes out what the exporter notes of the machine and the source files."""
    for message in [graph_model, graph_model.graph, *graph_model.graph.node, *graph_model.graph.value_info, *graph_model.graph.initializer]:
        for field in ("metadata_props", "doc_string"):
            message.ClearField(field)
    del graph_model.graph.value_info[:]
    del graph_model.functions[:]

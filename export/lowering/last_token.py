"""Graph of a decoder that gives the logits of each text's last token alone: what generation reads of a prompt.

It stands beside the graph with all logits, whose tensors it shares. Its logits have 1 as their second dimension, by
which onnxruntime-genai knows such a graph (``Model::IsPruned``).
"""

from __future__ import annotations

import onnx_ir as ir

from compress.graph.builder import GraphBuilder, required

_ELEMENTWISE = frozenset({"Add", "Cast", "Div", "Mul", "Tanh"})
"""What a head may do to the logits after its product."""


def head_input(model: ir.Model) -> str | None:
    """Name of the hidden states ``[b, s, hidden]`` that a decoder's head multiplies, in a float graph.

    None where the way from the logits back to that product isn't known.
    """
    value = next((output for output in model.graph.outputs if output.name == "logits"), None)
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "MatMul":
            hidden, weight = node.inputs
            return hidden.name if hidden is not None and _is_constant(weight) and not _is_constant(hidden) else None
        if node.op_type not in _ELEMENTWISE:
            return None
        moving = [operand for operand in node.inputs if not _is_constant(operand)]
        value = moving[0] if len(moving) == 1 else None
    return None


def last_token_graph(model: ir.Model, hidden: str) -> ir.Model:
    """The lowered ``model`` with a head that reads each text's last token of the values called ``hidden``.

    That is the last one that the attention mask has a 1 for, wherever a batch is padded.
    """
    last = model.clone()
    graph = last.graph
    states = next(value for node in graph for value in node.outputs if value.name == hidden)
    inputs = {value.name: value for value in graph.inputs}
    readers = [(node, index) for node, index in states.uses()]
    builder = GraphBuilder(graph, "last_token")
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    column = builder.op("ArgMax", mask, axis=1, select_last_index=1)  # [b, 1], counted from the cache's first token
    row = builder.op("Sub", column, builder.op("Sub", builder.dim(mask, 1), builder.dim(ids, 1)))
    index = builder.op("Unsqueeze", builder.op("Max", row, builder.constant(0)), builder.constant([2]))
    chosen = builder.op("GatherND", states, index, name="last_token.hidden", batch_dims=1)
    builder.insert_before(min((node for node, _ in readers), key=list(graph).index))
    for node, position in readers:
        node.replace_input_with(position, chosen)
    logits = next(output for output in graph.outputs if output.name == "logits")
    batch, _, words = required(logits.shape)
    _forget_lengths(chosen)
    logits.shape = ir.Shape([batch, 1, words])
    return last


def _is_constant(value: ir.Value | None) -> bool:
    """Whether no input of the graph changes a value."""
    if value is None or value.is_initializer():
        return True
    node = value.producer()
    return node is not None and all(map(_is_constant, node.inputs))


def _forget_lengths(value: ir.Value) -> None:
    """Drop the shapes of what is computed from a value, which have the text's length."""
    for node in {node for node, _ in value.uses()}:
        for output in node.outputs:
            output.shape = None
            _forget_lengths(output)

"""A sentence encoder's modules as nodes of its graph, whose output ``sentence_embedding`` they make.

They compute in float32 whatever the graph is computed in, as sentence-transformers does: a weighted mean leaves
float16's range.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from torch import Tensor

from compress.export.lowering.decompose import FLOAT32_SUFFIX
from compress.graph.builder import GraphBuilder, NumberedBuilder, required
from compress.modeling.sentence_chain import (
    LEAST_COUNT,
    LEAST_LENGTH,
    SENTENCE,
    TOKENS,
    DenseLayer,
    LayerNorm,
    Normalize,
    Pooling,
    SentenceChain,
    SentenceModule,
    Truncation,
)
from compress.onnx_names import SENTENCE_OUTPUT

PROMPT_LENGTH = "prompt_length"
"""An input that may be left out: how many tokens of a prompt, before each text, don't count. Where the pooling leaves
prompts out alone."""


def append_sentence_embedding(model: ir.Model, chain: SentenceChain) -> None:
    """Append the modules behind an encoder's graph: its second output is ``sentence_embedding`` ``[b, width]``."""
    graph = model.graph
    hidden = graph.outputs[0]
    mask = next(value for value in graph.inputs if value.name == "attention_mask")
    builder = _Builder(graph, mask, any(isinstance(m, Pooling) and not m.include_prompt for m in chain.modules))
    features = {TOKENS: builder.op("Cast", hidden, to=int(ir.DataType.FLOAT))}
    for module in chain.modules:
        features[module.writes] = builder.module(module, features[module.reads])
    builder.append()
    inexact = GraphBuilder(graph)
    out = inexact.op("Cast", features[SENTENCE], name=SENTENCE_OUTPUT, to=int(ir.DataType.FLOAT))
    batch, *_, hidden_size = required(hidden.shape)
    width = chain.width(hidden_size) if isinstance(hidden_size, int) else None
    out.type, out.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape([batch, width])
    inexact.append()
    graph.outputs.append(out)


class _Builder(NumberedBuilder):
    """The names of its nodes and constants say that they stay in float32."""

    def __init__(self, graph: ir.Graph, mask: ir.Value, leaves_out_prompts: bool) -> None:
        super().__init__(graph, "sentence", FLOAT32_SUFFIX)
        self.mask, self.text = mask, self.op("Cast", mask, to=int(ir.DataType.FLOAT))
        length, step = self.size(mask, 1), self.constant(1)
        positions = self.op("Range", self.constant(0), length, step)
        self.positions = self.op("Cast", positions, to=int(ir.DataType.FLOAT))
        # onnxruntime takes the first of equals only of floats on a GPU, and knows no int64 there
        first = self.op("ArgMax", self.text, axis=1, keepdims=1)
        self.behind_padding = self.op("Sub", self.positions, self.op("Cast", first, to=int(ir.DataType.FLOAT)))
        if leaves_out_prompts:
            prompt = self.op("Cast", self._prompt_length(), to=int(ir.DataType.FLOAT))
            reached = self.op("GreaterOrEqual", self.behind_padding, prompt)
            self.text = self.op("Mul", self.text, self.op("Cast", reached, to=int(ir.DataType.FLOAT)))

    def number(self, value: float) -> ir.Value:
        """A constant in float32."""
        return self.constant(value, f"{self.prefix}.number.{value:g}{FLOAT32_SUFFIX}")

    def tensor(self, tensor: Tensor) -> ir.Value:
        """A weight of a module, with the next number as its name."""
        self.count += 1
        return self.constant(tensor.numpy(), f"{self.prefix}.weight.{self.count}{FLOAT32_SUFFIX}")

    def _prompt_length(self) -> ir.Value:
        """The input with its default, 0: an initializer that a run may replace."""
        value = self.constant(0, PROMPT_LENGTH)
        self.graph.inputs.append(value)
        return value

    def module(self, module: SentenceModule, x: ir.Value) -> ir.Value:
        """The output of one module."""
        match module:
            case Pooling():
                pooled = [self.pool(mode, x) for mode in module.modes]
                return pooled[0] if len(pooled) == 1 else self.op("Concat", *pooled, axis=-1)
            case DenseLayer():
                return self.dense(module, x)
            case LayerNorm():
                weights = self.tensor(module.weight), self.tensor(module.bias)
                return self.op("LayerNormalization", x, *weights, axis=-1, epsilon=module.epsilon)
            case Normalize():
                length = self.op("ReduceL2", x, self.constant([-1]), keepdims=1)
                return self.op("Div", x, self.op("Max", length, self.number(LEAST_LENGTH)))
            case Truncation():
                begin, end, axis = (self.constant([number]) for number in (0, module.size, -1))
                return self.op("Slice", x, begin, end, axis)
        raise TypeError(f"no nodes are known of the module {module.kind}")

    def pool(self, mode: str, x: ir.Value) -> ir.Value:
        """``[b, s, width]`` pooled: ``[b, width]``."""
        text = self.op("Unsqueeze", self.text, self.constant([2]))
        match mode:
            case "cls":
                return self.token(x, self.op("ArgMax", self.text, axis=1, keepdims=1))
            case "lasttoken":
                behind = self.op("Mul", self.text, self.positions)
                return self.token(self.op("Mul", x, text), self.op("ArgMax", behind, axis=1, keepdims=1))
            case "max":
                hidden = self.op("Where", self.op("Cast", text, to=int(ir.DataType.BOOL)), x, self.number(-np.inf))
                return self.op("ReduceMax", hidden, self.constant([1]), keepdims=0)
            case "weightedmean":
                weights = self.op("Add", self.behind_padding, self.number(1.0))
                text = self.op("Mul", text, self.op("Unsqueeze", weights, self.constant([2])))
        count = self.op("Max", self.op("ReduceSum", text, self.constant([1]), keepdims=0), self.number(LEAST_COUNT))
        if mode == "mean_sqrt_len_tokens":
            count = self.op("Sqrt", count)
        return self.op("Div", self.op("ReduceSum", self.op("Mul", x, text), self.constant([1]), keepdims=0), count)

    def token(self, x: ir.Value, index: ir.Value) -> ir.Value:
        """The vectors of ``[b, s, width]`` at an ``index`` ``[b, 1]``: ``[b, width]``."""
        return self.op("GatherND", x, index, batch_dims=1)

    def dense(self, module: DenseLayer, x: ir.Value) -> ir.Value:
        """A product, a bias, an activation, and its input again where there is a residual."""
        y = self.op("MatMul", x, self.tensor(module.weight.T.contiguous()))
        if module.bias is not None:
            y = self.op("Add", y, self.tensor(module.bias))
        y = self.activation(module.activation, y)
        if not module.adds_input:
            return y
        residual = x if module.residual is None else self.op("MatMul", x, self.tensor(module.residual.T.contiguous()))
        return self.op("Add", y, residual)

    def activation(self, name: str, x: ir.Value) -> ir.Value:
        """An activation by the name of torch's class, in operators that graphs of every opset have."""
        match name:
            case "Identity":
                return x
            case "ReLU":
                return self.op("Relu", x)
            case "ELU":
                return self.op("Elu", x, alpha=1.0)
            case "LeakyReLU":
                return self.op("LeakyRelu", x, alpha=0.01)
            case "SiLU":
                return self.op("Mul", x, self.op("Sigmoid", x))
            case "Mish":
                return self.op("Mul", x, self.op("Tanh", self.op("Softplus", x)))
            case "GELU":  # x · (1 + erf(x / √2)) / 2
                erf = self.op("Erf", self.op("Mul", x, self.number(0.5**0.5)))
                return self.op("Mul", self.op("Mul", x, self.number(0.5)), self.op("Add", erf, self.number(1.0)))
        return self.op(name, x)  # Tanh, Sigmoid, Softplus and Softsign are called so there too

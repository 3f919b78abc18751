"""What reaches the layers is what a whole model's layers are called with, in both stacks of an encoder-decoder."""

import pytest
import torch
from transformers import T5Config, T5ForConditionalGeneration

from compress.calibration.block import Block
from compress.calibration.flow import Flow
from compress.calibration.walk import walk_blocks
from compress.checkpoint.model import Model
from compress.errors import PassError
from compress.modeling.modules import stacks
from compress.modeling.seq2seq import decoder_inputs
from compress.modeling.transformers_private import on_meta
from compress.progress import Silent
from compress.weights.forms import Dense
from tests.support.calibration import TOKENS
from tests.support.checkpoints import build

pytestmark = pytest.mark.usefixtures("exact_products")


def outside(module):
    """The tensors that lie in no layer."""
    inside = tuple(f"{path}." for path, _ in stacks(module))
    return {name: t.float() for name, t in module.state_dict().items() if not name.startswith(inside)}


def on_meta_alike(module):
    with on_meta():
        empty = type(module)(module.config)
    empty.tie_weights(recompute_mapping=False)
    return empty.eval()


def watch(layer):
    """What a layer's calls hand it first."""
    calls = []
    layer.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    return calls


def test_a_decoders_first_layer_gets_the_embeddings_and_positions():
    module = build("LlamaForCausalLM")
    flow = Flow(on_meta_alike(module), TOKENS % 96, outside(module), {"model.layers": 0})
    calls = watch(module.model.layers[0])
    with torch.no_grad():
        for batch in (TOKENS % 96).split(2):
            module.model(batch, use_cache=False)
    arguments = flow.arguments(0, 0)
    assert len(arguments.states) == len(calls) == 3
    for i, (args, kwargs) in enumerate(calls):
        (hidden, *_), options = arguments.call(i)
        assert torch.equal(hidden, args[0])
        for ours, theirs in zip(options["position_embeddings"], kwargs["position_embeddings"], strict=True):
            assert torch.allclose(ours, theirs)


def test_a_decoder_gets_the_encoders_outputs_and_its_own_bias():
    config = T5Config(vocab_size=96, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.0)
    module = T5ForConditionalGeneration(config).eval()
    ids = TOKENS[:2] % 90 + 3
    flow = Flow(on_meta_alike(module), ids, outside(module), {"encoder.block": 3, "decoder.block": 3})
    encoder_calls, decoder_calls = watch(module.encoder.block[1]), watch(module.decoder.block[0])
    with torch.no_grad():
        encoded = module.encoder(ids, attention_mask=torch.ones_like(ids))[0]
        module.decoder(
            decoder_inputs(config, ids), encoder_hidden_states=encoded, encoder_attention_mask=torch.ones_like(ids),
            use_cache=False,
        )  # fmt: skip
        first = module.encoder.block[0]
        state = {f"encoder.block.0.{name}": tensor for name, tensor in first.state_dict().items()}
        matrices = {name: Dense(t) for name, t in state.items() if t.ndim == 2 and "bias" not in name}
        vectors = {name: t for name, t in state.items() if name not in matrices}
        flow.after_first_layer(0, first, Block("encoder.block.0", "layer", matrices, vectors))
        (_, *rest), _ = flow.arguments(0, 1).call(0)
        bias = next(tensor for tensor in rest if torch.is_tensor(tensor) and tensor.ndim == 4 and tensor.shape[1] == 4)
        theirs = next(t for t in encoder_calls[0][0][1:] if torch.is_tensor(t) and t.ndim == 4 and t.shape[1] == 4)
        assert torch.allclose(bias, theirs, atol=1e-6)
        states = flow.arguments(0, 0).states
        for layer in module.encoder.block:
            states[0] = layer(states[0], position_bias=bias)[0]
        flow.between_stacks(outside(module))
    (hidden, *rest), _ = flow.arguments(1, 0).call(0)
    assert torch.allclose(hidden, decoder_calls[0][0][0])
    assert any(torch.is_tensor(t) and t.shape == encoded.shape and torch.allclose(t, encoded, atol=1e-5) for t in rest)


def test_layers_that_read_more_than_their_arguments_are_refused_before_the_work(random_model):
    sizes = {"d_model": 64, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
             "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}  # fmt: skip
    model = Model.open(str(random_model("LEDForConditionalGeneration", **sizes)))
    with pytest.raises(PassError, match="the layers of a LEDForConditionalGeneration can't be run one by one"):
        for _ in walk_blocks(model, TOKENS, Silent()):
            pass

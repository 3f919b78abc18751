"""Arguments of a layer by batch: its states, what is shared by batches of a size, and what stands for later tensors."""

import torch

from compress.calibration.layer_arguments import LayerArguments, Placeholder, put


def test_a_batch_is_called_with_its_states_and_with_what_goes_with_its_size():
    states = [torch.ones(2, 3, 4).bfloat16(), torch.zeros(1, 3, 4).bfloat16()]
    arguments = LayerArguments(states, {2: (("two",), {"mask": 2}), 1: (("one",), {"mask": 1})})
    (hidden, other), options = arguments.call(0)
    assert (hidden.dtype, other, options) == (torch.float32, "two", {"mask": 2})
    (hidden, other), options = arguments.call(1)
    assert (hidden.shape, other, options) == ((1, 3, 4), "one", {"mask": 1})


def test_a_batch_gets_its_own_encoder_states():
    encoder = [torch.full((1, 2, 4), float(i)).bfloat16() for i in range(2)]
    others = {1: ((None, Placeholder.ENCODER_STATES, Placeholder.POSITION_BIAS), {})}
    arguments = LayerArguments([torch.ones(1, 3, 4)] * 2, others, encoder)
    for i in range(2):
        (_, first, states, bias), _ = arguments.call(i)
        assert (first, bias) == (None, Placeholder.POSITION_BIAS)
        assert torch.equal(states, encoder[i].float())


def test_a_placeholder_gives_way_wherever_it_stands():
    bias = torch.ones(2)
    args = put(Placeholder.POSITION_BIAS, bias, (Placeholder.POSITION_BIAS, 1, Placeholder.ENCODER_STATES))
    assert args[0] is bias
    assert args[1:] == (1, Placeholder.ENCODER_STATES)

"""Forward arguments of a batch of text or images."""

import torch

from compress.calibration.model_inputs import model_inputs


def test_text_has_a_mask_and_images_are_pixels():
    ids, pixels = torch.arange(6).view(2, 3), torch.rand(2, 3, 4, 4)
    text = model_inputs(ids)
    assert list(text) == ["input_ids", "attention_mask"]
    assert torch.equal(text["input_ids"], ids)
    assert torch.equal(text["attention_mask"], torch.ones(2, 3, dtype=torch.long))
    assert list(model_inputs(pixels)) == ["pixel_values"]
    assert model_inputs(pixels)["pixel_values"] is pixels

"""Checkpoints in transformers as an engine."""

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
)

from compress.benchmarks.engines.torch import TorchEngine
from compress.modeling.kinds import DECODER, IMAGE_CLASSIFIER


def test_torch_reads_everything_but_the_embedding_table(llama):
    module = AutoModelForCausalLM.from_pretrained(llama)
    table = module.get_input_embeddings().weight.nbytes
    expected = sum(p.nbytes for p in module.parameters()) - table
    assert TorchEngine(llama, DECODER, 1).read_bytes() == expected


def test_images_are_classified_as_transformers_does(random_model):
    sizes = {"image_size": 16, "patch_size": 8, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    path = random_model("ViTForImageClassification", num_attention_heads=2, num_labels=3, **sizes)
    pixels = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    with torch.inference_mode():
        expected = AutoModelForImageClassification.from_pretrained(path)(torch.from_numpy(pixels)).logits.numpy()
    assert TorchEngine(path, IMAGE_CLASSIFIER, 1).classify_images(pixels) == pytest.approx(expected, abs=1e-6)


def test_a_tokens_cache_is_known_once_there_is_one(llama):
    engine = TorchEngine(llama, DECODER, 1)
    assert engine.token_bytes() == 0
    engine.start(np.arange(8), 1)
    assert engine.token_bytes() == 2 * 2 * 2 * 16 * 4  # keys and values, of two layers, of two heads of 16
    engine.release()
    assert engine.token_bytes() == 0

"""Tiny models of realistic shape, made on the spot, with a tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

CORPUS = "the quick brown fox jumps over a lazy dog while seven wizards box daily with jugs of quartz liquor " * 40
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "initializer_range": 0.2,
}


def tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of an odd vocabulary size."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "</s>", "<pad>"]
    bpe.train_from_iterator(
        [CORPUS], trainers.BpeTrainer(vocab_size=331, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>", pad_token="<pad>")


def save_model(path: Path, name: str, save: dict[str, Any] | None = None, **options: Any) -> Path:
    """Write a random model of a transformers class, whose config has those options alone, and a tokenizer."""
    cls = getattr(transformers, name)
    words = tokenizer()
    tokens = {"vocab_size": len(words), "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    torch.manual_seed(0)
    module = cls(cls.config_class(**{**tokens, **options})).eval()
    module.save_pretrained(path, **(save or {}))
    words.save_pretrained(path)
    return path


def copy_checkpoint(
    source: Path, target: Path, change: Callable[[dict[str, torch.Tensor]], None] | None = None
) -> Path:
    """Copy a checkpoint's files into ``target``, which is made; ``change`` is given the tensors to change in place."""
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    if change:
        tensors = load_file(target / "model.safetensors")
        change(tensors)
        save_file(tensors, target / "model.safetensors", {"format": "pt"})
    return target


def frame_texts(path: Path, template: str) -> Path:
    """Let a checkpoint's tokenizer put special tokens around every text: ``"<s> $A"`` as Gemma's does."""
    raw = Tokenizer.from_file(str(path / "tokenizer.json"))
    special = [(token, raw.token_to_id(token)) for token in ("<s>", "</s>")]
    raw.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    raw.save(str(path / "tokenizer.json"))
    return path


def add_noise_to_vectors(tensors: dict[str, torch.Tensor]) -> None:
    """Change norms and biases, which begin as ones and zeros, so that what drops or mixes them up shows."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in tensors.items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensors[name] = tensor + 0.2 * torch.randn(tensor.shape, generator=generator)

"""Kinds of models: what a model is for."""

from __future__ import annotations

from typing import Literal

Kind = Literal["decoder", "encoder", "classifier", "encoder-decoder", "image-classifier"]
"""A classifier is an encoder with its head, of text or of images."""


def writes(kind: Kind) -> bool:
    """Whether such a model writes text, token by token."""
    return kind in ("decoder", "encoder-decoder")


def classifies(kind: Kind) -> bool:
    """Whether such a model gives what it reads logits of classes."""
    return kind in ("classifier", "image-classifier")


def sees(kind: Kind) -> bool:
    """Whether such a model reads images, and no text."""
    return kind == "image-classifier"

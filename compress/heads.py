"""Classifiers: encoders that keep the head which their config names, and how transformers loads them."""

from __future__ import annotations

from compress.artifact import Kind

_BASE = "Model"
_SEQUENCE, _TOKEN = "ForSequenceClassification", "ForTokenClassification"


def headed(base: str, named: str | None) -> str | None:
    """The class that a config names, if that is the encoder ``base`` (``BertModel``) with a classifier's head."""
    return named if named in [base.removesuffix(_BASE) + head for head in (_SEQUENCE, _TOKEN)] else None


def by_token(cls: str) -> bool:
    """Whether a classifier of that class has logits for every token, ``[b, s, labels]`` instead of ``[b, labels]``."""
    return cls.endswith(_TOKEN)


def loader(kind: Kind, cls: str) -> str:
    """The name of what a user loads a checkpoint of that class with."""
    if kind == "classifier":
        return f"AutoModel{_TOKEN if by_token(cls) else _SEQUENCE}"
    return "AutoModelForCausalLM" if kind == "decoder" else "AutoModel"

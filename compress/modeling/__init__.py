"""Transformers models: classes, families, modules, task kinds."""

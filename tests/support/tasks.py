"""lm-eval tasks as the YAML files that its users write."""

from __future__ import annotations

from typing import Any

import yaml


def task_yaml(name: str, output_type: str, data: str, metrics: tuple[str, ...] = ("acc",), **fields: Any) -> str:
    """A task of the documents in the file ``data`` beside it; of each of ``metrics`` the mean, more being better."""
    return yaml.safe_dump(
        {
            "task": name,
            "dataset_path": {"jsonl": "json"}.get(data.rpartition(".")[2], data.rpartition(".")[2]),
            "dataset_kwargs": {"data_files": {"test": data}},
            "test_split": "test",
            "output_type": output_type,
            "doc_to_text": "{{text}}",
            "metric_list": [{"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in metrics],
        }
        | fields,
        sort_keys=False,
    )

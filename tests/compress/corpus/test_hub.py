"""Data sets of the hub: their addresses, and rows of one that is in the local cache."""

from __future__ import annotations

import sys
from pathlib import Path

import datasets
import huggingface_hub
import pytest

from compress.corpus.hub import HubDataset
from compress.corpus.source import open_source
from compress.errors import MissingComponentError, UsageError


@pytest.mark.parametrize(
    ("address", "parsed"),
    [
        ("hf://datasets/a/b", ("a/b", None, None, "train", None)),
        ("hf://datasets/a/b@v1?split=test[:10%]&name=en", ("a/b", None, "en", "test[:10%]", "v1")),
        ("hf://datasets/a/b/data/c.parquet", ("a/b", "data/c.parquet", None, "train", None)),
    ],
)
def test_addresses(address: str, parsed: tuple[str | None, ...]) -> None:
    dataset = HubDataset.parse(address)
    assert (dataset.repository, dataset.file, dataset.name, dataset.split, dataset.revision) == parsed
    assert open_source(f"{address}:text").name == address


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("hf://models/a/b", "is no data set; write hf://datasets/OWNER/NAME"),
        ("hf://datasets/a", "names no data set"),
        ("hf://datasets/", "names no data set"),
        ("hf://datasets/a/b?spilt=test", r"unknown option in .*'spilt'; did you mean 'split'"),
    ],
)
def test_what_is_no_address(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_source(address)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of ``datasets`` with ``owner/quotes`` in it, and no way to the hub."""
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "one", "mine": "1"}\n{"text": "two", "mine": "2"}\n')
    folder = tmp_path / "cache"
    datasets.load_dataset("json", data_files=str(file), cache_dir=str(folder))
    (source,) = folder.glob("json/*")
    (folder / "owner___quotes").mkdir()
    source = source.rename(folder / "owner___quotes" / "default")
    (arrow,) = source.rglob("json-train.arrow")
    arrow.rename(arrow.with_name("quotes-train.arrow"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


def test_rows_of_what_is_in_the_cache(cache: Path) -> None:
    assert "".join(open_source("hf://datasets/owner/quotes").read()) == "one\n\ntwo"
    assert "".join(open_source("hf://datasets/owner/quotes:mine").read()) == "1\n\n2"
    with pytest.raises(UsageError, match="row 1: no column 'other'; there are text, mine"):
        list(open_source("hf://datasets/owner/quotes:other").read())
    with pytest.raises(UsageError, match=r"hf://datasets/owner/absent can't be read \(.*the local cache lacks it"):
        list(open_source("hf://datasets/owner/absent").read())


def test_without_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told at once: nobody listens at the address."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UsageError) as error:
        list(open_source("hf://datasets/owner/quotes").read())
    assert "quotes can't be read: the hub isn't reachable (" in str(error.value)
    assert str(error.value).endswith("); --offline reads the local cache")
    assert "\n" not in str(error.value)


def test_without_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingComponentError, match=r"needs datasets: pip install 'compress-models\[datasets\]'"):
        list(open_source("hf://datasets/owner/quotes").read())

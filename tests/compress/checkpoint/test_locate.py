"""Where a model is found: a directory, the hub's cache, or a demo by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from compress.checkpoint.locate import locate, locate_offline
from compress.checkpoint.model import Model
from compress.errors import ModelError, UsageError
from compress.progress import Silent
from tests.support.checkpoints import build
from tests.support.sentences import dense, pooling, save_modules


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    build("LlamaForCausalLM").save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_a_source_that_is_nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="nobody/nothing is no directory here, not in the hub's cache, and the hub"):
        Model.open("nobody/nothing")
    for path in ("./absent", "/absent", "a/b/c", str(tmp_path / "absent")):
        with pytest.raises(ModelError, match="no such directory"):
            Model.open(path)


def test_a_checkpoint_in_the_hub_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = tmp_path / "hub" / "models--somebody--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123abcd")
    (cached / "snapshots").mkdir()
    llama.rename(cached / "snapshots" / "0123abcd")
    model = Model.open("somebody/tiny")
    assert (model.name, model.source, model.class_name) == ("tiny", "somebody/tiny", "LlamaForCausalLM")
    assert locate_offline("somebody/tiny") == cached / "snapshots" / "0123abcd"


def test_the_weights_of_a_sentence_encoders_modules_are_fetched(monkeypatch, tmp_path: Path, llama: Path) -> None:
    save_modules(llama, [pooling("mean"), dense(64, 8)])
    asked: list[list[str]] = []
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download", lambda *_, allow_patterns, **__: asked.append(allow_patterns) or llama
    )
    locate("somebody/tiny", False, Silent())
    assert asked[1][:2] == ["1_Pooling/*.json", "1_Pooling/*.txt"]
    assert "2_Dense/*.safetensors" in asked[1]
    assert not any(pattern.endswith(".bin") for pattern in asked[1])


def test_what_is_not_here_is_not_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, llama: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COMPRESS_CACHE", str(tmp_path / "cache"))
    assert [locate_offline(name) for name in ("nobody/nothing", "demo:smollm2", "a/b/c", "./absent")] == [None] * 4
    assert locate_offline(str(llama)) == llama
    (tmp_path / "cache" / "smollm2").mkdir(parents=True)
    (tmp_path / "cache" / "smollm2" / "SHA256SUMS").write_text("")
    assert locate_offline("demo:smollm2") == tmp_path / "cache" / "smollm2"


def test_an_unknown_demo() -> None:
    with pytest.raises(UsageError, match="unknown demo 'smollm'; did you mean 'smollm2'?"):
        Model.open("demo:smollm")

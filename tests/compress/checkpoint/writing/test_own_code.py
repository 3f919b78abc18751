"""A variant needs no code where transformers has its classes, and has all of it where transformers has not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from compress.checkpoint.model import Model
from compress.checkpoint.writing.own_code import copy_companions
from compress.errors import ModelError
from compress.export.targets.hf import Hf
from compress.pipeline.parse import Pipeline
from compress.pipeline.run import run_pipeline
from compress.progress import Silent
from tests.support.checkpoints import configure
from tests.support.models import copy_checkpoint

CODE = (
    "import pathlib\npathlib.Path(__file__).with_name('ran').touch()\nfrom transformers import LlamaConfig as XConfig\n"
)


@pytest.fixture
def model(llama: Path, tmp_path: Path) -> Path:
    """A Llama that says that its class is in its own files, as Phi-3's medium one did."""
    path = copy_checkpoint(llama, tmp_path / "m")
    files = {"AutoConfig": "configuration_x.XConfig", "AutoModelForCausalLM": "modeling_x.XForCausalLM"}
    configure(path, auto_map=files, custom_pipelines={"text": {"impl": "pipe.P"}})
    (path / "configuration_x.py").write_text(CODE)
    (path / "modeling_x.py").write_text(CODE)
    return path


def settings(path: Path, name: str, **changes: Any) -> None:
    file = path / name
    before = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps({**before, **changes}, ensure_ascii=False))


def variant(path: Path, out: Path, progress: Silent | None = None) -> Path:
    out.mkdir()
    model = Model.open(path, trust_remote_code=True)
    progress = progress or Silent()
    run_pipeline(model, Pipeline.parse("fp16"), Hf.capability, out, lambda: pytest.fail("no text"), 0, progress)
    return out


def test_a_class_of_transformers_needs_no_code(model: Path, tmp_path: Path) -> None:
    settings(model, "tokenizer_config.json", auto_map={"AutoTokenizer": ["tok_x.XTok", None]}, note="é")
    settings(model, "generation_config.json", auto_map={"a": "b.c"}, eos_token_id=1)
    with pytest.raises(ModelError, match="brings its own code"):
        Model.open(model)
    out = variant(model, tmp_path / "v")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        assert "auto_map" not in json.loads((out / name).read_text())
        assert "auto_map" in json.loads((model / name).read_text())
    assert "custom_pipelines" not in (out / "config.json").read_text()
    assert json.loads((out / "tokenizer_config.json").read_text())["note"] == "é"
    assert list(out.glob("*.py")) == []
    transformers.AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)
    assert transformers.AutoTokenizer.from_pretrained(out, trust_remote_code=True)("the quick")["input_ids"]
    assert not list(tmp_path.rglob("ran"))


def test_a_class_of_the_checkpoints_own_takes_its_code_along(model: Path, tmp_path: Path) -> None:
    own = {"auto_map": {"AutoTokenizer": ["tok_x.XTok", None]}, "tokenizer_class": "XTok"}
    settings(model, "tokenizer_config.json", **own)
    (model / "tok_x.py").write_text(CODE)
    (tmp_path / "secret.py").write_text("secret")
    (model / "linked.py").symlink_to(tmp_path / "secret.py")
    out = variant(model, tmp_path / "v")
    assert sorted(file.name for file in out.glob("*.py")) == ["configuration_x.py", "modeling_x.py", "tok_x.py"]
    assert (out / "tokenizer_config.json").read_bytes() == (model / "tokenizer_config.json").read_bytes()
    assert not list(tmp_path.rglob("ran"))


def test_code_stays_behind_unless_it_is_trusted(model: Path, tmp_path: Path) -> None:
    own = {"auto_map": {"AutoTokenizer": ["tok_x.XTok", None]}, "tokenizer_class": "XTok"}
    settings(model, "tokenizer_config.json", **own)
    configure(model, auto_map=None)
    (tmp_path / "v").mkdir()
    notice = copy_companions(Model.open(model), tmp_path / "v")
    assert notice == (
        "tokenizer_config.json names a class of the checkpoint's own; --trust-remote-code lets its code go along"
    )
    assert list((tmp_path / "v").glob("*.py")) == []
    assert "auto_map" not in (tmp_path / "v" / "tokenizer_config.json").read_text()


def test_code_that_isnt_there_is_not_named(model: Path, tmp_path: Path) -> None:
    own = {"auto_map": {"AutoTokenizer": ["tok_x.XTok", None]}, "tokenizer_class": "XTok"}
    settings(model, "tokenizer_config.json", **own)
    progress = Silent()
    out = variant(model, tmp_path / "v", progress)
    assert f"tokenizer_config.json names a class in tok_x.py, which isn't in {model}: left out" in progress.notices
    assert "auto_map" not in (out / "tokenizer_config.json").read_text()
    assert list(out.glob("*.py")) == []


@pytest.mark.parametrize("trusted", [True, False])
def test_code_on_the_hub_needs_no_files(model: Path, tmp_path: Path, trusted: bool) -> None:
    configure(model, auto_map=None)
    own = {"auto_map": {"AutoTokenizer": ["some/repo--tok_x.XTok", None]}, "tokenizer_class": "XTok"}
    settings(model, "tokenizer_config.json", **own)
    (tmp_path / "v").mkdir()
    assert copy_companions(Model.open(model, trust_remote_code=trusted), tmp_path / "v") is None
    assert (tmp_path / "v" / "tokenizer_config.json").read_bytes() == (model / "tokenizer_config.json").read_bytes()
    assert list((tmp_path / "v").glob("*.py")) == []

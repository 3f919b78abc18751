"""What lies in a checkpoint's folder beside the weights: all that a variant takes along, nothing from elsewhere."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from compress.checkpoint.files import folder as folder_module
from compress.checkpoint.files.folder import check_folder, companions
from compress.checkpoint.locate import check_source
from compress.checkpoint.model import Model
from compress.checkpoint.writing.license import find_license
from compress.errors import ModelError
from compress.progress import Silent
from tests.support.cli import run_cli
from tests.support.models import copy_checkpoint


@pytest.fixture
def model(llama: Path, tmp_path: Path) -> Path:
    return copy_checkpoint(llama, tmp_path / "model")


def test_the_files_that_go_along(tmp_path: Path) -> None:
    names = ["LICENSE.txt", "NOTICE", "chat_template.jinja", "extra.json", "source.spm", "tokenizer.json", "vocab.txt"]
    ours = [
        "config.json",
        "compress.json",
        "artifact.json",
        "model.safetensors",
        "model.safetensors.index.json",
        "a.py",
    ]
    for name in [*names, *ours]:
        (tmp_path / name).write_text("{}")
    assert [file.name for file in companions(tmp_path)] == names


def stray(model: Path) -> None:
    """Entries that no model needs: links that lead away or nowhere, a pipe, directories."""
    (model.parent / "secret").write_text("root:secret")
    (model / "NOTICE").symlink_to(model.parent / "secret")
    (model / "USE_POLICY.md").symlink_to("nowhere")
    (model / "LICENSE").mkdir()
    (model / "notes.txt").mkdir()
    os.mkfifo(model / "extra.json")
    os.mkfifo(model / "README.md")


def test_stray_entries_stay_behind_with_a_notice(model: Path) -> None:
    stray(model)
    progress = Silent()
    Model.open(model, progress=progress)
    secret = model.parent / "secret"
    assert progress.notices == [
        "left out: LICENSE (is a directory), "
        f"NOTICE (is a link out of the checkpoint, to {secret}), "
        "USE_POLICY.md (is a link that leads nowhere (nowhere)), "
        "extra.json (is no regular file), notes.txt (is a directory)"
    ]
    assert find_license(model).file is None


def test_nothing_of_them_is_in_a_variant(model: Path, tmp_path: Path) -> None:
    stray(model)
    result = run_cli(model, "-p", "fp16", "--target", "hf", "--no-score", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    variant = tmp_path / "out" / "fp16"
    assert not {"NOTICE", "USE_POLICY.md", "LICENSE", "notes.txt", "extra.json"} & {f.name for f in variant.iterdir()}
    assert all(b"root:secret" not in file.read_bytes() for file in variant.rglob("*") if file.is_file())


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "nowhere"])
def test_what_a_model_needs_is_refused_where_it_is_no_file_of_its_own(model: Path, name: str, kind: str) -> None:
    file, elsewhere = model / name, model.parent / name
    file.rename(elsewhere)
    match kind:
        case "link":
            file.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(file)
        case "directory":
            file.mkdir()
        case "nowhere":
            file.symlink_to("nothing")
    reason = {
        "link": f"is a link out of the checkpoint, to {elsewhere}",
        "pipe": "is no regular file",
        "directory": "is a directory",
        "nowhere": "is a link that leads nowhere (nothing)",
    }[kind]
    result = run_cli(model, "-p", "fp16", "--target", "hf", "--no-score", "-o", model.parent / "out")
    assert result.returncode == 3
    assert result.stderr.startswith(f"compress: {file} {reason}; put the file itself there")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "can't be read (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("[]", "is no generation config ("),
        ('{"eos_token_id": "end"}', "is no generation config (eos_token_id is 'end'); mend it, or remove it"),
        ('{"bos_token_id": {}}', "is no generation config (bos_token_id is {}); mend it, or remove it"),
        (r'{"note": "\udc00"}', "can't be read (half of a surrogate pair, which is no text)"),
        ("[" * 90_000, "can't be read (nested too deep)"),
    ],
)
def test_a_broken_generation_config_is_told_at_once(model: Path, text: str, reason: str) -> None:
    (model / "generation_config.json").write_text(text)
    with pytest.raises(ModelError, match=re.escape(f"{model / 'generation_config.json'} {reason}")):
        Model.open(model)


def test_a_generation_config_with_several_ends_is_fine(model: Path) -> None:
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [1, 2], "pad_token_id": None}))
    generation = Model.open(model).torch_module().generation_config
    assert (generation.eos_token_id, generation.pad_token_id) == ([1, 2], None)


def test_what_is_copied_is_bounded(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (model / "notes.txt").open("wb") as file:
        file.truncate(3 << 30)  # takes no space
    with pytest.raises(ModelError, match=r"has 3\.2 GB of files beside its weights, .* the largest is notes\.txt"):
        Model.open(model)
    monkeypatch.setattr(folder_module, "_LARGEST", 4 << 30)
    check_folder(model, Silent())


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model", "merges.txt", "chat_template.jinja"])
def test_what_is_read_into_memory_is_bounded(model: Path, name: str) -> None:
    with (model / name).open("wb") as file:
        file.truncate(300 << 20)  # takes no space
    with pytest.raises(
        ModelError, match=rf"/{name} is 315 MB large, and 268 MB are read of such a file; put the"
    ) as refused:
        Model.open(model)
    with pytest.raises(ModelError, match=re.escape(str(refused.value))):
        check_source(str(model))  # before torch is waited for


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"can't be read \(No such file or directory\)"):
        check_folder(tmp_path / "none", Silent())

"""Artifacts that would load code or read elsewhere are refused; those that `write_genai_config` writes are not."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper
from transformers import LlamaConfig

from compress.errors import ModelError
from compress.export.files.genai_config import write_genai_config
from compress.export.files.safety import check_artifact
from tests.support.graphs import empty_graph

CONFIG = {
    "model": {
        "type": "llama",
        "eos_token_id": [1, 2],
        "decoder": {
            "session_options": {"log_id": "x", "provider_options": [{"cuda": {"enable_cuda_graph": "1"}}]},
            "filename": "model.onnx",
            "inputs": {"input_ids": "input_ids"},
        },
    },
    "search": {"top_k": 50, "do_sample": False},
}


def changed(*path, value):
    """The config with one entry more."""
    config = json.loads(json.dumps(CONFIG))
    place = config
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return json.dumps(config)


def check(folder, text):
    (folder / "genai_config.json").write_text(text)
    check_artifact(folder)


@pytest.mark.parametrize("provider", ["cpu", "cuda"])
def test_what_an_export_writes_passes(tmp_path, provider):
    config = LlamaConfig(hidden_size=64, num_attention_heads=4, eos_token_id=[1, 2])
    inputs = empty_graph(input_ids=ir.DataType.INT64, attention_mask=ir.DataType.INT64)
    write_genai_config(ir.Model(inputs, ir_version=11), config, tmp_path, tmp_path, provider)
    check_artifact(tmp_path)
    check(tmp_path, json.dumps(CONFIG))


SESSION = ("model", "decoder", "session_options")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*SESSION, "custom_ops_library"), "evil.so"),
        ((*SESSION, "config_entries"), [{"key": "value"}]),
        ((*SESSION, "provider_options"), [{"QNN": {"backend_path": "evil.so"}}]),
        ((*SESSION, "provider_options"), [{"cuda": {"user_compute_stream": "1"}}]),
        (("model", "decoder", "pipeline"), [{"a": {"filename": "../x.onnx"}}]),
        (("model", "decoder", "run_options"), {}),
        (("model", "vision"), {"session_options": {"custom_ops_library": "evil.so"}}),
        (("ep_library",), "evil.so"),
        (("search", "top_k"), {"nested": 1}),
    ],
)
def test_settings_that_may_load_code_are_refused(tmp_path, path, value):
    with pytest.raises(
        ModelError, match=r"genai_config\.json sets .*, which `compress export` doesn't write and which"
    ):
        check(tmp_path, changed(*path, value=value))


def test_the_setting_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"sets model\.decoder\.session_options\.custom_ops_library, which"):
        check(tmp_path, changed(*SESSION, "custom_ops_library", value="x"))


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "a/b.onnx"])
def test_a_graph_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(ModelError, match="names the graph .*, which is outside its folder"):
        check(tmp_path, changed("model", "decoder", "filename", value=name))


@pytest.mark.parametrize("text", ["[]", "{", "5", "[" * 100_000, '{"model": {}, "model": {}}', "\ud800"])
def test_what_is_no_config_is_refused(tmp_path, text):
    with pytest.raises(ModelError, match=r"genai_config\.json"):
        (tmp_path / "genai_config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        check_artifact(tmp_path)


def graph(folder, location):
    """A graph with a constant in an external file."""
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    tensor.external_data.add(key="location", value=location)
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    inner = helper.make_graph([node], "inner", [], [helper.make_tensor_value_info("y", 1, [4])])
    branch = helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner)
    outer = helper.make_graph([branch], "g", [], [helper.make_tensor_value_info("z", 1, [4])])
    (folder / "model.onnx").write_bytes(helper.make_model(outer).SerializeToString())


def test_data_outside_the_folder_is_refused_however_it_is_reached(tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(4, dtype=np.float32).tobytes())
    (folder / "link").symlink_to(secret)
    (folder / "up").symlink_to(tmp_path)
    for location in ("../secret", str(secret), "link", "up/secret"):
        graph(folder, location)
        with pytest.raises(ModelError, match=f"model.onnx reads '{location}', which is outside its folder"):
            check_artifact(folder)
    graph(folder, "model.onnx.data")
    check_artifact(folder)


def test_files_that_are_none_of_its_own_are_refused(tmp_path):
    """A runtime would wait for a pipe for ever, and may show what a link leads to."""
    folder, secret = tmp_path / "artifact", tmp_path / "secret"
    (folder / "inner").mkdir(parents=True)
    secret.write_text("{}")
    check_artifact(folder)
    for name in ("genai_config.json", "model.onnx", "tokenizer.json", "vocab.txt"):
        os.mkfifo(folder / name)
        with pytest.raises(ModelError, match=f"{name} is no regular file"):
            check_artifact(folder)
        (folder / name).unlink()
        (folder / name).symlink_to(secret)
        with pytest.raises(ModelError, match=f"{name} is a link out of the checkpoint, to {secret}"):
            check_artifact(folder)
        (folder / name).unlink()
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate(300 << 20)  # takes no space
    with pytest.raises(ModelError, match=r"tokenizer\.json is larger than 256 MiB; this artifact isn't safe to run"):
        check_artifact(folder)
    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "inner" / "data")
    graph(folder, "inner/data")
    with pytest.raises(ModelError, match="inner/data is no regular file"):
        check_artifact(folder)


def test_an_artifact_in_the_hubs_cache_is_read(tmp_path):
    """There every file is a link to a blob."""
    blobs, folder = tmp_path / "blobs", tmp_path / "snapshots" / "abc" / "onnx"
    blobs.mkdir()
    folder.mkdir(parents=True)
    graph(blobs, "model.onnx.data")
    (blobs / "data").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    for name, blob in {"model.onnx": "model.onnx", "model.onnx.data": "data"}.items():
        (folder / name).symlink_to(Path("../../../blobs") / blob)
    check_artifact(folder)


def test_a_graph_in_another_format_is_refused(tmp_path):
    """onnxruntime reads more than ONNX, and what else it reads nobody has checked."""
    with pytest.raises(ModelError, match=r"names the graph 'model\.ort', which is no \.onnx file"):
        check(tmp_path, changed("model", "decoder", "filename", value="model.ort"))


def test_what_is_no_graph_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\xff" * 9)
    with pytest.raises(ModelError, match="model.onnx is no graph that can be read"):
        check_artifact(tmp_path)

"""Every reader of files and texts that users have, and broken inputs for each of them."""

from __future__ import annotations

import copy
import io
import json
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import strategies as st

from compress.benchmarks.data.label_file import read_labeled_lines
from compress.benchmarks.data.task_file import check_task_file
from compress.benchmarks.gate.requirement import parse_requirements, parse_tolerances
from compress.benchmarks.results.report_file import read_cards, report_text
from compress.calibration import images
from compress.checkpoint.files.artifact import Artifact
from compress.checkpoint.files.manifest import Manifest
from compress.checkpoint.files.shards import check_headers, find_shards
from compress.checkpoint.files.summary import layers_of, notices
from compress.checkpoint.model import Model
from compress.checkpoint.variant import Variant
from compress.corpus.source import open_source
from compress.errors import CompressError
from compress.export.files.safety import check_artifact
from compress.export.targets.base import find_target
from compress.pipeline.parse import Pipeline
from compress.pipeline.predict import ConfigOnlyModel, predict
from compress.profiles.loader import load_profile, profiles
from compress.progress import Silent
from compress.system.file_set import finish_files
from compress.system.ownership import foreign_entry
from tests.support.cards import build_card
from tests.support.models import SIZES, save_model
from tests.support.passes import make_variant
from tests.support.tasks import task_yaml
from tests.support.tensors import token_ids

SECONDS = 10
"""that reading one input may take"""


class HangError(BaseException):
    """An input that is read for longer; no `Exception`, which a reader may catch."""


@dataclass(frozen=True)
class Reader:
    """One reader: ``read`` gets the ``folder`` with ``files``, of which one in ``broken`` has been changed.

    A reader of text alone has one file, ``text``, whose words are put together anew.
    """

    name: str
    files: Mapping[str, bytes]
    broken: Sequence[str]
    read: Callable[[Path], object]
    folder: Path = Path()


@dataclass(frozen=True)
class Input:
    """A broken input: the reader, the file that was changed, and its content."""

    reader: str
    file: str
    content: bytes


def readers(scratch: Path) -> dict[str, Reader]:
    """All readers by name, with small inputs made in a folder that they are free to use."""
    checkpoint = save_model(scratch / "llama", "LlamaForCausalLM", num_key_value_heads=2, **SIZES)
    encoder = save_model(scratch / "bert", "BertModel", **SIZES)
    hf = find_target("hf").capability
    variant = make_variant(checkpoint, "int8", hf, scratch / "variant", token_ids(2, 16)).path
    model, small = _read(checkpoint), _read(encoder)
    sentence = {"modules.json": json.dumps(MODULES).encode(), "1_Pooling/config.json": json.dumps(POOLING).encode()}
    adapter = {"adapter_config.json": json.dumps(ADAPTER).encode()}
    genai = {"genai_config.json": json.dumps(GENAI).encode(), "model.onnx": _graph()}
    artifact = {"artifact.json": json.dumps(ARTIFACT).encode(), **genai}
    report = {"report.json": report_text([build_card(torch={"decode_tps": 9}, int8={"decode_tps": 12})]).encode()}
    profile = {"profile.toml": next(iter(profiles().values())).read_bytes()}
    journal = {".files.00000001.journal": b'["a"]', ".a.00000001.partial": b"x"}
    named = [{"text": "the fox", "label": "a"}, {"text": "the dog", "label": "b"}]
    rows = [{"text": "the fox", "label": "a"}, {"messages": [{"role": "user", "content": "the dog"}]}]
    lines, labeled = ("\n".join(map(json.dumps, objects)).encode() for objects in (rows, named))
    table = b"text\tlabel\nthe fox\ta\nthe dog\tb\n"
    task = task_yaml("t", "multiple_choice", "t.jsonl", doc_to_choice=["a"], doc_to_target="answer").encode()
    everyone = (
        Reader("header", model, ["model.safetensors"], lambda f: (check_headers(f), find_shards(f, False, Silent()))),
        Reader("index", _sharded(model), ["model.safetensors.index.json"], lambda f: find_shards(f, False, Silent())),
        Reader("pickle", {"pytorch_model.bin": _pickle()}, ["pytorch_model.bin"], _open_pickle),
        Reader("config", model, ["config.json"], Model.open),
        Reader("encoder", small | sentence, ["config.json", "modules.json", "1_Pooling/config.json"], Model.open),
        Reader("predict", {"config.json": model["config.json"]}, ["config.json"], _predict),
        Reader("adapter", model | adapter, ["adapter_config.json"], Model.open),
        Reader("tokenizer", model, ["tokenizer.json", "tokenizer_config.json"], _tokenize),
        Reader("generation", model, ["generation_config.json"], Model.open),
        Reader("manifest", _read(variant), ["compress.json"], _open_variant),
        Reader("ownership", _read(variant), ["compress.json"], foreign_entry),
        Reader("artifact", artifact, ["artifact.json"], Artifact.open),
        Reader("graph", artifact, ["genai_config.json", "model.onnx"], check_artifact),
        Reader("report", report, ["report.json"], read_cards),
        Reader("profile", profile, ["profile.toml"], lambda f: load_profile(str(f / "profile.toml"))),
        Reader("journal", journal, list(journal), finish_files),
        Reader("labels", {"l.tsv": table, "l.jsonl": labeled}, ["l.tsv", "l.jsonl"], _labels),
        Reader("texts", {"t.txt": table, "t.jsonl": lines, "t.json": json.dumps(rows).encode(), "t.csv": table,
                         "t.parquet": _parquet()}, ["t.txt", "t.jsonl", "t.json", "t.csv", "t.parquet"], _texts),
        Reader("images", {"i.npy": _array()}, ["i.npy"], _images),
        Reader("task", {"t.yaml": task}, ["t.yaml"], lambda f: check_task_file(f / "t.yaml")),
        Reader("pipeline", {"text": b"prune:ratio=0.2,lowrank:rank=0.5,int4:group=32:asym:skip=*.q,fuse"},
               ["text"], lambda f: Pipeline.parse(_text(f))),
        Reader("requirement", {"text": b"retention>=0.98, decode_speedup>=1.5x, bytes<=0.3x, peak_rss<2GB, a.acc>0.1"},
               ["text"], lambda f: parse_requirements([_text(f)])),
        Reader("tolerance", {"text": b"perplexity=1%, decode_speedup=5%, retention=1%"}, ["text"],
               lambda f: parse_tolerances([_text(f)])),
    )  # fmt: skip
    return {reader.name: replace(reader, folder=scratch / "inputs" / reader.name) for reader in everyone}


MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]
POOLING = {"word_embedding_dimension": 64, "pooling_mode_mean_tokens": True}
ADAPTER = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "base_model_name_or_path": "x", "lora_alpha": 8}
GENAI = {
    "model": {"type": "llama", "vocab_size": 9, "decoder": {"filename": "model.onnx", "session_options": {}}},
    "search": {"top_k": 50},
}
ARTIFACT = {
    "target": "ort-cpu", "kind": "decoder", "parameters": 9, "stored_bytes": 9, "read_bytes": 9, "zeros": False,
    "products": False,
}  # fmt: skip


def try_input(reader: Reader, entry: Input) -> CompressError | click.ClickException | None:
    """Read a broken input; the error for the user, None where it is read all the same.

    Whatever else is raised comes out, and `HangError` after 10 seconds.
    """
    folder = reader.folder
    for file, content in {**reader.files, entry.file: entry.content}.items():
        if not (folder / file).is_file() or file == entry.file or file in reader.broken:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(content)
    quiet = io.StringIO()
    with redirect_stdout(quiet), redirect_stderr(quiet), _time_limit():
        try:
            reader.read(folder)
        except (CompressError, click.ClickException) as error:
            return error
    return None


def inputs(reader: Reader) -> st.SearchStrategy[Input]:
    """Broken inputs of a reader: values of another kind, missing and repeated parts, torn and overwritten bytes."""
    return st.sampled_from(reader.broken).flatmap(
        lambda file: _contents(file, reader.files[file]).map(lambda content: Input(reader.name, file, content))
    )


def peak_gigabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


_NESTED = "[" * 50_000
_SCALARS: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 7, 100, 2**31, 2**63, 10**30, -(2**63), 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "\ud800", "\x00", "../..", "/etc/passwd", "llama", "sdpa", "gelu", [], {}, [[]], {"": None},
    ["x"] * 3, [0], {"x": {"y": 1}}, "9" * 5000,
]  # fmt: skip


def _values() -> st.SearchStrategy[Any]:
    return st.sampled_from(_SCALARS) | st.integers() | st.floats() | st.text(max_size=9)


def _contents(file: str, content: bytes) -> st.SearchStrategy[bytes]:
    ways = [_torn(content), st.binary(max_size=64), st.sampled_from([b"", b"\xff\xfe", b"\xef\xbb\xbf" + content[:99]])]
    if file.endswith(".safetensors"):
        ways += [_edited(_header(content)).map(lambda text: _with_header(text, content))] * 4
    elif _is_json(content):
        ways += [_edited(json.loads(content)).map(lambda text: text.encode("utf-8", "surrogatepass"))] * 8
        ways.append(st.sampled_from([_NESTED.encode(), b'{"a":' * 50_000, b"[]", b"{}", b"null", b"1" * 5000]))
    else:
        ways.append(st.sampled_from([content + b"\na = " + _NESTED.encode(), _NESTED.encode(), b"{" * 50_000]))
        ways += [_reworded(content.decode("latin-1")).map(lambda text: text.encode("utf-8", "surrogatepass"))] * 8
    return st.one_of(ways)


@st.composite
def _torn(draw: st.DrawFn, content: bytes) -> bytes:
    """Bytes that were cut, overwritten, repeated or moved."""
    at, length = draw(st.integers(0, len(content))), draw(st.integers(0, 64))
    way = draw(st.sampled_from(["cut", "overwrite", "repeat", "drop", "insert"]))
    noise = draw(st.binary(min_size=1, max_size=max(length, 1)))
    return {
        "cut": content[:at],
        "overwrite": content[:at] + noise + content[at + len(noise) :],
        "repeat": content[:at] + content[max(at - length, 0) :],
        "drop": content[:at] + content[at + length :],
        "insert": content[:at] + noise + content[at:],
    }[way]


@st.composite
def _edited(draw: st.DrawFn, value: Any) -> str:
    """JSON with one to three entries replaced, removed, renamed or added."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, 3))):
        places = list(_places(value))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        way = draw(st.sampled_from(["replace", "replace", "replace", "remove", "rename", "add"]))
        if way == "replace":
            holder[key] = draw(_values())
        elif way == "remove":
            del holder[key]
        elif isinstance(holder, dict):
            name = draw(st.text(max_size=9) | st.sampled_from(_KEYS))
            holder[name] = draw(_values()) if way == "add" else holder.pop(key)
        else:
            holder.insert(key, draw(_values()))
    return json.dumps(value, ensure_ascii=draw(st.booleans()))


_KEYS = [
    "model_type", "num_labels", "rope_scaling", "rope_parameters", "layer_types", "id2label", "quantization_config",
    "auto_map", "text_config", "head_dim", "sliding_window", "dtype", "tie_word_embeddings", "vocab_size",
]  # fmt: skip


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        yield value, key
        yield from _places(part)


@st.composite
def _reworded(draw: st.DrawFn, text: str) -> str:
    """Words and signs of a text put together anew, some of them replaced."""
    parts = [part for part in text.replace(",", " , ").replace(":", " : ").replace("=", " = ").split(" ") if part]
    spare = st.sampled_from([*parts, *_SIGNS]) | st.text(max_size=6) | st.integers().map(str) | st.floats().map(str)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(parts)))
        way = draw(st.sampled_from(["replace", "insert", "remove"]))
        parts[at : at + (way != "insert")] = [] if way == "remove" else [draw(spare)]
    joined = "".join(parts) if draw(st.booleans()) else " ".join(parts)
    return joined * draw(st.sampled_from([1, 1, 1, 1, 50]))


_SIGNS = [
    ",", ":", "=", ">=", "<", "\n", "\t", '"', "'", "[", "]", "{", "}", "#", "*", "&a", "*a", "!!python/x", "\x00", "%",
    "é", "\ud800",
]  # fmt: skip


@contextmanager
def _time_limit() -> Iterator[None]:
    def late(signum: int, frame: object) -> None:
        raise HangError(f"not read within {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _read(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def _text(folder: Path) -> str:
    return (folder / "text").read_bytes().decode("utf-8", "surrogateescape")


def _is_json(content: bytes) -> bool:
    try:
        return isinstance(json.loads(content), dict | list)
    except ValueError:
        return False


def _header(content: bytes) -> Any:
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def _with_header(text: str, content: bytes) -> bytes:
    header = text.encode("utf-8", "surrogatepass")
    return len(header).to_bytes(8, "little") + header + content[8 + int.from_bytes(content[:8], "little") :]


def _sharded(model: Mapping[str, bytes]) -> dict[str, bytes]:
    files = dict(model)
    files["model-00001-of-00001.safetensors"] = content = files.pop("model.safetensors")
    where = dict.fromkeys(
        [name for name in _header(content) if name != "__metadata__"], "model-00001-of-00001.safetensors"
    )
    return files | {"model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": where}).encode()}


def _pickle() -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.zeros(2, 2)}, file)
    return file.getvalue()


def _graph() -> bytes:
    import onnx
    from onnx import helper

    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    tensor.external_data.add(key="location", value="model.onnx.data")
    graph = helper.make_graph([helper.make_node("Neg", ["w"], ["y"])], "g", [], [], [tensor])
    return bytes(helper.make_model(graph).SerializeToString())


def _parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": ["the fox", "the dog"]}), file)
    return file.getvalue()


def _array() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((2, 3, 4, 4), np.float32))
    return file.getvalue()


def _open_pickle(folder: Path) -> None:
    find_shards(folder, True, Silent())


def _predict(folder: Path) -> None:
    predict(ConfigOnlyModel.read(folder), Pipeline.parse("int8"), find_target("ort-cpu").capability)


def _tokenize(folder: Path) -> None:
    Model.open(folder).tokenizer()("the quick brown fox")


def _open_variant(folder: Path) -> None:
    layers_of(recorded := Manifest.read(folder))
    notices(recorded)
    variant = Variant.open(folder, verify=False)
    variant.weight(next(iter(variant.manifest.weights), "model.norm.weight"))


def _labels(folder: Path) -> None:
    for name in ("l.tsv", "l.jsonl"):
        read_labeled_lines(folder / name, ("text", "label"))


def _texts(folder: Path) -> None:
    for file in sorted(folder.iterdir()):
        for _ in open_source(file).read():
            pass


def _images(folder: Path) -> None:
    images._array(folder / "i.npy", (3, 4, 4))

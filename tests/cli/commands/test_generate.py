"""``compress generate``: what a variant's own runtime writes."""

from __future__ import annotations

import io
import json
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from compress.cli.commands import generate
from compress.cli.console import Console
from tests.support.models import copy_checkpoint, frame_texts


def readable(text: str) -> str:
    """Without what halves of characters become."""
    return "".join(char for char in text if " " <= char <= "~")


@pytest.mark.slow
@pytest.mark.parametrize("prompt", ["the quick", "<s>the quick"])
def test_a_prompt_begins_as_the_tokenizer_begins_a_text(llama, tmp_path, inside, prompt):
    """What is written is what transformers writes after the same tokens, and not what follows without the first."""
    path = frame_texts(copy_checkpoint(llama, tmp_path / "model"), "<s> $A </s>")
    assert inside("run", path, "-p", "fuse", "-o", tmp_path / "out", "--no-score").returncode == 0
    done = inside("generate", tmp_path / "out" / "fuse", prompt, "-n", "8")
    assert done.returncode == 0, done.stderr
    words, module = AutoTokenizer.from_pretrained(path), AutoModelForCausalLM.from_pretrained(path)
    ids = words(prompt, add_special_tokens=False)["input_ids"]
    expected, other = (
        words.decode(module.generate(torch.tensor([start]), max_new_tokens=8, do_sample=False)[0, len(start) :])
        for start in ([0, *ids[-2:]], ids[-2:])
    )
    assert readable(expected) != readable(other)
    assert readable(done.stdout) == readable(f"{prompt}{expected}")


def test_a_variant_writes(variants, inside):
    out = variants
    done = inside("generate", out / "int8-fuse", "the quick", "-n", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the quick")  # what a random model adds may be unprintable
    again = inside(
        "generate", out / "int8-fuse", "the quick", "-n", "5", "--temperature", "1", "--seed", "3", "--threads", "1"
    )
    assert again.returncode == 0, again.stderr
    beams = ("generate", out / "int8-fuse", "the quick", "-n", "5", "--beams", "3")
    searched = inside(*beams)
    assert (searched.returncode, searched.stdout.startswith("the quick")) == (0, True)
    many = inside("generate", out / "int8-fuse", "the quick", "--beams", "9999")
    assert many.returncode == 2
    assert many.stderr.endswith("/int8-fuse, 322 tokens\n")
    assert "remove one of them" in inside(*beams, "--temperature", "1").stderr


def test_a_library_that_a_variant_names_is_not_loaded(variants, inside, tmp_path):
    variant = shutil.copytree(variants / "int8-fuse", tmp_path / "variant")
    file = variant / "onnx" / "genai_config.json"
    config = json.loads(file.read_text())
    config["model"]["decoder"]["session_options"]["custom_ops_library"] = "evil.so"
    file.write_text(json.dumps(config))
    for command in (("generate", variant, "the"), ("score", variant, "--unverified")):
        done = inside(*command)
        assert done.returncode == 3
        assert "sets model.decoder.session_options.custom_ops_library, which" in done.stderr.splitlines()[-1]


def test_a_chat_is_answered_by_the_template(variants, inside, tmp_path):
    variant = shutil.copytree(variants / "int8-fuse", tmp_path / "variant")
    without = inside("generate", variant, "box daily", "--chat")
    assert without.returncode == 3
    assert without.stderr.splitlines()[-1].endswith("/variant/onnx has no chat template; leave out --chat")
    template = "{% for message in messages %}the quick {{ message.content }}{% endfor %}"
    (variant / "onnx" / "chat_template.jinja").write_text(template + "{% if add_generation_prompt %} with{% endif %}")
    answer = inside("generate", variant, "box daily", "--chat", "-n", "5")
    continued = inside("generate", variant, "the quick box daily with", "-n", "5")
    assert answer.returncode == 0, answer.stderr
    assert continued.stdout == "the quick box daily with" + answer.stdout


def test_each_line_of_standard_input_is_a_turn_of_a_chat(variants, inside, tmp_path, monkeypatch):
    variant = shutil.copytree(variants / "int8-fuse", tmp_path / "variant")
    template = "{% for message in messages %}[{{ message.role }} {{ message.content }}]{% endfor %}"
    (variant / "onnx" / "chat_template.jinja").write_text(template)
    chat = ("generate", variant, "--chat", "-n", "4")
    first = inside(*chat, "box daily").stdout.removesuffix("\n")
    text = f"[user box daily][assistant {first}][user over a]"
    second = inside("generate", variant, text, "-n", "4").stdout.removeprefix(text)
    monkeypatch.setattr("sys.stdin", io.StringIO("box daily\n\n  over a\n"))
    both = inside(*chat)
    assert (both.returncode, both.stdout) == (0, f"{first}\n{second}")
    monkeypatch.setattr("sys.stdin", io.StringIO("box daily\n"))
    assert inside(*chat, "-").stdout == f"{first}\n"


def test_each_token_is_written_before_the_next_one_is_made(variants, inside, monkeypatch):
    events = []
    tokens, write = generate._tokens, Console.write

    def logged(generator):
        for token in tokens(generator):
            events.append("token")
            yield token

    monkeypatch.setattr(generate, "_tokens", logged)
    monkeypatch.setattr(Console, "write", lambda console, text: events.append("text") or write(console, text))
    assert inside("generate", variants / "int8-fuse", "the quick", "-n", "3").returncode == 0
    assert events == ["text", *["token", "text"] * 3, "text"]  # the prompt first, the end of the line at last


def test_a_prompt_comes_from_standard_input(variants, inside, monkeypatch):
    expected = inside("generate", variants / "int8-fuse", "the quick", "-n", "3").stdout
    for prompt in ([], ["-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("the quick\n"))
        done = inside("generate", variants / "int8-fuse", *prompt, "-n", "3")
        assert (done.returncode, done.stdout) == (0, expected)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([""], "compress: the prompt is empty\n"),
        (["-"], "compress: the prompt is empty\n"),
        ([], "compress: there is no PROMPT; give one, or text on standard input\n"),
        (["the", "-n", "0"], "compress: Invalid value for '-n' / '--tokens': 0 is not in the range x>=1.\n"),
    ],
)
def test_a_prompt_that_is_none(variants, inside, monkeypatch, args, message):
    stream = io.StringIO("")
    stream.isatty = lambda: not args
    monkeypatch.setattr("sys.stdin", stream)
    done = inside("generate", variants / "int8-fuse", *args)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)

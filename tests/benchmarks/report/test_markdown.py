"""Pages for people."""

from compress.benchmarks.report.markdown import markdown, variant_section
from tests.support.cards import BASE, INT8, ONNX, QUANTIZED, TORCH


def test_markdown(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, int8=QUANTIZED | {"perplexity_ratio": 1.2}))
    assert "| decode, tokens/s | 10.0 ± 0.1 | 20.0 ± 0.2<br>2.00× | 50.0 ± 0.5<br>5.00× · 2.50× |" in text
    assert text.startswith("# tiny\n\n```\ncompress tiny\n```\n\n| × torch · × onnx | torch | onnx | int8 |\n")
    assert "\n## What didn't help\n\n- int8 LOSES ACCURACY: perplexity is 1.200× the original's\n\n## Recipes\n" in text
    assert "\n| int8 | `int8` | `int8` |\n" in text
    assert "\n## Machine\n\n- processor: a processor\n- load average" in text


def test_many_variants_make_several_tables(card):
    text = markdown(card(torch=TORCH, onnx=ONNX, **{f"v{i}": QUANTIZED for i in range(9)}))
    heads = [line for line in text.splitlines() if line.startswith("| × torch")]
    columns = [[name.strip() for name in head.split("|")[2:-1]] for head in heads]
    assert columns == [
        ["torch", "onnx", *names] for names in (["v0", "v1", "v2", "v3"], ["v4", "v5", "v6", "v7"], ["v8"])
    ]


def test_a_card_tells_what_concerns_every_variant_of_the_run(card):
    noisy = BASE | {"decode_tps": [10.0, 20.0, 30.0]}
    run = card(others=1.2, torch=noisy, onnx=BASE, int8=INT8, int4=INT8 | {"disk_bytes": 200e6})
    run = run.model_copy(update={"doubts": ("the text is another language's",)})
    section = variant_section(run, "int8")
    assert "- BUSY machine: other programs kept 1.2 cores busy" in section
    assert "- NOISY run: torch: decoding varies by ±25% between launches" in section
    assert "- DOUBTFUL accuracy: the text is another language's; give other data with --eval" in section
    assert "int4" not in section


def test_a_card_has_a_column_for_each_runtime(card):
    made = card(torch=BASE, onnx=BASE, **{"int8/ort-cpu": BASE, "int8/gguf": INT8, "int4/gguf": INT8})
    rows = [row.model_copy(update={"engine": "llama.cpp"}) if "gguf" in row.name else row for row in made.rows]
    section = variant_section(made.model_copy(update={"rows": tuple(rows)}), "int8")
    assert section.splitlines()[0] == "| × torch · × onnx | torch | onnx | int8/ort-cpu | int8/gguf |"
    assert "- int8, the same integers: decodes fastest in llama.cpp here, 2.00× as fast as in ort-cpu\n" in section
    assert "int4" not in section


def test_what_was_made_for_the_run_alone_has_no_directory(card):
    run = card(torch=BASE, onnx=BASE, int8=INT8)
    rows = tuple(row.model_copy(update={"path": "" if row.role == "float" else row.path}) for row in run.rows)
    assert "| onnx | `onnx` |  |" in markdown(run.model_copy(update={"rows": rows}))

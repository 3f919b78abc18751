"""What a variant gained and lost, in a sentence."""

import pytest

from compress.benchmarks.results.sentences import sentences

TORCH = {"decode_tps": [10.0, 10.0], "disk_bytes": 100e6, "perplexity_ratio": 1.0, "retention": 1.0}
ONNX = TORCH | {"decode_tps": [27.0, 27.0]}


@pytest.mark.parametrize(
    ("figures", "sentence"),
    [
        (
            {"decode_tps": [83.0, 83.0], "disk_bytes": 27e6, "perplexity_ratio": 1.004, "retention": 0.996},
            "int8: 3.7× smaller, decodes 3.1× as fast as onnx and 8.3× as torch, perplexity +0.4 %",
        ),
        (
            {"decode_tps": [9.0, 9.0], "disk_bytes": 150e6, "perplexity_ratio": 0.9, "retention": 0.291},
            "int8: 1.5× larger, decodes 0.33× as fast as onnx and 0.9× as torch, perplexity −10.0 %, "
            "retention 0.291 by KL",
        ),
        (
            {"decode_tps": [10.2, 10.2], "disk_bytes": 100.1e6, "perplexity_ratio": 1.0, "retention": 1.0},
            "int8: as large, decodes 0.38× as fast as onnx and 1.02× as torch, perplexity +0.0 %",
        ),
        ({"perplexity_ratio": 0.99996}, "int8: perplexity +0.0 %"),
        ({"disk_bytes": 0.5e6}, "int8: 200× smaller"),
        ({"retention": 0.5}, "int8: retention 0.5000"),
    ],
)
def test_a_decoder(card, figures, sentence):
    assert sentences(card(torch=TORCH, onnx=ONNX, int8=figures)) == [sentence]


def test_several_runtimes(card):
    """Each artifact, what can't be run here, and which runtime is the fastest."""
    small = TORCH | {"disk_bytes": 25e6}
    rates = {"int4/ort-cpu": [20.0] * 5, "int4/gguf": [30.0] * 5, "int4/ort-cuda": None}
    figures = {name: small | ({} if rate is None else {"decode_tps": rate}) for name, rate in rates.items()}
    scored = card(torch=TORCH, onnx=ONNX, **figures)
    engines = {"int4/gguf": {"engine": "llama.cpp"}, "int4/ort-cuda": {"engine": "ort-cuda", "unavailable": "no GPU"}}
    rows = [row.model_copy(update=engines.get(row.name, {})) for row in scored.rows]
    assert sentences(scored.model_copy(update={"rows": tuple(rows)}))[1:] == [
        "int4/gguf: 4× smaller, decodes 1.1× as fast as onnx and 3× as torch, perplexity +0.0 %",
        "int4/ort-cuda: 4× smaller, not measured, as it can't be run here: no GPU",
        "int4, the same integers: decodes fastest in llama.cpp here, 1.50× as fast as in ort-cpu",
    ]


def test_other_kinds(card):
    base = {"latency_p50": [0.02, 0.02], "disk_bytes": 90e6}
    fast = {"latency_p50": [0.01, 0.01], "disk_bytes": 30e6}
    encoder = card("encoder", torch=base, onnx=base, int8=fast | {"cosine": 0.99812, "retention": 0.99})
    assert sentences(encoder) == ["int8: 3× smaller, embeds 2× as fast as onnx and 2× as torch, cosine 0.9981"]
    classes = {"top1": 0.984, "accuracy_ratio": 0.99}
    classifier = card("classifier", torch=base, onnx=base, int8=fast | classes)
    assert sentences(classifier) == [
        "int8: 3× smaller, classifies 2× as fast as onnx and 2× as torch, accuracy −1.0 %, "
        "the original's class in 98.4 %"
    ]


def test_without_a_float_export(card):
    scored = card(torch=TORCH, onnx=ONNX, int8=TORCH | {"decode_tps": [20.0, 20.0]})
    scored = scored.model_copy(update={"rows": (scored.rows[0], scored.rows[2])})
    assert sentences(scored) == ["int8: as large, decodes 2× as fast as torch, perplexity +0.0 %"]

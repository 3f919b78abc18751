"""What a family can't do on a target is said in one line, before the work, and nothing is left behind."""

import pytest

HEADS = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
REFUSED = {
    "GPT2LMHeadModel": (
        "int8",
        "hf",
        "int8: the linears of a gpt2 are transformers' own Conv1D, of which compressed-tensors loads no integers; "
        "--target ort-cpu holds them",
    ),
    "BloomForCausalLM": (
        "prune",
        "ort-cpu",
        "prune: the config of a BloomForCausalLM can't say a narrower MLP; use what=blocks",
    ),
    "MptForCausalLM": (
        "int8,fuse",
        "ort-cpu",
        "ort-cpu: no graph of mpt models with attn_config.clip_qkv=0.5 is known; --target hf needs none",
    ),
}
OPTIONS = {"MptForCausalLM": {"attn_config": {"clip_qkv": 0.5}}}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_family_cannot_do_is_refused_before_the_work(random_model, inside, tmp_path, name):
    pipeline, target, said = REFUSED[name]
    out = tmp_path / "out"
    path = random_model(name, **HEADS, **OPTIONS.get(name, {}))
    done = inside("run", path, "-p", pipeline, "--target", target, "--no-score", "-o", out)
    assert done.returncode == 2
    assert done.stderr.replace("\n", " ").strip().endswith(said)
    assert not out.exists()

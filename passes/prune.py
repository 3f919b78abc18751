"""Pass ``prune``: channels, heads or whole layers are dropped, which leaves a smaller checkpoint of the same kind."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass

from compress.calibration.statistics import Statistic
from compress.errors import PassError, UsageError
from compress.lazy import torch
from compress.modeling.quiet import first_line
from compress.passes.solvers.channels import HEADS, MLP, drop_channels, find_channels
from compress.pipeline.contract import WeightPass
from compress.weights.forms import Dense

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from compress.calibration.block import Block
    from compress.calibration.layer_inputs import BlockInputs, LayerInputs
    from compress.calibration.statistics import InputStatistics
    from compress.calibration.survey import Survey
    from compress.checkpoint.base import ModelOutline
    from compress.passes.solvers.channels import PruneSolver
    from compress.pipeline.contract import TargetCapability
    from compress.weights.forms import Weight

_CHANNELS = {"mlp": MLP, "heads": HEADS}
_NAMES = {"mlp": "MLP channels", "heads": "key-value heads", "blocks": "layers"}
_PER_LAYER = ("layer_types", "no_rope_layers", "mlp_layer_types", "layers_block_type")
"""Settings of a config that have one entry a layer."""
_BY_NUMBER = ("mlp_only_layers", "first_k_dense_replace", "attention_types", "attn_layer_indices")
"""Settings that tell layers by their numbers, or count them, which dropping one would shift."""
_WIDTHS = ("hidden_dim", "ffn_dim", "ffn_hidden_size", "n_inner", "intermediate_size", "d_ff")
_SEQ2SEQ_WIDTHS = ("encoder_ffn_dim", "decoder_ffn_dim")
_COARSE, _FINE, _WIDE = 64, 8, 1024
"""MLPs as wide as the last keep a multiple of the first, narrower ones of the second: kernels work in such tiles."""


@dataclass(frozen=True)
class Prune(WeightPass):
    """Drop MLP channels, heads or whole layers, and leave a standard checkpoint that is smaller everywhere."""

    name: ClassVar[str] = "prune"
    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    produces: ClassVar[tuple[type, ...]] = (Dense,)

    ratio: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="share that goes, the same in every layer; MLPs keep a multiple of 64 channels, narrow ones of 8",
    )
    what: Literal["mlp", "heads", "blocks"] = Field(
        "mlp",
        description="mlp: channels between up and down; heads: key-value heads, each with its query heads; blocks: the "
        "layers that turn their inputs the least",
    )
    compensate: Literal["on", "off"] = Field(
        "on",
        description="mlp, heads: what is kept stands in for what goes, fitted to the layer's outputs; off drops "
        "what adds the least",
    )
    layers: str = Field("", description="blocks: which layers go, by their numbers from 0, joined by +, like 20+21")
    head: int = Field(1, exclude=True)
    """Channels a head, once the model is known."""

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """Refuse a model that can't do with fewer of these, and a ratio that drops none or all of them."""
        config = model.config
        if model.kind.is_seq2seq and self.what == "blocks":
            raise UsageError("prune: an encoder-decoder's layers can't be dropped; use what=mlp")
        numbered = next((name for name in _BY_NUMBER if getattr(config, name, None)), None)
        if self.what == "blocks" and numbered:
            raise UsageError(
                f"prune: {numbered} in the config goes by the layers' numbers, which would shift; use what=mlp"
            )
        self._check_layout(model)
        if self.layers:
            self._check_layers(config.num_hidden_layers)
        else:
            self._check_ratio(self._units(config))
        if self.what == "heads":
            self._check_heads(config)
        return replace(self, head=_head_size(config))

    def required_statistic(self) -> Statistic:
        """Statistics: the Gram of the pruned channels; for whole layers text alone."""
        return Statistic.AMAX if self.what == "blocks" else Statistic.GRAM

    def plan(self, survey: Survey) -> Self:
        """Choose the layers to drop: those whose outputs point most nearly where their inputs do.

        ShortGPT, Men et al., arXiv 2403.03853: the mean cosine of the hidden states before and after, token by token.
        """
        if self.what != "blocks" or self.layers:
            return self
        from compress.calibration.layer_inputs import LayerInputs

        cosines = {_number(block): _cosine(inputs) for block, inputs in survey() if isinstance(inputs, LayerInputs)}
        count = len(cosines) - self._remaining(len(cosines))
        likest = sorted(cosines, key=cosines.__getitem__, reverse=True)[:count]
        return replace(self, layers="+".join(map(str, sorted(likest))))

    def resize(self, config: PretrainedConfig) -> None:
        """Write the width, the number and size of heads, or the number of layers into the config."""
        units = self._units(config)
        remaining = units - len(self._dropped) if self._dropped else self._remaining(units)
        if self.what == "mlp":
            for name in _widths(config):
                setattr(config, name, self._remaining(_channels(config, name)))
        elif self.what == "heads":
            size, repeat = _head_size(config), config.num_attention_heads // units
            config.head_dim, config.num_key_value_heads = size, remaining
            config.num_attention_heads = remaining * repeat
        else:
            gone = self._dropped or range(remaining, units)  # before they are chosen, only their count is known
            for name in _PER_LAYER:
                settings = getattr(config, name, None) or ()
                if len(settings) == units:
                    setattr(config, name, [setting for i, setting in enumerate(settings) if i not in gone])
            config.num_hidden_layers = remaining

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Drop a layer, or channels of it."""
        if block.role != "layer":
            return
        if self.what == "blocks":
            block.dropped = _number(block) in self._dropped
            return
        channels = find_channels(_CHANNELS[self.what], block.name, block.weights)
        if channels is None:
            raise PassError(f"prune finds no {_NAMES[self.what]} in {block.name}; use what=blocks")
        for name in (*channels.makers, channels.reader):
            if type(block.weights[name]) is not Dense:
                raise PassError(
                    f"prune drops channels of dense weights; {name} isn't one, put prune before what made it"
                )
        stats = inputs.statistics(self.required_statistic(), [channels.reader])[channels.reader]
        rows = min(block.weights[name].shape[0] // channels.times for name in channels.makers)
        units = rows // self.head if self.what == "heads" else rows
        solver: PruneSolver = "nystrom" if self.compensate == "on" else "dropped"
        drop_channels(block, channels, stats, units, units - self._remaining(units), solver)

    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """Leave the matrix as it is: channels are dropped from several matrices at once (`run`)."""
        return weight

    @property
    def _dropped(self) -> frozenset[int]:
        """The layers that go, once they are chosen."""
        return frozenset(map(int, self.layers.split("+"))) if self.layers else frozenset()

    def _units(self, config: PretrainedConfig) -> int:
        """Number of channels or heads in a layer, or of layers."""
        if self.what == "mlp":
            return min(_channels(config, name) for name in _widths(config))
        return int(config.num_key_value_heads if self.what == "heads" else config.num_hidden_layers)

    def _step(self, units: int) -> int:
        if self.what != "mlp":
            return 1
        return _COARSE if units >= _WIDE else _FINE

    def _remaining(self, units: int) -> int:
        """Number of units that are left."""
        step = self._step(units)
        return round((1 - self.ratio) * units / step) * step

    def _check_layout(self, model: ModelOutline) -> None:
        """Refuse layers whose channels aren't known, and a config that can't say what is left of them."""
        config = model.config
        name = (config.architectures or [config.model_type])[0]
        if self.what == "heads" and not hasattr(config, "num_key_value_heads"):
            raise UsageError(
                f"prune: the config of a {name} can't say fewer heads of the same size; use what=mlp"
                + (" or what=blocks" if not model.kind.is_seq2seq else "")
            )
        if self.what == "mlp" and not _widths(config):
            raise UsageError(f"prune: the config of a {name} can't say a narrower MLP; use what=blocks")
        first = next(matrix.partition(".0.")[0] for matrix in model.matrices if ".0." in matrix) + ".0"
        if self.what != "blocks" and find_channels(_CHANNELS[self.what], first, model.matrices) is None:
            raise UsageError(f"prune: the {_NAMES[self.what]} of a {name} can't be dropped one by one; use what=blocks")

    def _check_ratio(self, units: int) -> None:
        remaining, step = self._remaining(units), self._step(units)
        if 0 < remaining < units:
            return
        drops, least = ("none", "at least") if remaining else ("all", "at most")
        fits = step / units if remaining else 1 - step / units
        units_text = f"{units} {_NAMES[self.what]}" + (f", which go by {step}" if step > 1 else "")
        raise UsageError(f"prune: ratio={self.ratio:g} drops {drops} of {units_text}; give {least} ratio={fits:.3g}")

    def _check_layers(self, count: int) -> None:
        if self.what != "blocks":
            raise UsageError(f"prune: layers={self.layers} needs what=blocks")
        if not all(number.isdigit() and int(number) < count for number in self.layers.split("+")):
            raise UsageError(f"prune: layers={self.layers} should be numbers from 0 to {count - 1}, joined by +")
        if len(self._dropped) == count:
            raise UsageError(f"prune: layers={self.layers} drops all {count} layers; leave one")

    def _check_heads(self, config: PretrainedConfig) -> None:
        """Some families want their hidden size divided by the number of heads, whatever a head's size is."""
        units = self._units(config)
        repeat = config.num_attention_heads // units

        def invalid_reason(remaining: int) -> str | None:
            smaller = copy.deepcopy(config)
            smaller.num_key_value_heads, smaller.num_attention_heads = remaining, remaining * repeat
            try:
                smaller.validate()
            except Exception as error:  # transformers has no common class for what a config can be wrong in
                return first_line(error.__cause__ if isinstance(error.__cause__, Exception) else error)
            return None

        if reason := invalid_reason(self._remaining(units)):
            fits = [
                f"{1 - remaining / units:.3g}"
                for remaining in range(units - 1, 0, -1)
                if invalid_reason(remaining) is None
            ]
            fix = f"give ratio={' or '.join(fits)}" if fits else "use what=mlp or what=blocks"
            raise UsageError(f"prune: ratio={self.ratio:g} of the heads makes no valid config ({reason}); {fix}")


def _head_size(config: PretrainedConfig) -> int:
    from compress.modeling.architecture import head_size

    return head_size(config)


def _number(block: Block) -> int:
    return int(block.name.rpartition(".")[2])


def _widths(config: PretrainedConfig) -> tuple[str, ...]:
    """Settings of a config that hold the widths of its MLPs, one a stack; empty where they hang on the hidden size."""
    if config.is_encoder_decoder and all(hasattr(config, name) for name in _SEQ2SEQ_WIDTHS):
        return _SEQ2SEQ_WIDTHS
    return next(((name,) for name in _WIDTHS if hasattr(config, name)), ())


def _channels(config: PretrainedConfig, name: str) -> int:
    """The width that a config gives under a name; some leave one of four hidden sizes out."""
    return int(getattr(config, name) or 4 * config.hidden_size)


def _cosine(inputs: LayerInputs) -> float:
    """The mean cosine between a layer's inputs and its outputs, token by token."""
    inputs.refresh()
    with torch.no_grad():
        cosines = [
            torch.cosine_similarity(state, inputs.forward(i, {}), dim=-1).mean()
            for i, state in enumerate(inputs.states)
        ]
        return float(torch.stack(cosines).mean())

"""Pass contract: the base classes of passes, their registry, and what targets can hold.

A pass is a frozen pydantic dataclass: its fields are its options, their descriptions carry the units. The command
line, the manifest, the docs and the report all read them from there. Subclassing `WeightPass` or `GraphPass` with a
``name`` registers it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args, get_origin

from pydantic import ConfigDict

from compress.calibration.statistics import Statistic
from compress.errors import unknown
from compress.weights.forms import Dense

if TYPE_CHECKING:
    import onnx_ir as ir
    from pydantic.fields import FieldInfo
    from transformers import PretrainedConfig

    from compress.calibration.block import Block, BlockRole
    from compress.calibration.layer_inputs import BlockInputs
    from compress.calibration.statistics import InputStatistics
    from compress.calibration.survey import Survey
    from compress.checkpoint.base import ModelOutline
    from compress.checkpoint.model import Model
    from compress.pipeline.alias import Alias
    from compress.weights.forms import Weight
    from compress.weights.stored import StoredForm

_registry: dict[str, type[Pass]] = {}


@dataclass(frozen=True)
class TargetCapability:
    """Weight forms and models that the target ``name`` can hold, published so that solving never ends in a refusal."""

    name: str
    forms: tuple[type, ...]
    """weight forms"""
    bits: frozenset[int]
    """widths of integers"""
    graphs: bool = True
    """whether there is a graph for graph passes to rewrite"""
    any_linear: bool = True
    """whether the matrices of linears that aren't torch's own class may be integers"""
    any_inputs: bool = True
    """whether linears may round their inputs as they come"""
    any_table: bool = True
    """whether an embedding that an encoder and a decoder share may be integers, and their head"""
    groups_switching: bool = True
    """whether attention is fused whose rotations change with the length of the text"""
    unsupported_reason: Callable[[PretrainedConfig], str | None] = lambda config: None
    """names the models that a config is one of and that the target has no graph of; None where it has one"""

    @classmethod
    def shared(cls, capabilities: Sequence[TargetCapability]) -> TargetCapability:
        """What all of some targets can hold; graph passes have something to rewrite where one of them has a graph."""
        if len(capabilities) == 1:
            return capabilities[0]

        def unsupported_reason(config: PretrainedConfig) -> str | None:
            reasons = ((capability.name, capability.unsupported_reason(config)) for capability in capabilities)
            return next((f"{reason} ({name} can't)" for name, reason in reasons if reason is not None), None)

        return cls(
            ",".join(capability.name for capability in capabilities),
            tuple(form for form in capabilities[0].forms if all(form in other.forms for other in capabilities)),
            frozenset.intersection(*(capability.bits for capability in capabilities)),
            graphs=any(capability.graphs for capability in capabilities),
            any_linear=all(capability.any_linear for capability in capabilities),
            any_inputs=all(capability.any_inputs for capability in capabilities),
            any_table=all(capability.any_table for capability in capabilities),
            groups_switching=all(capability.groups_switching for capability in capabilities),
            unsupported_reason=unsupported_reason,
        )


class Pass(ABC):
    """Base class of passes: one technique, with its options.

    ``presets`` are names that the field has for some of its settings, each with the options that it stands for, as on
    the command line: ``{"W4A16": "group=128"}``. ``aliases`` are other projects' names of its options; the option's own
    name is what the manifest has.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(defer_build=True)  # a list of passes needs no validators
    name: ClassVar[str]
    presets: ClassVar[Mapping[str, str]] = {}
    aliases: ClassVar[Mapping[str, Alias]] = {}

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        if "name" in cls.__dict__:
            _registry[cls.name] = cls

    def __str__(self) -> str:
        """The pass as written on the command line: its name and what differs from the defaults."""
        values = {key: getattr(self, key) for key in self.options()}
        changed = [f"{key}={value}" for key, value in values.items() if value != self.options()[key].default]
        return ":".join([self.name, *changed])

    def resolve(self, model: ModelOutline, target: TargetCapability) -> Self:
        """The pass with everything that its defaults leave open decided for this model and target.

        Called before any weight is read: a pass that can't work on this model, or would leave what the target can't
        hold, raises UsageError here.
        """
        return self

    def notices(self, model: ModelOutline, target: TargetCapability) -> Sequence[str]:
        """What of the technique a model or target leaves out, a line each, told before any weight is read."""
        return ()

    @classmethod
    def options(cls) -> dict[str, FieldInfo]:
        """The pass's options by name, each with its type, default, bounds and description."""
        fields: dict[str, FieldInfo] = getattr(cls, "__pydantic_fields__", {})
        return {name: field for name, field in fields.items() if not field.exclude}


class WeightPass(Pass):
    """Changes how weights are stored.

    ``accepts`` are the weight forms that it works on, ``produces`` those that it may leave besides. `Factored` among
    the accepted ones means that it works factor by factor.
    """

    accepts: ClassVar[tuple[type, ...]] = (Dense,)
    produces: ClassVar[tuple[type, ...]]

    def output_forms(self) -> tuple[type, ...]:
        """The forms that it may leave with its options as they are; by default all that it produces."""
        return self.produces

    def required_statistic(self) -> Statistic:
        """The statistics that `run` reads; NONE spares the calibration."""
        return Statistic.NONE

    def uses_gradients(self) -> bool:
        """Whether gradients find its weights, which takes longest."""
        return False

    def on_whole_model(self) -> bool:
        """Whether it works on the model as a whole: it then comes last, and `run` gets one block with all weights."""
        return False

    def comes_first(self) -> bool:
        """Whether it works on the model as its user has it (`reparameterize`): no other weight pass comes before it."""
        return False

    def mixes_channels(self) -> bool:
        """Whether it leaves channels that are all alike, none of which is worth more than another."""
        return False

    def chooses_by_size(self) -> bool:
        """Whether it chooses weights by their size and that of their inputs, channel by channel."""
        return False

    def reparameterize(self, model: Model) -> Model:
        """Another model that computes the same, which all passes then see as the original; by default the model itself.

        Called once, before `plan`, after ``resize`` has said what changes in the config.
        """
        return model

    def predict(self, name: str, role: BlockRole, stored: StoredForm) -> StoredForm:
        """Predict how a matrix ``name`` of a block in that role will be stored, from how it is so far, without numbers.

        By default as it is. Raises UsageError where only the numbers tell. What `run` leaves takes as many bytes, but
        for fallbacks that it reports.
        """
        return stored

    def vector_itemsize(self, itemsize: int) -> int:
        """Bytes of a number of the float tensors that are no matrices, from those so far."""
        return itemsize

    def plan(self, survey: Survey) -> Self:
        """The pass with what only a look at the whole model can decide.

        Called, ``survey`` goes through the model's blocks as they are, with their inputs; it also measures what changed
        matrices do to predictions. A pass that asks for neither costs nothing.
        """
        return self

    def resize(self, config: PretrainedConfig) -> None:
        """Change the variant's ``config`` in place to the shapes that `run` leaves; by default there is nothing to say.

        Called once, after `plan`. The runner holds what `run` leaves against the shapes that this config gives.
        """

    def run(self, block: Block, inputs: BlockInputs) -> None:
        """Change a block's weights in place; by default, each linear by itself through `apply`."""
        stats = inputs.statistics(self.required_statistic())
        for name, weight in block.weights.items():
            block.weights[name] = self.apply(name, weight, stats)

    @abstractmethod
    def apply(self, name: str, weight: Weight, stats: InputStatistics) -> Weight:
        """The matrix ``name`` in its new form; its inputs' statistics, if there are any, are ``stats[name]``."""


class GraphPass(Pass):
    """Changes which operators run. The graph is float when it comes here; weights are lowered afterwards."""

    @abstractmethod
    def rewrite(self, model: ir.Model) -> int:
        """Rewrite in place and return how many places changed."""


def passes() -> dict[str, type[Pass]]:
    """Every known pass by name: the project's and third parties' (entry-point group ``compress.passes``)."""
    _load_entry_points()
    return dict(sorted(_registry.items()))


@cache
def _load_entry_points() -> None:
    for entry in entry_points(group="compress.passes"):
        entry.load()


def find(name: str) -> tuple[type[Pass], str]:
    """The pass of that name, or the one that a scheme of that name is of, with the options that the scheme stands for.

    Upper and lower case are the same. Raises UsageError with the nearest name where there is none.
    """
    classes = passes().values()
    by_name = {scheme: (cls, options) for cls in classes for scheme, options in cls.presets.items()}
    by_name |= {cls.name: (cls, "") for cls in classes}
    for word, match in by_name.items():
        if word.lower() == name.lower():
            return match
    raise unknown("pass", name, by_name)


def choices(option: FieldInfo) -> tuple[str, ...]:
    """The words that an option takes; none where it takes numbers or free text."""
    types = [option.annotation, *get_args(option.annotation)]
    return tuple(str(word) for type_ in types if get_origin(type_) is Literal for word in get_args(type_))

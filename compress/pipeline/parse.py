"""Pipelines: parse passes and their options, and check their order, before any weight is read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from pydantic import ValidationError

from compress.calibration.statistics import Statistic
from compress.errors import UsageError, unknown
from compress.pipeline.contract import GraphPass, WeightPass, choices, find
from compress.weights.forms import Dense

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from compress.pipeline.contract import Pass

_PLAIN = re.compile(r"[\w.=:,]{1,120}", re.ASCII)
"""Pipelines that make a good file name with nothing but their separators replaced."""


@dataclass(frozen=True)
class Pipeline:
    """Passes in order. Weight passes apply one after another; graph passes apply at export, wherever they stand."""

    passes: tuple[Pass, ...]

    @classmethod
    def parse(cls, text: str) -> Pipeline:
        """Read ``int8:group=32,fuse``; a UsageError says what is wrong and what would be right."""
        words = [word.strip() for word in text.split(",")]
        if not all(words):
            raise UsageError(f"pipeline {text!r} has an empty pass; write it like int8:group=32,fuse")
        pipeline = cls(tuple(map(parse_pass, words)))
        pipeline.check()
        return pipeline

    def check(self) -> None:
        """Refuse an order that can't work, with the reason and the order that would."""
        reason = _unsupported_reason(self.weight_passes)
        if reason is None:
            return
        if order := _working_order(self.weight_passes):
            works = ",".join(map(str, [*order, *self.graph_passes]))
            raise UsageError(f"pipeline {self}: {reason}; this order works: {works}")
        raise UsageError(f"pipeline {self}: {reason}, and no other order works; leave one of them out")

    @property
    def weight_passes(self) -> tuple[WeightPass, ...]:
        """The weight passes, in order."""
        return tuple(p for p in self.passes if isinstance(p, WeightPass))

    @property
    def graph_passes(self) -> tuple[GraphPass, ...]:
        """The graph passes, in order."""
        return tuple(p for p in self.passes if isinstance(p, GraphPass))

    def required_statistic(self) -> Statistic:
        """The most that one of its passes reads of a linear's inputs."""
        return max((pass_.required_statistic() for pass_ in self.weight_passes), default=Statistic.NONE)

    def without_one(self) -> list[Pipeline]:
        """The pipelines that lack one of its passes; none where it has but one."""
        if len(self.passes) == 1:
            return []
        return [Pipeline(self.passes[:i] + self.passes[i + 1 :]) for i in range(len(self.passes))]

    @property
    def slug(self) -> str:
        """The name of the variant's directory: ``int8-group-32-fuse``.

        What a file's name had better not hold (``skip=*.down_proj``) becomes ``_``; then a few digits of the pipeline's
        hash keep apart what would look the same.
        """
        text = str(self)
        name = re.sub(r"[^\w.-]", "_", re.sub(r"[=:,]", "-", text), flags=re.ASCII)
        return name if _PLAIN.fullmatch(text) else f"{name[:120]}-{sha256(text.encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        return ",".join(map(str, self.passes))


def parse_pass(text: str) -> Pass:
    """Read one pass with its options: ``int8:group=32``.

    A bare word is a value of the one option that has it among its choices: ``int4:asym`` is ``int4:symmetry=asym``.
    Options written behind a scheme (``W4A16:group=32``) override those that it stands for.
    """
    name, *written = text.split(":")
    cls, scheme = find(name)
    values = {**_read(name, cls, scheme.split(":") if scheme else []), **_read(name, cls, written)}
    try:
        return cls(**values)
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{key}={values.get(str(key), '')}: " for key in first["loc"][:1])
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
        raise UsageError(f"pass {name!r}: {where}{message}") from None


def _read(name: str, cls: type[Pass], written: Sequence[str]) -> dict[str, str]:
    """The values of the options as they were written."""
    options = cls.options()
    if written and not options:
        raise UsageError(f"pass {name!r} has no options")
    values: dict[str, str] = {}
    for word in written:
        key, equals, value = word.partition("=")
        if not key.strip():
            raise UsageError(
                f"pass {name!r}: a colon has no option behind it; remove it, or name one of {', '.join(options)}"
            )
        if not equals:
            key, value = _option_with(word, name, options), word
        elif key not in options and key not in cls.aliases:
            raise unknown(f"option of {name!r}", key, options)
        elif not value:
            raise _no_value(name, key)
        if key in cls.aliases:
            alias = cls.aliases[key]
            value = _converted(name, cls, key, value)
            if alias.option is None:
                continue
            if alias.option in values:
                raise UsageError(f"pass {name!r}: {key} is another name of {alias.option}, which is given as well")
            key = alias.option
        if key in values:
            raise UsageError(f"pass {name!r}: option {key!r} is given twice")
        values[key] = value
    return values


def _converted(name: str, cls: type[Pass], key: str, value: str) -> str:
    """The value of an option that another project's name was used for."""
    try:
        return cls.aliases[key].convert(cls, value)
    except ValueError as error:
        raise UsageError(f"pass {name!r}: {key}={value}: {error}") from None


def _option_with(word: str, name: str, options: Mapping[str, FieldInfo]) -> str:
    """The option that a bare word is a value of."""
    matching = [key for key, option in options.items() if word in choices(option)]
    if len(matching) > 1:
        ways = " or ".join(f"{key}={word}" for key in matching)
        raise UsageError(f"pass {name!r}: {word!r} is a value of several options; write {ways}")
    if matching:
        return matching[0]
    if word in options:
        raise _no_value(name, word)
    raise unknown(
        f"word of {name!r}", word, {*options, *(choice for option in options.values() for choice in choices(option))}
    )


def _no_value(name: str, key: str) -> UsageError:
    return UsageError(f"pass {name!r}: option {key!r} has no value; write it like {key}=value")


def _unsupported_reason(order: Sequence[WeightPass]) -> str | None:
    """Reason why a pass in this order would meet a weight form that it doesn't accept, or None.

    A pass may leave any matrix as it found it, so forms only add up along the way.
    """
    forms: list[type] = [Dense]
    makers: dict[type, str] = {Dense: "the model"}
    mixer: WeightPass | None = None
    for before, pass_ in zip([None, *order], order, strict=False):
        if before is not None and before.on_whole_model():
            return f"{before} works on the model as a whole, so nothing can come after it"
        if before is not None and pass_.comes_first() and not before.comes_first():
            return f"{pass_} works on the model as it is, so {before} can't come before it"
        if unaccepted := [form for form in forms if form not in pass_.accepts]:
            produced = ", ".join(form.__name__ for form in unaccepted)
            takes = ", ".join(form.__name__ for form in pass_.accepts)
            return f"{pass_.name} works on {takes} weights, but {makers[unaccepted[0]]} may leave {produced}"
        if pass_.mixes_channels():
            mixer = pass_
        elif mixer is not None and pass_.chooses_by_size():
            return f"{pass_} chooses weights by their size and their inputs', and {mixer} makes these all alike"
        new = [form for form in pass_.output_forms() if form not in forms]
        forms.extend(new)
        makers |= dict.fromkeys(new, pass_.name)
    return None


def _working_order(passes: Sequence[WeightPass]) -> list[WeightPass] | None:
    """An order in which every pass accepts the forms that it meets; None where there is none."""
    first = [pass_ for pass_ in passes if pass_.comes_first()]
    last = [pass_ for pass_ in passes if pass_.on_whole_model()]
    order = _extended(first, [pass_ for pass_ in passes if pass_ not in [*first, *last]], frozenset({Dense}))
    if order is None or _unsupported_reason([*order, *last]) is not None:
        return None
    return [*order, *last]


def _extended(order: list[WeightPass], open_: list[WeightPass], forms: frozenset[type]) -> list[WeightPass] | None:
    """An order continued by the passes that are still ``open_``, where it has left these forms so far.

    Passes that add no form come as soon as they can, as that closes no door. Of those that add some, alike ones are
    tried once: there are few forms, so that even a hundred passes make few cases.
    """
    free = [pass_ for pass_ in open_ if forms.issuperset(pass_.output_forms()) and forms.issubset(pass_.accepts)]
    order, open_ = [*order, *free], [pass_ for pass_ in open_ if pass_ not in free]
    if not open_:
        return order
    tried = set()
    for pass_ in open_:
        effect = (frozenset(pass_.accepts), frozenset(pass_.output_forms()))
        if effect in tried or not forms.issubset(pass_.accepts):
            continue
        tried.add(effect)
        rest = list(open_)
        rest.remove(pass_)
        if complete := _extended([*order, pass_], rest, forms.union(pass_.output_forms())):
            return complete
    return None

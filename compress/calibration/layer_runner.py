"""Run one layer repeatedly, reusing activations whose inputs have not changed.

Most layers are made of parts (attention, MLP) whose output is that of their last linear. Once that one's input is
known, and as long as nothing before it changes, the part is that one product. Such inputs lie in a file meanwhile: they
are larger than the hidden states, and read faster than computed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from compress.calibration.block import Block
from compress.calibration.layer_arguments import LayerArguments
from compress.calibration.load_state import load_block
from compress.calibration.precision import fast_products
from compress.modeling.modules import linears


class Spool:
    """Tensors in an anonymous temporary file, which is deleted with the object."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="compress-")  # noqa: SIM115 -- it is open as long as the spool is used
        self._places: dict[tuple[str, int], tuple[int, torch.Size, torch.dtype]] = {}
        self._end = 0

    def keep(self, key: tuple[str, int], tensor: Tensor) -> None:
        """Write a tensor, in the place of the one of the same key and form."""
        data = tensor.detach().contiguous()
        place = self._places.get(key)
        if place is None or place[1:] != (data.shape, data.dtype):
            place = self._places[key] = (self._end, data.shape, data.dtype)
            self._end += data.nbytes
        self._file.seek(place[0])
        self._file.write(data.view(torch.uint8).numpy().data)

    def read(self, key: tuple[str, int]) -> Tensor:
        """The tensor of that key."""
        start, shape, dtype = self._places[key]
        tensor = torch.empty(shape, dtype=dtype)
        self._file.seek(start)
        self._file.readinto(tensor.view(torch.uint8).numpy().data)
        return tensor

    def close(self) -> None:
        """Delete the file."""
        self._file.close()


class Part(NamedTuple):
    """A module of a layer whose output is that of a linear which reads alone; ``extra_outputs`` follow it."""

    path: str
    extra_outputs: tuple[None, ...] | None


class LayerRun:
    """A layer with a block's weights, called with ``arguments`` and run no further than is needed."""

    def __init__(self, layer: nn.Module, block: Block, arguments: LayerArguments) -> None:
        self.layer = layer
        self.block = block
        self.arguments = arguments
        self._linears = linears(layer, block.name)
        self._stages: list[tuple[str, ...]] = []
        self._parts: dict[str, Part] = {}
        self._before: dict[tuple[str, int], list[object]] = {}
        self._spool = Spool()

    def refresh(self) -> None:
        """Load the block's current weights into the layer."""
        load_block(self.layer, self.block)

    def close(self) -> None:
        """Delete the saved inputs."""
        self._spool.close()

    def stages(self) -> list[tuple[str, ...]]:
        """The linears in the order in which they run, by the tensors that they read."""
        if not self._stages:
            self.refresh()
            stages: dict[str, tuple[str, ...]] = {}
            missing = list(self._linears)
            for batch in range(len(self.arguments.states)):  # which experts a text is sent to is its own affair
                # Linears that read the very same tensor go together. An object's id is its own only as long as the
                # object lives: `inputs` holds them all until they are grouped.
                groups: dict[int, list[str]] = {}
                with self._finding_parts(self._parts):
                    inputs, _ = self._run(batch, missing)
                for name, x in inputs.items():
                    groups.setdefault(id(x), []).append(name)
                stages |= {names[0]: tuple(names) for names in groups.values()}
                missing = [name for name in missing if name not in inputs]
                if not missing:
                    break
            self._stages = list(stages.values())
            self._parts = {name: part for name, part in self._parts.items() if (name,) in self._stages}
        return self._stages

    def output(self, batch: int) -> Tensor:
        """The hidden states that the layer makes of a batch, float32."""
        return self.inputs(batch, (), to_the_end=True)[1]

    def inputs(self, batch: int, names: Collection[str], to_the_end: bool = False) -> tuple[dict[str, Tensor], Tensor]:
        """The tensors that linears read, by their weights' names in the order in which they do, and the layer's output.

        The output is computed ``to_the_end`` alone, and empty otherwise. Three cases: where every input is saved and
        current, nothing is run; parts whose saved input is current are replayed from there; the rest is run.
        """
        stages = [[name for name in stage if name in names] for stage in self.stages()]
        leaders = {name: stage[0] for stage in stages for name in stage}  # a stage's linears read one tensor
        saved = {name for name in self._parts if self._is_current(name, batch)}
        if not to_the_end and saved >= set(names):
            return {name: self._spool.read((name, batch)) for name in leaders}, torch.empty(0)
        to_run = [leader for leader in leaders.values() if leader not in saved]
        to_replay = [name for name in saved if not self._is_around(name, to_run)]
        with ExitStack() as stack:
            for name in to_replay:
                stack.enter_context(self._replay(name, self._spool.read((name, batch))))
            for name in self._parts.keys() - saved:
                handle = self._linears[name].register_forward_pre_hook(self._save_hook(name, batch))
                stack.callback(handle.remove)
            read, output = self._run(batch, set(leaders.values()), to_the_end)
        return {name: read[leader] for name, leader in leaders.items() if leader in read}, output

    def _is_around(self, name: str, others: Collection[str]) -> bool:
        """Whether the part whose last linear is ``name`` holds one of the linears ``others``."""
        return any(other.startswith(f"{self.block.name}.{self._parts[name].path}.") for other in others)

    @torch.no_grad()
    def _run(self, batch: int, names: Collection[str], to_the_end: bool = True) -> tuple[dict[str, Tensor], Tensor]:
        """Run the layer, no further than to the last of the linears ``names`` unless ``to_the_end``."""
        read: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                read[name] = inputs[0]
                if len(read) == len(names) and not to_the_end:
                    raise _SeenEnough

            return hook

        with ExitStack() as stack, fast_products():
            for name in names:
                handle = self._linears[name].register_forward_pre_hook(keep(name))
                stack.callback(handle.remove)
            args, kwargs = self.arguments.call(batch)
            try:
                return read, hidden(self.layer(*args, **kwargs)).float()
            except _SeenEnough:
                return read, torch.empty(0)

    def _is_current(self, name: str, batch: int) -> bool:
        """Whether the kept input of a part's last linear is what it would read now."""
        saved, now = self._before.get((name, batch)), self._upstream(name)
        return saved is not None and len(saved) == len(now) and all(a is b for a, b in zip(saved, now, strict=True))

    def _upstream(self, name: str) -> list[object]:
        """The weights that a linear's input depends on: the matrices that run before it, and every vector."""
        before = self._stages[: self._stages.index((name,))]
        return [*(self.block.weights[earlier] for stage in before for earlier in stage), *self.block.vectors.values()]

    def _save_hook(self, name: str, batch: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self._spool.keep((name, batch), inputs[0])
            self._before[name, batch] = self._upstream(name)

        return hook

    @contextmanager
    def _replay(self, name: str, x: Tensor) -> Iterator[None]:
        """A part stands in for itself with its last linear alone, on the input ``x``."""
        path, extra = self._parts[name]
        module, last = self.layer.get_submodule(path), self._linears[name]
        module.forward = lambda *_, **__: last(x.float()) if extra is None else (last(x.float()), *extra)
        try:
            yield
        finally:
            del module.forward  # the class's own is back

    @contextmanager
    def _finding_parts(self, parts: dict[str, Part]) -> Iterator[None]:
        """Find the parts, each by its last linear; of parts within parts the outermost."""
        outputs: dict[int, tuple[str, Tensor, int]] = {}

        def by_linear(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                outputs[id(output)] = name, output, output._version  # held, so that its identity stays its own

            return hook

        def by_module(path: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(_: nn.Module, __: Any, output: Any) -> None:
                first, *rest = output if isinstance(output, tuple | list) else (output,)
                name, same, version = outputs.get(id(first), ("", None, 0))
                inside = name.startswith(f"{self.block.name}.{path}.")
                untouched = same is not None and same._version == version
                if inside and untouched and not any(extra is not None for extra in rest):
                    parts[name] = Part(path, (None,) * len(rest) if isinstance(output, tuple | list) else None)

            return hook

        linears = set(self._linears.values())
        others = [(path, module) for path, module in self.layer.named_modules() if path and module not in linears]
        handles = [linear.register_forward_hook(by_linear(name)) for name, linear in self._linears.items()]
        handles += [module.register_forward_hook(by_module(path)) for path, module in others]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class _SeenEnough(Exception):  # noqa: N818 -- it ends a forward pass early and is no error
    """Every requested input has been recorded."""


def hidden(output: Any) -> Tensor:
    """The hidden states among what a layer returns."""
    tensor: Tensor = output[0] if isinstance(output, tuple | list) else output
    return tensor

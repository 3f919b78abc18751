"""Write a graph's tensors to ``model.onnx.data``, the one file beside it, tensor by tensor."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import onnx_ir as ir
from onnx_ir.tensor_adapters import from_torch_dtype
from torch import Tensor, uint8

from compress.graph.builder import required
from compress.onnx_names import DATA_FILE

_ALIGNMENT = 4096  # a page: the runtime maps tensors from here instead of copying them


class ExternalData:
    """Writes tensors as they come, so that memory holds one at a time; ``written`` counts their bytes."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written = 0
        self.constants = 0
        """how many of these bytes are of constants that are no weights, such as tables of positions"""
        self.stored: dict[str, ir.ExternalTensor] = {}
        """by name what several graphs may refer to"""
        self._file = (directory / DATA_FILE).open("wb")

    def __enter__(self) -> ExternalData:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(
        self, name: str, tensor: Tensor, dtype: ir.DataType | None = None, shape: tuple[int, ...] | None = None
    ) -> ir.ExternalTensor:
        """Append a tensor and return the graph's reference to it.

        ``dtype`` and ``shape`` say what its bytes are where torch has no such type: two 4-bit integers in a byte.
        """
        data = tensor.contiguous().flatten().view(uint8).numpy()
        if data.nbytes >= _ALIGNMENT:
            self._file.seek(-self._file.tell() % _ALIGNMENT, 1)
        offset = self._file.tell()
        self._file.write(data.data)
        self.written += data.nbytes
        dtype = from_torch_dtype(tensor.dtype) if dtype is None else dtype
        return self._refer(name, dtype, tuple(tensor.shape) if shape is None else shape, offset, data.nbytes)

    def alias(self, name: str, stored: ir.ExternalTensor, shape: tuple[int, ...]) -> ir.ExternalTensor:
        """Refer to a tensor that is already written by another name and shape."""
        return self._refer(name, stored.dtype, shape, required(stored.offset), required(stored.length))

    def _refer(
        self, name: str, dtype: ir.DataType, shape: tuple[int, ...], offset: int, length: int
    ) -> ir.ExternalTensor:
        return ir.ExternalTensor(
            DATA_FILE, offset, length, dtype, shape=ir.Shape(shape), name=name, base_dir=self.directory
        )

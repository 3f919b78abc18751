"""Pack integers into 32-bit words and unpack them, with compressed-tensors' own functions.

They are imported when they are called: the library takes seconds to import, and most mistakes are found without it.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pack_words(codes: Tensor, bits: int, dim: int = 1) -> Tensor:
    """Signed codes int8 ``[rows, n]`` as unsigned ones in int32 words, the lowest bits first, along an axis.

    Of codes on the meta device, which the library can't pack, the words' shape alone is known.
    """
    if codes.is_meta:
        shape = list(codes.shape)
        shape[dim] = -(-shape[dim] * bits // 32)
        return torch.empty(shape, dtype=torch.int32, device="meta")
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    packed: Tensor = pack_to_int32(codes, bits, packed_dim=dim)
    return packed


def unpack_words(words: Tensor, bits: int, shape: tuple[int, ...], dim: int = 1) -> Tensor:
    """The signed codes int8 of that shape in words that `pack_words` made along an axis."""
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    codes: Tensor = unpack_from_int32(words, bits, torch.Size(shape), packed_dim=dim)
    return codes

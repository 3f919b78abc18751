"""Rotations of channels: Hadamard matrices with random signs, of any size.

A Hadamard matrix spreads every channel evenly over all others, so that none is larger than the rest, and rounding to a
grid loses less (QuaRot, Ashkboos et al., arXiv 2404.00456; SpinQuant, Liu et al., arXiv 2405.16406).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from compress.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def rotation(size: int, generator: torch.Generator, keeps_ones: bool = False) -> Tensor:
    """An orthogonal matrix, float64 ``[size, size]``: Hadamard blocks times random signs.

    One block where there is a Hadamard matrix of that size, else the fewest that there are. With ``keeps_ones`` the
    vector of ones is mapped to itself, so that means stay what they are: a reflection is put behind.
    """
    block = next(n for n in range(size, 0, -1) if size % n == 0 and _exists(n))
    blocks = [hadamard(block) / block**0.5] * (size // block)
    signs = torch.randint(0, 2, (size,), generator=generator).double() * 2 - 1
    matrix: Tensor = torch.block_diag(*blocks) * signs
    if keeps_ones:
        normal = matrix.sum(1) - 1  # where the ones are mapped to, less where they are
        if bool(normal.any()):
            matrix = matrix - torch.outer(normal, normal @ matrix) * 2 / normal.square().sum()
    return matrix


@cache
def hadamard(n: int) -> Tensor:
    """A matrix of 1 and -1 whose rows are orthogonal, float64 ``[n, n]``.

    Paley's constructions from primes (J. Math. Phys. 12, 1933) and Kronecker products of smaller ones. Raises
    ValueError where these make none.
    """
    if n <= 2:
        return torch.tensor([[1.0]] if n == 1 else [[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
    if n % 4 == 0 and _is_prime(n - 1):
        return _bordered(_residues(n - 1), -1.0) + torch.eye(n, dtype=torch.float64)
    if n % 4 == 0 and _is_prime(q := n // 2 - 1) and q % 4 == 1:
        one, other = torch.tensor([[1.0, 1.0], [1.0, -1.0]]), torch.tensor([[1.0, -1.0], [-1.0, -1.0]])
        identity = torch.eye(q + 1, dtype=torch.float64)
        return torch.kron(_bordered(_residues(q), 1.0), one.double()) + torch.kron(identity, other.double())
    for factor in range(2, n):
        if n % factor == 0 and _exists(factor) and _exists(n // factor):
            return torch.kron(hadamard(factor), hadamard(n // factor))
    raise ValueError(f"no Hadamard matrix of size {n} is known here")


@cache
def _exists(n: int) -> bool:
    """Whether `hadamard` makes a matrix of that size."""
    if n <= 2:
        return True
    if n % 4:
        return False
    if _is_prime(n - 1) or (_is_prime(n // 2 - 1) and (n // 2 - 1) % 4 == 1):
        return True
    return any(n % factor == 0 and _exists(factor) and _exists(n // factor) for factor in range(2, n // 2 + 1))


def _residues(q: int) -> Tensor:
    """The Jacobsthal matrix of a prime: 1 where i - j is a square modulo q, -1 where it is none, 0 on the diagonal."""
    squares = {i * i % q for i in range(1, q)}
    row = torch.tensor([0.0 if i == 0 else 1.0 if i in squares else -1.0 for i in range(q)], dtype=torch.float64)
    index = (torch.arange(q)[:, None] - torch.arange(q)) % q
    return row[index]


def _bordered(matrix: Tensor, below: float) -> Tensor:
    """A matrix with a row of ones above it, and a column of ``below`` at its left."""
    q = len(matrix)
    out = torch.zeros(q + 1, q + 1, dtype=torch.float64)
    out[0, 1:], out[1:, 0], out[1:, 1:] = 1.0, below, matrix
    return out


def _is_prime(n: int) -> bool:
    return n > 1 and all(n % i for i in range(2, int(n**0.5) + 1))

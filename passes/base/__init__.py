"""Base classes of passes: integers, 16-bit formats, sparsity, `skip`."""

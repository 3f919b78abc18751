"""What several passes share: integer and 16-bit forms, sparsity, `skip`."""

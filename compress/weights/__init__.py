"""Weight forms: how one matrix is stored, and what storing it costs."""

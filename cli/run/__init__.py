"""The steps of `compress run`."""

"""Code that several engines share: decoding loops, CUDA buffers."""

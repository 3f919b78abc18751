"""GGUF files: blocks, metadata, tokenizer."""

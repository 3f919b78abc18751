"""Files next to an exported graph."""

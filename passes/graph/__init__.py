"""Graph rewrites behind `fuse`."""

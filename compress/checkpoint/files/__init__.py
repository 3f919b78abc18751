"""Files in a checkpoint's directory: weights, hashes, manifest, artifact."""

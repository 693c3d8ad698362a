"""One file a protocol: what it needs, and the scores with intervals that it gives."""

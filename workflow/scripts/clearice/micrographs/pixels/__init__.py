"""What the pixels of one micrograph say about it."""

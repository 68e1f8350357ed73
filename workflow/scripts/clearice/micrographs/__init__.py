"""What a micrograph is, pixel by pixel, and which ones there are."""

"""What a denoised micrograph is worth: evidence from independent data, and null tests."""

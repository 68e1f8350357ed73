"""The command `clearice`: what people do by hand, without a workflow."""

"""How a network's output, error and gradients are computed."""

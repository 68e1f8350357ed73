"""What tests on a GPU share."""

import os

# cuBLAS reads it with its first handle, which may be another test's; a training sets it itself
# (model/device.py), before it makes one. Without it the last bits of PyTorch's own operations vary
# on a busy GPU.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

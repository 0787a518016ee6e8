"""What the tests on a GPU need before CUDA is first used."""

from __future__ import annotations

import os

os.environ.setdefault(
    "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
)  # read once, by the first matrix product

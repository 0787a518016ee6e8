"""What `import benchmark` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_package_offers_evaluate_and_request_again_and_again_and_imports_torch_only_then():
    code = """
import sys, benchmark
assert "torch" not in sys.modules
for _ in range(2):
    assert benchmark.evaluate.__name__ == "evaluate"
    assert benchmark.Request(defense="none").defense == "none"
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Folders of the user: the platform's cache, and what environment variables put in its place."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_APP = "purifybench"


def cache_folder() -> Path:
    """The platform's cache folder for this program, such as `~/.cache/purifybench`."""
    return platformdirs.user_cache_path(_APP)


def weights_folder() -> Path:
    """The user's folder of weights, trained and downloaded: `$BENCH_WEIGHTS`, else one in the cache."""
    chosen = os.environ.get("BENCH_WEIGHTS")
    return Path(chosen) if chosen else cache_folder() / "weights"

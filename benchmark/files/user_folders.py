"""Folders of the user: the platform's cache, and what environment variables put in its place."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from benchmark.errors import BenchError

_APP = "purifybench"


def cache_folder() -> Path:
    """The platform's cache folder for this program, such as `~/.cache/purifybench`."""
    return platformdirs.user_cache_path(_APP)


def data_folder(option: Path | None = None) -> Path:
    """The folder of datasets and downloaded models: what was named, else `$BENCH_DATA`, else one in the cache.

    Raises:
        BenchError: The folder that was named does not exist.
    """
    chosen = option or (Path(os.environ["BENCH_DATA"]) if os.environ.get("BENCH_DATA") else None)
    if chosen is None:
        return cache_folder() / "data"
    if not chosen.is_dir():
        source = "--data" if option else "BENCH_DATA"
        raise BenchError(
            f"{source} names {str(chosen)!r}, which is no folder; make it, or name an existing one"
        )
    return chosen


def weights_folder() -> Path:
    """The user's folder of weights, trained and downloaded: `$BENCH_WEIGHTS`, else one in the cache."""
    return Path(os.environ.get("BENCH_WEIGHTS") or cache_folder() / "weights")


def static_folder() -> Path:
    """The folder of static adversarial sets, made once for training: `$BENCH_STATIC`, else one in the cache."""
    return Path(os.environ.get("BENCH_STATIC") or cache_folder() / "static")

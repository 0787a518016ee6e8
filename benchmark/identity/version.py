"""The version of the code that runs: its release, and the commit where it comes from a git repository."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

RELEASE = "0.1.0"
"""The only place that says it; packaging reads it from here, so that no copy of this code is without one."""
DISTRIBUTION = "purifybench"
PACKAGES = ("benchmark", "attacks", "defenses")
RESULTS = "leaderboards"
"""Written by runs, so that a change in it does not change the code."""
SHOWN = 10
"""Hex digits of a commit."""
PATIENCE = 10
"""Seconds that git may take."""


@cache
def full_version() -> str:
    """The release with the commit behind it: `0.1.0+g1a2b3c4d5e`, then `.dirty` where the code was changed.

    In a checkout git is asked, about the folder that this package lies in. An installed copy says the commit
    that its installer noted (PEP 610), and the release alone where none was.
    """
    root = Path(__file__).resolve().parents[2]
    commit = _of_checkout(root) if (root / ".git").exists() else _of_installed(Path(__file__))
    return f"{RELEASE}+g{commit}" if commit else RELEASE


def _of_checkout(root: Path) -> str:
    """The commit of a checkout; empty where git cannot say."""
    head = _git(root, "rev-parse", "--verify", "HEAD")
    changes = _git(root, "status", "--porcelain", "-z", "-uall", "--", ".", f":(exclude){RESULTS}")
    if not head or changes is None:
        return ""
    return head[:SHOWN] + (".dirty" if any(map(_is_change, changes.split("\0"))) else "")


def _is_change(line: str) -> bool:
    """Whether a line of git's status is a change: of any file that git knows, or a new file among the code."""
    if line.startswith("?? "):
        return line[3:].partition("/")[0] in PACKAGES
    return bool(line)


def _git(root: Path, *words: str) -> str | None:
    """What git says of a folder; None where it is not there, refuses or takes too long.

    Variables that point git elsewhere, as in a hook, are left out, and a checkout of another owner is read.
    """
    settings = {name: text for name, text in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), "-c", f"safe.directory={root}", *words]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            env=settings | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip("\n") if done.returncode == 0 else None


def _of_installed(code: Path) -> str:
    """The commit that was noted when this code was installed; empty where none was."""
    try:
        found = distribution(DISTRIBUTION)
    except PackageNotFoundError:
        return ""
    inside = Path(str(found.locate_file("/".join(code.parts[-3:]))))
    return commit_of(found) if inside.resolve() == code.resolve() else ""  # else of another copy


def commit_of(found: Distribution) -> str:
    """The commit in a distribution's `direct_url.json` (PEP 610); empty where it says none."""
    try:
        said = json.loads(found.read_text("direct_url.json") or "{}")["vcs_info"]["commit_id"]
    except (ValueError, KeyError, TypeError, OSError):
        return ""
    return said[:SHOWN] if isinstance(said, str) and said.isalnum() else ""

"""What hostile tests share: a bomb, a small protocol, and plugins written into a folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROTOCOL = """
name: mini
version: 1
summary: clean and one attack
samples: 4
shard_size: 2
criterion: {draws: 2, vote: 1, any_of: 1}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [best],
     arguments: {steps: 2}}
"""

PLUGIN = """
import os, sys
{at_import}
import torch
from benchmark.defense import Defense, Derivative

class Mine(Defense):
    name = "mine"
    stochastic = False
    gradient = Derivative.EXACT
    def __init__(self, *, size: int = 1) -> None:
        self.size = size
    def prepare(self, setting):
        {in_prepare}
    def purify(self, x, *, draws):
        {in_purify}
        return x * 1.0
"""


class Bomb:
    """Pickled, it makes a file where it is loaded."""

    def __init__(self, sentinel: Path) -> None:
        self.sentinel = sentinel

    def __reduce__(self):
        return os.mkdir, (str(self.sentinel),)


def plugin(
    folder: Path, monkeypatch, *, at_import="", in_prepare="pass", in_purify="pass", name="hostile"
) -> str:
    """Writes a plugin of that name into a folder on the path; returns its `module:Class`."""
    text = PLUGIN.format(at_import=at_import, in_prepare=in_prepare, in_purify=in_purify)
    (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, name, raising=False)
    return f"{name}:Mine"


def mini(folder: Path) -> list[str]:
    """Words of a command that evaluates four images in a moment."""
    (folder / "mini.yaml").write_text(PROTOCOL)
    return ["run", "--protocol", "mini.yaml", "--device", "cpu"]


def one_line(err: str) -> str:
    """The one line that was said on standard error."""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1, err
    assert "Traceback" not in err
    return lines[0]

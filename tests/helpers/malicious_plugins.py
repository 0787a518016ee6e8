"""What hostile tests share: a bomb in many forms, a small protocol, and plugins written into a folder."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import torch

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
from benchmark.engine.victims.defense import Defense, Derivative

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


def as_pickle(sentinel: Path) -> bytes:
    """A pickle that holds a bomb."""
    return pickle.dumps({"factor": Bomb(sentinel)})


def as_zip(sentinel: Path) -> bytes:
    """A checkpoint of today's form that holds one."""
    content = io.BytesIO()
    torch.save({"factor": Bomb(sentinel)}, content)
    return content.getvalue()


def as_legacy(sentinel: Path) -> bytes:
    """A checkpoint of torch's old form that holds one."""
    content = io.BytesIO()
    torch.save({"factor": Bomb(sentinel)}, content, _use_new_zipfile_serialization=False)
    return content.getvalue()


def as_npz(sentinel: Path) -> bytes:
    """An archive of arrays whose images are bombs."""
    content = io.BytesIO()
    bombs = np.array([Bomb(sentinel)], dtype=object)
    np.savez(content, images=bombs, labels=np.array([0]))
    return content.getvalue()


def as_npz_of_pickles(sentinel: Path) -> bytes:
    """An archive whose members are pickles, not arrays."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("images.npy", as_pickle(sentinel))
        archive.writestr("labels", as_pickle(sentinel))
    return content.getvalue()


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

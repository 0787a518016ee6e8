"""Wrong names and numbers of whole commands: one line, status 2, and torch is not started for it."""

import json
import subprocess
import sys

import pytest

PROTOCOL = """
name: mine
version: 1
summary: two attacks
samples: 4
shard_size: 2
criterion: {draws: 2, vote: 1, any_of: 1}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: ATTACK, gradients: [best],
     arguments: {ARGUMENT: 2}}
"""
THEIRS = """
import torch
from benchmark.engine.victims.defense import Defense

class Mine(Defense):
    def __init__(self, *, size=1): pass
"""
MISTAKES = [
    ("run --defense Atop", "Did you mean 'atop'?"),
    ("run --defense none+apot", "Did you mean 'atop'?"),
    ("run --defense mean(jpg>digits-cnn,none>digits-mlp)", "Did you mean 'jpeg'?"),
    ("run --defense theirs.py", "write theirs:Mine"),
    ("run --defense theirs:Mien", "Did you mean 'theirs:Mine'?"),
    ("run --defense theirs:Mine --defense-arg szie=2", "Did you mean 'size'?"),
    ("run --defense nowhere_at_all:Mine", "no module is called"),
    ("run --defense gaussian --defense-arg sgima=1", "Did you mean 'sigma'?"),
    ("run --defense atop+jpeg --defense-arg jpg.quality=9", "such as jpeg.quality"),
    ("run --defense " + "+".join(["none"] * 3000), "at most 16 purifiers in a row"),
    ("run --defense hgd@" + "&".join(["digits-cnn"] * 17), "at most 16 classifiers"),
    (f"run --model mean({','.join(['digits-cnn'] * 3000)})", "at most 16 members"),
    ("run --model gowal2021", "Did you mean 'Gowal2021' (for cifar10)?"),
    ("run --dataset cifar10 --model carmon2019", "Did you mean 'Carmon2019Unlabeled'?"),
    ("run --model Digits-CNN", "Did you mean 'digits-cnn'"),
    ("run --dataset mnist --model digits-cnn", "is for digits, not for mnist"),
    ("run --defense hgd@digits-cn", "Did you mean 'digits-cnn'"),
    ("run --model net.pth", "write file:net.pth@ARCHITECTURE"),
    ("run --model file:net.pth", "expected file:PATH@ARCHITECTURE"),
    ("run --model file:net.pt@digits-cnn", "Did you mean 'net.pth'?"),
    ("run --model file:net.pth@digits-cn", "Did you mean 'digits-cnn'"),
    ("run --dataset CIFAR10", "Did you mean 'cifar10'?"),
    ("run --dataset images.npz", "write npz:images.npz"),
    ("run --protocol Quick", "Did you mean 'quick'?"),
    ("run --protocol mine", "Did you mean 'mine.yaml'?"),
    ("run --protocol mien.yaml", "Did you mean 'mine.yaml'"),
    ("run --protocol mine.yaml", "no attack is called 'pdg'. Did you mean 'pgd'"),
    ("run --protocol argument.yaml", "attack 'pgd' takes no argument 'stpes'"),
    ("run --threat l2:1e400", "no number that can be used"),
    ("run --threat linff:8/255", "Did you mean 'linf:8/255'?"),
    ("run --device cdua:1", "Did you mean 'cuda:1'?"),
    ("run --device cuda:²", "expected auto, cpu, cuda or cuda:0"),
    ("run --samples 1e3", "expected a whole number from 1"),
    ("run --samples ٣", "expected a whole number from 1"),
    ("run --seed 9223372036854775808", "expected a whole number from 0 to 9223372036854775807"),
    ("run --workers 100000", "expected a whole number from 1 to 4096"),
    ("run --order nestd", "Did you mean 'nested'?"),
    ("run --data nowhere", "no folder"),
    ("estimate --defense apot", "Did you mean 'atop'?"),
    ("check apot", "Did you mean 'atop'?"),
    ("check gaussian --defense-arg sgima=1", "Did you mean 'sigma'?"),
    ("train --defense atop --recipe-arg stesp=3", "Did you mean 'steps'?"),
    ("train --defense atop --model digits-cnn --model digits-ml", "Did you mean 'digits-mlp'"),
    ("train --classifier Digits-CNN", "Did you mean 'digits-cnn'?"),
    ("selftest --device cdua", "Did you mean 'cuda'?"),
    ("challenge a.json b.npz --device cdua", "Did you mean 'cuda'?"),
    ("compare a b --tolerance nan", "expected a number from 0 to 100"),
    ("compare a b --gate wrost", "Did you mean 'worst'?"),
    ("table a --columns worts", "Did you mean 'worst' or 'worst-class'?"),
    ("list models --dataset CIFAR10", "Did you mean 'cifar10'?"),
    ("list defences", "Did you mean 'defenses'?"),
    ("rnu", "Did you mean 'run'?"),
]
SCRIPT = """
import contextlib, io, json, sys
from benchmark.cli.main import main

said = []
for words in json.load(sys.stdin):
    error = io.StringIO()
    with contextlib.redirect_stderr(error):
        status = main(words.split())
    said.append((status, error.getvalue(), "torch" in sys.modules))
json.dump(said, sys.stdout)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What one process says to each of the mistakes: status, standard error, whether torch was there."""
    folder = tmp_path_factory.mktemp("mistakes")
    (folder / "theirs.py").write_text(THEIRS)
    (folder / "net.pth").write_bytes(b"")
    protocol = PROTOCOL.replace("ATTACK", "pdg").replace("ARGUMENT", "steps")
    (folder / "mine.yaml").write_text(protocol)
    protocol = PROTOCOL.replace("ATTACK", "pgd").replace("ARGUMENT", "stpes")
    (folder / "argument.yaml").write_text(protocol)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps([words for words, _ in MISTAKES]),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip([words for words, _ in MISTAKES], json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("words", "expected"), MISTAKES, ids=[words[:60] for words, _ in MISTAKES])
def test_a_wrong_name_or_number_is_one_line_before_torch_is_started(said, words, expected):
    status, error, has_torch = said[words]
    assert expected in error
    assert status == 2
    assert error.startswith("bench: ")
    assert error.count("\n") == 1
    assert len(error) < 1000
    assert not has_torch


@pytest.mark.slow
def test_a_whole_run_uses_its_own_attacks_beside_somebody_elses(tmp_path):
    for name in ("attacks", "defenses", "yaml", "cloudpickle", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'{__file__} was imported')")
    protocol = PROTOCOL.replace("ATTACK", "pgd").replace("ARGUMENT", "steps")
    (tmp_path / "mine.yaml").write_text(protocol)
    words = "run --defense jpeg --protocol mine.yaml --device cpu --workers 2 --json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmark", *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    (entry,) = json.loads(done.stdout)
    assert entry["gaps"] == []

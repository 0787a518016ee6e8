"""Every command of an installed `bench`, as a user types them; run by that installation's own Python.

    PYTHON .ci/smoke.py          # all of them
    PYTHON .ci/smoke.py quick    # those that take a moment

Each runs in an empty folder elsewhere, without PYTHONPATH, weights or data. To add one, add a line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PLUGIN = '''
from benchmark import Defense, Derivative


class Blur(Defense):
    """A third party's purifier."""

    name = "blur"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, size: int = 3) -> None:
        self.size = size

    def purify(self, x, *, draws):
        from torch.nn.functional import avg_pool2d

        return avg_pool2d(x, self.size, stride=1, padding=self.size // 2)
'''
PROTOCOL = """
name: smoke
version: 1
summary: every kind of job in a moment
samples: 2
shard_size: 2
criterion: {draws: 2, vote: 1, any_of: 1}
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 2}}
  - {id: others, attack: pgd, against: surrogates, arguments: {steps: 2}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: transfer, column: transfer, knowledge: transfer, attack: transfer, sources: [others]}
  - {id: autoattack, column: autoattack, knowledge: white-box, attack: autoattack,
     gradients: [best], victims: deterministic}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact, bpda], eot: 2,
     arguments: {steps: 2}}
"""
ATOP = "--recipe-arg steps=4 --recipe-arg pretraining=2"
API = """
import benchmark
options = benchmark.Request(
    defense="gaussian", protocol="smoke.yaml", samples=2, device="cpu", workers=1)
for _ in range(2):
    entry = benchmark.evaluate("gaussian", dataset="digits", options=options)
print("worst", entry.worst.single.value, entry.status)
"""
ZOO = """
from benchmark.classifiers.zoo import robustbench_module
robustbench_module("robustbench.utils")
import robustbench
print("robustbench", len(robustbench.model_zoo.model_dicts))
"""


@dataclass(frozen=True, slots=True)
class Smoke:
    """A command, what its output must hold, and the status it must end with."""

    words: list[str]
    expected: str
    status: int = 0


def _bench(line: str, expected: str, status: int = 0) -> Smoke:
    return Smoke(
        [str(Path(sysconfig.get_path("scripts")) / "bench"), *line.split()], expected, status
    )


def _python(code: str, expected: str) -> Smoke:
    return Smoke([sys.executable, "-c", code], expected)


RUN = "run --protocol smoke.yaml --device cpu"
COMMANDS = [
    _bench("--version", "version"),
    _bench("--help", "First steps"),
    _bench("list defenses", "atop"),
    _bench("list attacks", "autoattack"),
    _bench("list models", "Gowal2021"),
    _bench("list datasets --json", "npz:FILE"),
    _bench("list protocols", "standard"),
    _bench("list folders", "cache"),
    _bench("run --defense atp", "Did you mean 'atop'", 2),
    _bench("check my_pkg:Blur", "13 passed, 0 failed"),
    _bench(f"{RUN} --defense none --workers 2", "digits-cnn alone"),
    _bench(f"{RUN} --defense none --model Gowal2021 --offline", "offline", 2),
    _bench("validate results", "ok"),
    _bench("adopt results --into leaderboards", "Written"),
    _bench("publish leaderboards", "Written: site/index.html"),
    _python(API, "complete"),
    _python(ZOO, "robustbench"),
]
"""What `.ci/run` tries."""
MORE = [
    _bench(f"{RUN} --defense jpeg --order robustbench --slice 1/1 --workers 1", "Assemble with"),
    _bench(
        f"{RUN} --defense mean(jpeg>digits-cnn,none>digits-mlp) --classes 7,8 --workers 1",
        "mean(digits-cnn, digits-mlp)",
    ),
    _bench("estimate --protocol smoke.yaml --device cpu --defense none", "pgd"),
    _bench(f"{RUN} --defense atop --workers 1 --json", '"status": "complete"'),
    _bench(f"train --defense atop {ATOP} --out atop.safetensors", "Written"),
    _bench(
        f"{RUN} --defense my_pkg:Blur+gaussian --defense-arg my_pkg:Blur.size=1 --json", "complete"
    ),
    _bench(f"{RUN} --defense atop --weights atop.safetensors --samples 1", "atop[digits]"),
    _bench("train --classifier digits-mlp --out mlp.safetensors", "Written"),
    _bench(f"{RUN} --defense none --model file:mlp.safetensors@digits-mlp", "mlp@digits-mlp"),
    _bench("selftest --device cpu", "0 failed"),
]
"""What takes longer, and says less about a wheel."""


def main() -> int:
    """Runs all of them; returns how many went wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "my_pkg.py").write_text(PLUGIN)
        (folder / "smoke.yaml").write_text(PROTOCOL)
        chosen = COMMANDS if sys.argv[1:] == ["quick"] else COMMANDS + MORE
        failures = sum(not _succeeds(smoke, folder) for smoke in chosen)
        failures += not _is_from_elsewhere(folder)
    _say(f"{len(chosen) + 1 - failures} passed, {failures} failed")
    return 1 if failures else 0


def _succeeds(smoke: Smoke, folder: Path) -> bool:
    began = time.monotonic()
    done = _run(smoke.words, folder)
    said = done.stdout + done.stderr
    is_good = done.returncode == smoke.status and smoke.expected in said
    is_good = is_good and "Traceback" not in said and "Warning" not in said
    shown = " ".join(smoke.words[1:]).split("\n")[0] or "python -c"
    _say(f"{'ok  ' if is_good else 'FAIL'} {time.monotonic() - began:5.1f} s  {shown[:90]}")
    if not is_good:
        _say(
            f"expected status {smoke.status} and {smoke.expected!r}; got {done.returncode}:\n{said}"
        )
    return is_good


def _is_from_elsewhere(folder: Path) -> bool:
    """Whether what was tried is the installed wheel, and it brought no tests."""
    code = (
        "import benchmark, json; from importlib.metadata import files; "
        "print(json.dumps([benchmark.__file__, [str(file) for file in files('purifybench')]]))"
    )
    file, members = json.loads(_run([sys.executable, "-c", code], folder).stdout)
    is_good = Path(file).is_relative_to(Path(sysconfig.get_path("purelib"))) and not [
        name for name in members if name.startswith("tests/")
    ]
    _say(f"{'ok  ' if is_good else 'FAIL'}   benchmark is {file}")
    return is_good


def _run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    left_out = ("PYTHONPATH", "BENCH_DATA", "BENCH_WEIGHTS", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    caches = {"XDG_CACHE_HOME": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        words,
        cwd=folder,
        env=kept | caches,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Keys of jobs without running any: a request prepared and planned, here or by a fresh Python."""

import importlib
import subprocess
import sys
from pathlib import Path

from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.probing import probe
from benchmark.evaluation.prepare.request import Request
from benchmark.records.protocol_files import parse_protocol

TINY = """
name: keyed
version: 1
summary: one attack
samples: 2
criterion: {draws: 1, vote: 1, any_of: 1}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [best], arguments: {steps: 1}}
"""


def key_of(defense="none", **options):
    """The key of the attack of a tiny protocol."""
    options = {"protocol": parse_protocol(TINY.encode(), where="x"), "device": "cpu", **options}
    ready = probe(prepare(Request(defense=defense, **options)))
    rows, _ = make_plan(ready)
    return rows[-1].job.key


def forget(*names):
    """Lets the next import of modules read their files again, as a new process would."""
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            del sys.modules[name]
    importlib.invalidate_caches()


def said_by(script, *arguments, **variables):
    """What a script writes, in a process of its own, as one line."""
    words = [sys.executable, str(script), *map(str, arguments)]
    root = str(Path(__file__).parents[2])
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": root, **variables}
    done = subprocess.run(
        words, capture_output=True, text=True, env=env, check=False, cwd=Path(script).parent
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()

"""EOT in one batch, workers, and how fast the command line starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch

from benchmark.compute.determinism import hardware
from benchmark.engine.attacking.losses import LOSSES
from benchmark.engine.attacking.search import untargeted
from benchmark.engine.attacking.target import Ascent, Target
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.request import Request
from tests.speed.subjects import natural
from tests.speed.timing import Comparison, Sizes, compare

ROOT = Path(__file__).parents[2]
PROTOCOL = """
name: speed
version: 1
summary: one attack, in shards enough for two workers
samples: {samples}
shard_size: {shard}
attacks:
  - {{id: clean, column: clean, knowledge: oblivious, attack: clean}}
  - {{id: apgd, column: adaptive, knowledge: white-box, attack: apgd, gradients: [best], eot: {eot},
     arguments: {{steps: {steps}}}}}
"""


def eot(sizes: Sizes) -> Iterator[Comparison]:
    """(d) draws of a gradient in one batch, against as many passes with one draw of each image."""
    it = natural(Sizes(images=min(16, sizes.images)))
    victim = prepare(Request(defense="atop", dataset="digits", device="cpu")).victim
    n = len(it.x)
    gradients: dict[str, Ascent] = {}

    def ascend(name: str, rows: int) -> Callable[[], None]:
        def run() -> None:
            target = Target(victim, classes=10, eot=sizes.eot, batch_size=rows)
            objective = untargeted(target, it.y, LOSSES["margin"])
            gradients[name] = target.ascend(it.x, objective, draws=it.draws)

        return run

    variants = {"one by one": ascend("alone", n), "one batch": ascend("batch", n * sizes.eot)}
    title = f"gradient over {sizes.eot} draws, {n} images, atop[digits]"
    found = compare(title, variants, sizes)
    apart = (gradients["batch"].gradient - gradients["alone"].gradient).abs().max()
    found.notes.append(
        f"gradients differ by {float(apart / gradients['alone'].gradient.abs().max()):.0e} of the largest"
    )
    yield found


def workers(sizes: Sizes) -> Iterator[Comparison]:
    """(e) a whole `bench run`, start included, with two workers against one."""
    samples = sizes.images
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        protocol = folder / "speed.yaml"
        protocol.write_text(
            PROTOCOL.format(
                samples=samples,
                shard=max(1, samples // 6),
                eot=sizes.eot,
                steps=sizes.steps,
            )
        )

        def bench(count: int) -> Callable[[], None]:
            def run() -> None:
                shutil.rmtree(folder / "runs", ignore_errors=True)
                words = ["run", "--defense", "atop", "--dataset", "digits", "--device", "cpu"]
                words += ["--protocol", str(protocol), "--runs", str(folder / "runs")]
                words += ["--results", str(folder / "boards"), "--workers", str(count)]
                _python("-m", "benchmark", *words)

            return run

        title = f"bench run, APGD over {sizes.eot} draws, {samples} images, atop[digits]"
        on_the_wall = replace(sizes, clock=time.perf_counter)  # workers save no seconds of the CPU
        yield compare(title, {"1 worker": bench(1), "2 workers": bench(2)}, on_the_wall)


def startup(sizes: Sizes) -> Iterator[Comparison]:
    """(f) `bench list`, and an import of torch, against an empty Python."""
    variants = {
        "python -c pass": lambda: _python("-c", "pass"),
        "bench list defenses": lambda: _python("-m", "benchmark", "list", "defenses"),
        'python -c "import torch"': lambda: _python("-c", "import torch"),
    }
    yield compare("start-up", variants, sizes)


def _python(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, capture_output=True)


def machine() -> str:
    """What is timed on, in words."""
    threads = torch.get_num_threads()
    return f"{hardware(torch.device('cpu'))}, {threads} thread(s), torch {torch.__version__}"

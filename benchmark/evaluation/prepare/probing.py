"""Probes: victim and classifiers shown a few clean images, so that a broken one is known before an attack."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmark.contract import conduct
from benchmark.contract.ask import Examinee
from benchmark.contract.probe import NOBODYS
from benchmark.engine.dataset import images_of, indices_of
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.acceptance import conduct_of, shown
from benchmark.engine.victims.defense import Derivative
from benchmark.engine.victims.victim import GradientMode
from benchmark.evaluation.prepare.prepare import Prepared, bare_classifiers, bench_of, dtype_of
from benchmark.identity.identity import sha256_of_words

PROBED = 4
"""Clean images that a victim is shown before a run begins."""


def probe(ready: Prepared) -> Prepared:
    """The same, behaving as victim and classifiers answer a few clean images: a random victim is asked as one.

    Raises:
        BenchError: A plugin breaks its contract, or images and classifier do not fit each other.
    """
    order = (*ready.order, *indices_of(ready.dataset, "test", ready.request.order))
    indices = torch.tensor(order[:PROBED])
    x = images_of(ready.dataset, "test", indices).to(ready.device, dtype_of(ready.request))
    nobody = NOBODYS + torch.arange(len(x), device=x.device)
    draws = Draws.of(ready.request.seed, nobody, "probe")
    bpda = (GradientMode.BPDA,)  # the exact mode only where a gradient is declared
    modes = bpda if ready.gradient is Derivative.NONE else (GradientMode.EXACT, *bpda)
    found = {each.name: conduct_of(each, x, ready.dataset) for each in bare_classifiers(ready)}
    what = f"defense {ready.label!r} with classifier {ready.classifier.name!r}"
    with ready.watched() as opened, shown(what, x, ready.dataset):
        own, measured = conduct.examine(
            Examinee(
                victim=ready.victim,
                what=what,
                x=x,
                draws=draws,
                modes=modes,
                batch=bench_of(ready).batch_size,
                classes=ready.dataset.classes,
                made=ready.made,
            )
        )
    files = opened.hashes()  # what the victim read when it was shown its first images
    ready = replace(ready, victim_sha256=sha256_of_words(ready.victim_sha256, *files))
    return ready.behaving(found | {"": own}, measured)

"""AutoAttack: the field's own package, unchanged, in a process of its own."""

from __future__ import annotations

from torch import Tensor

from attacks.autoattack_process import Order, evaluate
from benchmark.attack import Attack
from benchmark.errors import BenchError
from benchmark.isolation import call_alone
from benchmark.randomness import Draws
from benchmark.target import Target
from benchmark.threat import Threat

CLASSES_NEEDED = {"standard": 4, "plus": 4, "rand": 3}
"""Targeted DLR needs 4, DLR 3."""


class AutoAttack(Attack):
    """pyautoattack 0.2.0 (Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020).

    It sees the victim by the target's gradient mode. Its checks count in module globals and it reseeds torch's
    global generator for every batch, so it runs in a process of its own. It judges a stochastic victim by the
    last draw alone, and gives back the clean image where it thinks that it failed. Its warnings become the
    target's.

    Args:
        version: `auto` (`standard` for a deterministic victim, `rand` for a stochastic one), or one of
            `standard`, `plus` and `rand`.
    """

    name = "autoattack"
    min_classes = 3
    per_image = False
    summary = "pyautoattack, unchanged, in its own process (Croce and Hein 2020)"

    def __init__(self, *, version: str = "auto") -> None:
        self.version = version

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`.

        Raises:
            BenchError: There is no such version, it needs more classes, or the victim broke its contract.
            RuntimeError: Its process died.
        """
        version = self.version
        if version == "auto":
            version = "rand" if target.victim.stochastic else "standard"
        if version not in CLASSES_NEEDED:
            raise BenchError(
                f"attack {self.name!r} has the versions auto, {', '.join(CLASSES_NEEDED)}; got {version!r}"
            )
        if target.classes < CLASSES_NEEDED[version]:
            raise BenchError(
                f"attack {self.name!r}, version {version!r}, needs at least "
                f"{CLASSES_NEEDED[version]} classes; this task has {target.classes}: leave it out"
            )
        order = Order(
            victim=target.victim,
            mode=target.mode,
            classes=target.classes,
            x=x,
            y=y,
            threat=threat,
            version=version,
            batch_size=min(target.batch_size, len(x)),
            seed=int(draws.at("autoattack").words(1).sum()) % 2**31,
        )
        report = call_alone(evaluate, order)
        target.forwards += report.forwards
        target.backwards += report.backwards
        target.warnings.extend(report.warnings)
        target.mark(report.correct)
        return report.x_adv

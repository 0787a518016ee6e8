"""AutoAttack: the field's own package, unchanged, in a process of its own."""

from __future__ import annotations

import logging
import sys
import warnings
from dataclasses import dataclass
from logging.handlers import BufferingHandler

import pyautoattack
from torch import Tensor

from benchmark.engine.attacking.attack import Attack, Passes
from benchmark.engine.attacking.external import (
    NORMS,
    TARGETS,
    AutoAttackCall,
    AutoAttackReport,
    CountedVictim,
    passes_of_fab,
    passes_of_square,
)
from benchmark.engine.attacking.own_process import call_alone
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError

_CLASSES_NEEDED = {"standard": 4, "plus": 4, "rand": 3}
"""By version."""
_STEPS, _QUERIES, _EOT, _RESTARTS = 100, 5000, 20, 5
"""Upstream's: steps of APGD and FAB, queries of Square, draws of `rand`, restarts of `plus`."""
_OURS = "does not have a deterministic implementation"
"""What torch says of a GPU's kernel, because the harness asked for deterministic ones."""


@dataclass(kw_only=True, eq=False, repr=False)
class AutoAttack(Attack):
    """pyautoattack 0.2.0 (Croce and Hein, "Reliable evaluation of adversarial robustness", ICML 2020).

    It sees the victim by the target's gradient mode. Its checks count in module globals and it reseeds torch's
    global generator for every batch, so it runs in a process of its own. It judges a stochastic victim by the
    last draw alone, and gives back the clean image where it thinks that it failed. Its warnings become the
    target's. It always runs in float32. Its batch is part of its result, so that where memory runs out not the
    batch is cut, but the passes through the victim (`benchmark.engine.attacking.external`); what is computed
    again for that is not counted.

    Args:
        version: `auto` (`standard` for a deterministic victim, `rand` for a stochastic one), or one of
            `standard`, `plus` and `rand`.
    """

    name = "autoattack"
    per_image = False
    mixes = False

    version: str = "auto"

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """One image for each, `(b, c, h, w)`.

        Raises:
            BenchError: There is no such version, or the victim broke its contract.
            RuntimeError: Its process died.
        """
        version = self._version(stochastic=target.victim.stochastic)
        if version not in _CLASSES_NEEDED:
            raise BenchError(
                f"attack {self.name!r} has the versions auto, {', '.join(_CLASSES_NEEDED)}; got {version!r}"
            )
        order = AutoAttackCall.of(target, x, y, threat=threat, draws=draws.at("autoattack"))
        report = call_alone(self._evaluate, order)
        report.count_in(target)
        target.mark(float((~report.fooled).double().mean()))
        return report.x_adv

    def least_classes(self, *, stochastic: bool) -> int:
        """Those of its version: targeted DLR needs 4, the DLR of `rand` 3."""
        return _CLASSES_NEEDED.get(self._version(stochastic=stochastic), 2)

    def passes(self, *, classes: int, stochastic: bool, **_: object) -> Passes:
        """Its checks, then each of its attacks with the prediction that judges it."""
        version = self._version(stochastic=stochastic)
        targets, run = min(TARGETS, classes - 1), _STEPS + 1
        fab = passes_of_fab(steps=_STEPS, targets=targets)
        square = passes_of_square(queries=_QUERIES)
        targeted = (1 + targets * (1 + run), targets * run)
        if version == "rand":
            checks, parts = 3, [(1 + run * _EOT, run * _EOT)] * 2
        else:
            checks, parts = 8, [(fab.forwards, fab.backwards), (square.forwards, 0), targeted]
            if version == "plus":
                parts += [(1 + _RESTARTS * run, _RESTARTS * run)] * 2
                looks = _RESTARTS * _STEPS  # FAB's gradient of every logit
                parts += [(1 + 2 * _RESTARTS + 2 * looks, looks * classes)]
            else:
                parts += [(1 + run, run)]
        return Passes(
            forwards=checks + sum(f + 1 for f, _ in parts), backwards=sum(b for _, b in parts)
        )

    def _version(self, *, stochastic: bool) -> str:
        if self.version != "auto":
            return self.version
        return "rand" if stochastic else "standard"

    def _evaluate(self, order: AutoAttackCall) -> AutoAttackReport:
        """What AutoAttack's own process does."""
        victim, log = CountedVictim(order), BufferingHandler(sys.maxsize)
        logger = logging.getLogger("auto-attack")
        log.setLevel(logging.WARNING)
        logger.addHandler(log)
        logger.propagate = False
        upstream = pyautoattack.AutoAttack(
            victim,
            norm=NORMS[order.threat.norm],
            eps=order.threat.eps,
            version=self._version(stochastic=order.victim.stochastic),
            device=order.x.device,
            seed=order.seed,
        )
        upstream.verbose = False
        targets = min(TARGETS, order.classes - 1)
        upstream.apgd_targeted.n_target_classes = targets
        upstream.fab.n_target_classes = targets
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            x_adv, y_adv = upstream.run_standard_evaluation(
                order.x.float(), order.y, batch_size=order.batch_size
            )
        said = [*(r.getMessage() for r in log.buffer), *(str(w.message) for w in caught)]
        upstreams = tuple(text for text in dict.fromkeys(said) if _OURS not in text)
        return victim.report(x_adv, y_adv != order.y, upstreams)

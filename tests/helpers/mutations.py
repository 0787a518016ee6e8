"""What both tests of mutations share: the kinds of search that are mutated, and a mutation of all draws."""

from __future__ import annotations

import pytest
import torch

from attacks.apgd import APGD
from attacks.auxiliary import AuxiliaryAware
from attacks.fgsm import FGSM
from attacks.pgd import PGD
from benchmark.engine.randomness import Draws

KINDS = {"fgsm": FGSM, "pgd": PGD, "apgd": APGD, "auxiliary": AuxiliaryAware}


def draws_reused_across_rows(patch: pytest.MonkeyPatch) -> None:
    def repeat(draws: Draws, n: int) -> Draws:
        again = torch.arange(len(draws)).repeat_interleave(n)
        return draws.take(again)

    patch.setattr(Draws, "repeat", repeat)

"""The attack that shows a victim what was made on other classifiers."""

from __future__ import annotations

from torch import Tensor

from benchmark.engine.attacking.attack import EVERY_SET, Attack, Passes
from benchmark.engine.attacking.target import Target
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.errors import BenchError, ContractBroken


class Transfer(Attack):
    """Images of other jobs as candidates (Papernot et al., "Transferability in machine learning", 2016).

    It asks the victim nothing; which images it shows is the business of the jobs that it names.
    """

    name = "transfer"
    mixes = False
    norms = EVERY_SET

    def perturb(
        self, target: Target, x: Tensor, y: Tensor, *, threat: Threat, draws: Draws
    ) -> Tensor:
        """The target's sources, `(b, m, c, h, w)`.

        Raises:
            BenchError: There are none.
            ContractBroken: They are not of the images' shape.
        """
        del y, threat, draws
        sources = target.sources
        if sources is None:
            raise BenchError(
                f"attack {self.name!r} expected images of other jobs, got none: name the jobs that "
                f"make them as its sources"
            )
        if sources.ndim != 5 or len(sources) != len(x) or sources.shape[2:] != x.shape[1:]:
            raise ContractBroken(
                f"attack {self.name!r} got sources of shape {tuple(sources.shape)} for images of shape "
                f"{tuple(x.shape)}; they must be (b, m, c, h, w) of the same images"
            )
        return sources.to(device=x.device, dtype=x.dtype)

    def passes(self, **_: object) -> Passes:
        """None: it asks nothing. Its candidates are those of the jobs that it names."""
        return Passes(forwards=0, backwards=0)

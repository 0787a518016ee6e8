"""Fingerprints: what a victim makes of a few fixed images, and how that differs from what it made before."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import safetensors.torch
import torch
from torch import Tensor

from benchmark.compute.memory import BatchLimit
from benchmark.compute.sandbox import exits_raised, fresh_global_state, one_line, sandboxed
from benchmark.contract.probe import NOBODYS, USUAL, ball_of
from benchmark.engine.dataset import Dataset, Split, images_of, indices_of, labels_of, pixels_sha256
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Threat
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode, Victim
from benchmark.errors import BenchError
from benchmark.files.parsing import DAMAGED

SCHEMA = 1
"""Raised whenever other things are asked, or in another way: fingerprints from before are then incomparable."""
IMAGES = 32
"""The first of the dataset's own order, in which classes take turns; each clean, and at the budget's edge."""
DIRECTIONS = 4
"""Fixed random directions in which a row that is too long to be kept is projected."""
KEPT = 4096
"""Numbers of a purified image that are kept as they are; of a larger one norm and projections are."""
MOVED = 1e-3
"""Share of a part's range by which other hardware moves no row but those where something jumps."""
JUMPED = 0.25
"""Share of rows that may jump on other hardware (of AID-Purifier 6 of 64 do, by up to 4.8 logits)."""
LEAST = 1e-2
"""The range of a part that hardly has one, such as the loss of a purifier that changes nothing."""
_SAID = ("environment", "images", "missing", "unrepeatable")
"""What a file of a fingerprint says beside its parts."""
_GRADIENTS = " gradients"

Parts = Mapping[str, Tensor]
"""For each thing that was asked, in the order in which one follows from the other, its rows `(r, n)`."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The images that a fingerprint is taken of.

    They hang on the dataset alone, on no run: all runs of a victim ask it the same.

    Args:
        x: Images `(r, c, h, w)`: clean ones, then the same with random signs (or a random direction) at the
            budget's edge, that of the dataset's own threat where it is an lp ball.
        y: Their labels, `(r,)`.
        draws: Of the r rows, at a place of their own.
    """

    x: Tensor
    y: Tensor
    draws: Draws

    @classmethod
    def of(cls, dataset: Dataset, split: Split, device: torch.device, dtype: torch.dtype) -> Probe:
        """The probe of a dataset's split.

        Raises:
            BenchError: Its files are missing or damaged.
        """
        indices = torch.tensor(indices_of(dataset, split, "nested")[:IMAGES])
        clean = images_of(dataset, split, indices).to(device, dtype)
        y = labels_of(dataset, split)[indices].to(device)
        draws = Draws.of(0, indices.to(device) + NOBODYS, "fingerprint")
        budget = ball_of(Threat.parse(dataset.threat)) if dataset.threat else USUAL
        signs = draws.at("signs").normal(tuple(clean.shape[1:]), dtype=dtype)
        edge = budget.project(clean, clean + budget.eps * budget.direction(signs))
        both = Draws(0, draws.images.repeat(2), torch.arange(2 * len(y), device=device), draws.path)
        return cls(torch.cat((clean, edge)), y.repeat(2), both)

    @property
    def sha256(self) -> str:
        """Of pixels and labels, hex."""
        return pixels_sha256(self.x, self.y.tolist())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What a victim made of a probe.

    Args:
        environment: Versions and hardware that it was taken with.
        images: sha256 of the probe.
        parts: What was asked, as far as there was an answer.
        missing: Why there was none to the rest.
        unrepeatable: Parts that came out otherwise when asked again at once; nothing is held against them.
    """

    environment: Mapping[str, str]
    images: str
    parts: Parts
    missing: Mapping[str, str]
    unrepeatable: Sequence[str] = ()

    def to_bytes(self) -> bytes:
        """A safetensors file of the parts that can be repeated, the rest as its metadata; no time, no place."""
        kept = {name: t for name, t in self.parts.items() if name not in self.unrepeatable}
        about = {name: getattr(self, name) for name in _SAID} | {
            "schema": SCHEMA,
            "order": list(kept),
        }
        return safetensors.torch.save(kept, {"fingerprint": json.dumps(about, sort_keys=True)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Fingerprint:
        """The fingerprint read back.

        Raises:
            BenchError: It is none, or one of another schema.
        """
        try:
            size = int.from_bytes(content[:8], "little")
            about = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["fingerprint"])
            tensors = safetensors.torch.load(content)
            if about["schema"] != SCHEMA:
                raise BenchError(f"it is of schema {about['schema']!r}, not {SCHEMA}")
            parts = {name: tensors[name] for name in about["order"]}
            return cls(parts=parts, **{name: about[name] for name in _SAID})
        except DAMAGED as error:
            raise BenchError(f"it is no fingerprint ({type(error).__name__})") from error


def take(
    victim: Victim, probe: Probe, modes: Collection[GradientMode], environment: Mapping[str, str]
) -> Fingerprint:
    """Asks a victim twice; nothing that it raises comes through.

    Args:
        victim: Prepared.
        probe: What it is asked.
        modes: The gradient modes in which it is attacked.
        environment: Versions and hardware that compute here.
    """
    room = BatchLimit(len(probe.x))  # one batch, unless there is no memory for it
    asked = {
        "purified images": partial(_purified, victim),
        "logits": partial(_logits, victim),
        "auxiliary losses": partial(_auxiliary, victim),
        **{f"{mode}{_GRADIENTS}": partial(_gradients, victim, mode) for mode in sorted(modes)},
    }
    (parts, missing), (again, _) = (_answers(asked, probe, room) for _ in range(2))
    cut = {} if room.rows == len(probe.x) else {"rows of a fingerprint": str(room.rows)}
    return Fingerprint(
        environment={**environment, **cut},
        images=probe.sha256,
        parts=parts,
        missing=missing,
        unrepeatable=tuple(
            name for name, t in parts.items() if name not in again or _moved(t, again[name]).any()
        ),
    )


_Question = Callable[[Tensor, Tensor, Draws], Tensor]
"""`(x, y, draws)` of some rows to an answer `(r, n)`."""


def _answers(
    asked: Mapping[str, _Question], probe: Probe, room: BatchLimit
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The answers, and why there is none; each as if nothing had been asked before."""
    parts: dict[str, Tensor] = {}
    missing: dict[str, str] = {}

    def one_pass(question: _Question, which: Tensor) -> Tensor:
        found = question(probe.x[which], probe.y[which], probe.draws.take(which))
        return found.detach().reshape(len(which), -1).cpu()

    for name, question in asked.items():
        try:
            with (
                exits_raised(),
                sandboxed(name, lambda _, error: BenchError(one_line(error))),
                fresh_global_state("fingerprint", name),
            ):
                passes = room.passes(len(probe.x), partial(one_pass, question), probe.x.device)
                parts[name] = torch.cat([found for _, found in passes]).contiguous()
        except BenchError as error:
            missing[name] = str(error)
    return parts, missing


def _purified(victim: Victim, x: Tensor, _y: Tensor, draws: Draws) -> Tensor:
    """What each stage of each chain inside puts out."""
    chains = [part for part in victim.modules() if isinstance(part, Purified) and part.defenses]
    with torch.no_grad():
        found = [
            image
            for i, chain in enumerate(chains)
            for image in chain.stages(x, draws=draws.at("chain", i), mode=GradientMode.EXACT)
        ]
    wide = torch.cat([image.flatten(1) for image in found], 1) if found else x.new_zeros(len(x), 0)
    return wide if wide.shape[1] <= KEPT else _summary(wide)


def _logits(victim: Victim, x: Tensor, _y: Tensor, draws: Draws) -> Tensor:
    with torch.no_grad():
        return victim.logits(x, draws=draws, mode=GradientMode.EXACT)


def _auxiliary(victim: Victim, x: Tensor, _y: Tensor, draws: Draws) -> Tensor:
    with torch.enable_grad():  # a loss may differentiate inside
        return victim.auxiliary_loss(x, draws=draws, mode=GradientMode.EXACT)


def _gradients(victim: Victim, mode: GradientMode, x: Tensor, y: Tensor, draws: Draws) -> Tensor:
    """Norm and projections of the gradient of a margin that has no corners."""
    leaf, own = x.detach().requires_grad_(), y[:, None]
    with torch.enable_grad():
        logits = victim.logits(leaf, draws=draws, mode=mode)
        others = logits.scatter(1, own, -torch.inf).logsumexp(1)
        margin = logits.gather(1, own)[:, 0] - others
        (gradient,) = torch.autograd.grad(margin.sum(), leaf)
    return _summary(gradient.flatten(1))


def _summary(rows: Tensor) -> Tensor:
    """Norm and fixed projections of rows `(r, n)`, in float64: `(r, 1 + DIRECTIONS)`."""
    one = torch.zeros(1, dtype=torch.int64, device=rows.device)
    wide, draws = rows.double(), Draws.of(0, one, "fingerprint", "direction")
    directions = [
        draws.at(i).normal((rows.shape[1],), dtype=wide.dtype)[0] for i in range(DIRECTIONS)
    ]
    return torch.stack([wide.norm(dim=1), *((wide * d).sum(1) for d in directions)], 1)


def difference(before: Fingerprint, now: Fingerprint) -> str:
    """What contradicts the belief that two fingerprints are of one victim; empty where nothing does.

    Within one environment any difference does. Between two, other kernels round otherwise, and what jumps (a
    sign, a comparison) jumps in some rows: over a quarter of them must have moved by a thousandth of the range.
    Gradients jump wherever a ReLU does (AdvAE's by 2 % in 29 of 64 rows): between two they say nothing.

    Args:
        before: Read back, so that it has no part that could not be repeated.
        now: Of the victim as it is here.
    """
    if before.images != now.images:
        return "the images of fingerprints are others"
    is_here = before.environment == now.environment
    for name, then in before.parts.items():
        is_exact = is_here and name not in now.unrepeatable
        if name in now.missing:
            return f"there were {name}, and now there are none ({now.missing[name]})"
        if name not in now.parts or (name.endswith(_GRADIENTS) and not is_exact):
            continue
        if found := _apart(name, then, now.parts[name], is_exact=is_exact):
            return found
    return ""


def _apart(name: str, before: Tensor, now: Tensor, *, is_exact: bool) -> str:
    """How rows differ, in words; empty where they do not, or by no more than other hardware explains."""
    if before.shape != now.shape:
        return f"{name} are of shape {tuple(now.shape)} instead of {tuple(before.shape)}"
    moved = _moved(before, now)
    finite = before[before.isfinite()].double()
    spread = max(LEAST, float(finite.max() - finite.min()) if finite.numel() else 0.0)
    beyond = moved > (0.0 if is_exact else MOVED * spread)
    if int(beyond.sum()) <= (0.0 if is_exact else JUMPED * len(moved)):
        return ""
    return (
        f"{name} differ in {int(beyond.sum())} of {len(moved)} rows (most {float(moved.max()):.2g})"
    )


def _moved(a: Tensor, b: Tensor) -> Tensor:
    """The largest difference of each row of `(r, n)`, `(r,)`; NaN is NaN's equal and nothing else's."""
    if a.shape != b.shape:
        return torch.full((len(a),), torch.inf)
    if not a.shape[1]:
        return torch.zeros(len(a))
    is_same = (a == b) | (a.isnan() & b.isnan())
    gap = (a.double() - b.double()).abs().nan_to_num(torch.inf, torch.inf)
    return torch.where(is_same, 0.0, gap).amax(1)

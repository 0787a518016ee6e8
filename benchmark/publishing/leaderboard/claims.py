"""Claims: what papers report, beside what was measured under the same classifier, images, threat; no torch."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from benchmark.engine.threat import Threat
from benchmark.errors import BenchError
from benchmark.identity.content_names import without_content
from benchmark.publishing.leaderboard.columns import FIGURES
from benchmark.publishing.leaderboard.footnotes import assigned
from benchmark.publishing.leaderboard.ranking import Line
from benchmark.records.entry import Entry

FILE = "claims.csv"
SYSTEMS: Mapping[str, str] = {
    "aid": "AID-Purifier",
    "atop": "AToP",
    "hgd": "HGD",
    "advae": "AdvAE",
    "add": "ADD-Defense",
}
"""The paper whose tables speak of a defense, by its name here."""
LABELS: Mapping[tuple[str, str], str] = {
    ("AID-Purifier", "AID-Purifier"): "aid",
    ("AID-Purifier", "AID"): "aid",
    ("AID-Purifier", "none"): "none",
    ("AToP", "AToP RT2 GAN"): "atop",
    ("AToP", "RT2+AToP GAN"): "atop",
    ("AToP", "RT1+AToP GAN"): "atop(transform=rt1)",
    ("AToP", "RT3+AToP GAN"): "atop(transform=rt3)",
    ("AToP", "RT1 GAN"): "atop(transform=rt1, tuned=False)",
    ("AToP", "RT2 GAN"): "atop(tuned=False)",
    ("AToP", "RT3 GAN"): "atop(transform=rt3, tuned=False)",
    ("AToP", "DMAE + AToP"): "atop-mae",
    ("AToP", "Trust-no-pixel (Ughini2022)"): "trust-no-pixel",
    ("AToP", "none (standard)"): "none",
    ("HGD", "LGD"): "hgd",
    ("HGD", "DUNET"): "hgd(loss=pgd)",
    ("HGD", "DAE"): "hgd(loss=pgd, network=dae)",
    ("HGD", "DUNET pixel (PGD)"): "hgd(loss=pgd)",
    ("HGD", "DAE pixel"): "hgd(loss=pgd, network=dae)",
    ("HGD", "FGD"): "hgd(loss=fgd)",
    ("HGD", "CGD"): "hgd(loss=cgd)",
    ("HGD", "NA"): "none",
    ("AdvAE", "AdvAE"): "advae",
    ("AdvAE", "No def"): "none",
    ("ADD-Defense", "ADD-Defense"): "add",
    ("ADD-Defense", "ADD-Defense-S"): "add-s",
    ("ADD-Defense", "No defense"): "none",
}
"""What a paper's row is called here, by paper and row."""
DATASETS: Mapping[str, str] = {"tinyimagenet": "tiny_imagenet", "fashion-mnist": "fashion_mnist"}
"""Names of datasets that differ from those here."""
CLASSIFIERS: Mapping[tuple[str, str], str] = {
    ("AdvAE", "CNN-X"): "mnist-x",
    ("AdvAE", "ResNetV2-29"): "cifar-resnetv2-29",
}
"""A paper's classifiers that are here, as the paper describes them."""
REASONS: Mapping[str, str] = {
    "AID-Purifier": "the weights of its four WRN-34-10 are not published",
    "AToP": "its classifiers, and its budgets, are those of images enlarged to 256 x 256",
    "HGD": "its 10,000 images of ImageNet, at 299 x 299, are not published",
    "ADD-Defense": "the weights of its classifiers are not published",
}
"""Why a paper's classifiers are not here, where none of them is."""
_TRANSFER = re.compile(r"train/test=([XABCD]+)/([XABCD])")


@dataclass(frozen=True, slots=True)
class Claim:
    """One number of a paper, as its table has it.

    Args:
        system: The paper.
        table: Its table or section.
        dataset: The paper's name for the images.
        classifier: Likewise.
        defense: The row of the table.
        attack: The column.
        norm: Of the attack; empty on clean images.
        eps: Its budget, as written.
        steps: Its steps, as written.
        threat: What the attacker knew, as written or inferred.
        metric: What the number is.
        value: The number, as written.
    """

    system: str
    table: str
    dataset: str
    classifier: str
    defense: str
    attack: str
    norm: str
    eps: str
    steps: str
    threat: str
    metric: str
    value: str

    @property
    def accuracy(self) -> float | None:
        """The number as a share in [0, 1]; None where it is no accuracy."""
        scale = {"acc%": 100.0, "acc (0-1)": 1.0}.get(self.metric)
        try:
            found = float(self.value) / scale if scale else math.nan
        except ValueError:
            return None
        return found if 0 <= found <= 1 else None

    @property
    def is_clean(self) -> bool:
        """Whether it speaks of images that nobody attacked."""
        return self.attack in ("none", "clean")


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedClaim:
    """A claim with what stands beside it.

    Args:
        claim: The claim.
        entry: What was measured under the same classifier, images and threat; None where nothing was.
        reason: Why not; empty where there is an entry.
        command: What would measure it, where only that is lacking; else empty.
    """

    claim: Claim
    entry: Entry | None = None
    reason: str = ""
    command: str = ""

    @property
    def measured(self) -> dict[str, float | None]:
        """Measured accuracies, single draws: clean, oblivious, adaptive, worst; None where there is none."""
        line = Line(self.entry) if self.entry else None
        numbers = {column.name: column.number(line) if line else None for column in FIGURES}
        return {name: rate.value if rate else None for name, rate in numbers.items()}


def judge(claims: Iterable[Claim], entries: Sequence[Entry]) -> list[JudgedClaim]:
    """Each claim beside the entry that measured the same; a claim of another set-up is told apart, and why.

    Of several entries the one on most images is taken, and the one without gaps before those with some.
    """
    return [_judge(claim, entries) for claim in claims]


def threat_of(claim: Claim) -> Threat | None:
    """A claim's budget as a threat; None where it is no ball, and no bounded flow, of a stated radius."""
    norm = {"linf": "linf", "l2": "l2"}.get(claim.norm)
    if claim.norm == "spatial" and claim.attack == "StAdv":
        norm = "stadv"  # the papers bound the flow in the units of that threat
    try:
        return None if norm is None else Threat.parse(f"{norm}:{claim.eps}")
    except BenchError:
        return None


def _judge(claim: Claim, entries: Sequence[Entry]) -> JudgedClaim:
    without = partial(JudgedClaim, claim=claim)
    if claim.accuracy is None:
        return without(reason=f"it is no accuracy ({claim.metric})")
    label = LABELS.get((claim.system, claim.defense))
    if label is None:
        return without(reason=f"{claim.defense!r} is not here as that paper has it")
    found = _classifier(claim)
    if found is None:
        unknown = f"the classifier {claim.classifier!r} is not here"
        return without(reason=REASONS.get(claim.system, unknown))
    classifier, trained = found
    if trained and label != "none":
        label = f"{label}@{trained}"
    threat = threat_of(claim)
    if threat is None and not claim.is_clean:
        budget = " ".join(part for part in (claim.norm, claim.eps or "not stated") if part)
        return without(reason=f"its budget is {budget}: no threat here")
    dataset = DATASETS.get(claim.dataset, claim.dataset)
    here = [
        entry
        for entry in entries
        if (entry.dataset.name, entry.classifier.name) == (dataset, classifier)
        and (claim.is_clean or entry.threat.text == str(threat))
    ]
    same = [entry for entry in here if _label(entry) == label and not _otherwise(entry)]
    if same:
        return JudgedClaim(claim=claim, entry=max(same, key=_weight))
    return _not_measured(claim, label, here, [dataset, classifier, str(threat or "")])


def _not_measured(
    claim: Claim, label: str, here: Sequence[Entry], where: Sequence[str]
) -> JudgedClaim:
    """Why nothing stands beside a claim that could be measured here."""
    without = partial(JudgedClaim, claim=claim)
    for entry in here:
        if _label(entry) == label:
            return without(reason=f"measured with weights trained {_otherwise(entry)}")
    scaled = [_label(e) for e in here if re.sub(r"\[[^]]*\]", "", _label(e)) == label]
    if scaled:
        return without(reason=f"measured with a scaled-down network ({scaled[0]})")
    dataset, classifier, threat = where
    name, _, arguments = label.partition("(")
    words = ["bench", "run", "--defense", name, "--dataset", dataset, "--model", classifier]
    words += ["--threat", threat] if threat else []
    for argument in filter(None, arguments.rstrip(")").split(",")):
        words += ["--defense-arg", argument.strip()]
    command = shlex.join([*words, "--protocol", "standard"])
    return without(reason="not measured yet", command=command)


def _label(entry: Entry) -> str:
    """The defense's label, whoever trained its weights."""
    return without_content(entry.defense.label)


def _otherwise(entry: Entry) -> str:
    """How an entry's weights were trained, where that is not as their recipes stand."""
    trained = [stage.training for stage in entry.defense.stages if stage.training]
    said = [assigned(one.unlike_recipe) for one in trained if one.unlike_recipe]
    return f"with {', '.join(said)}, unlike its recipe" if said else ""


def _classifier(claim: Claim) -> tuple[str, str] | None:
    """The classifier here, and those that the purifier is trained for where they are others."""
    transfer = _TRANSFER.fullmatch(claim.classifier)
    if transfer is None:
        found = CLASSIFIERS.get((claim.system, claim.classifier))
        return (found, "") if found else None
    trained, tested = transfer.groups()
    names = "&".join(f"mnist-{letter.lower()}" for letter in trained)
    return f"mnist-{tested.lower()}", "" if trained == tested else names


def _weight(entry: Entry) -> tuple[bool, int, bool]:
    return entry.status == "complete", entry.dataset.n, entry.protocol.name == "standard"

"""Audits: an honest entry is confirmed however it is asked; each kind of forgery is noticed."""

from __future__ import annotations

import hashlib
import io
import math
import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from benchmark.audit.fresh_attacks import Again, attack_again
from benchmark.audit.replay import Replay, ReplayFinding, replay
from benchmark.errors import BenchError
from benchmark.evaluation.execute.kept_images import CLEAN, Collected, unpacked
from benchmark.evaluation.execute.run import run_shown
from benchmark.evaluation.prepare.prepare import Prepared, prepare
from benchmark.evaluation.prepare.request import Request
from benchmark.publishing.leaderboard.updated_entries import write_audited
from benchmark.records.audit import Audit, Replayed
from benchmark.records.entry import Entry
from benchmark.records.entry_files import adoptable, kept_path, read_entry, read_kept, write_shown
from benchmark.records.protocol_files import parse_protocol
from benchmark.records.rates import MARGIN_DECIMALS
from benchmark.scoring.audit_figures import (
    claimed,
    compared,
    content_sha256,
    most_forged,
    positions_of,
    tolerance,
)
from benchmark.scoring.derived import derived
from benchmark.scoring.validation import problems_of
from tests.helpers.tiny_task import network, request
from tests.helpers.toy_plugins import Same

PROTOCOL = parse_protocol(
    b"""
name: audited
version: 1
summary: an attack that finds what there is to be found on a linear classifier
samples: 12
shard_size: 4
criterion: {draws: 20, vote: 5, any_of: 5}
sources:
  - {id: made, attack: pgd, against: bare, arguments: {steps: 3, loss: margin, keep: max_margin}}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: oblivious, column: oblivious, knowledge: oblivious, attack: transfer, sources: [made]}
  - {id: pgd, column: adaptive, knowledge: white-box, attack: pgd, gradients: [exact], eot: 5,
     arguments: {steps: 12, loss: margin}}
  - {id: native, column: adaptive, knowledge: white-box, attack: fgsm, gradients: [exact],
     counts: deterministic}
""",
    where="audited",
)
ATTACKS = ("oblivious", "pgd", "native")


@dataclass(frozen=True)
class Case:
    """A finished run of a tiny task, and all that an audit of it needs."""

    request: Request
    entry: Entry
    content: bytes
    ready: Prepared

    @property
    def collected(self) -> Collected:
        assert self.entry.kept_images is not None
        return unpacked(self.content, self.entry, self.entry.kept_images)

    def replayed(self, entry: Entry | None = None, collected: Collected | None = None) -> Replay:
        images = self.collected if collected is None else collected
        return replay(self.ready, entry or self.entry, images, shard_size=4)


def case(folder, **changes) -> Case:
    own = {"precision": "float32", "keep_images": "worst", "protocol": PROTOCOL}
    asked = request(folder, **{**own, **changes})
    entry, _, content = run_shown(asked)
    assert content is not None
    return Case(asked, entry, content, prepare(asked))


@pytest.fixture(scope="module")
def fixed(tmp_path_factory) -> Case:
    """Of a deterministic victim."""
    return case(tmp_path_factory.mktemp("fixed"), defense=Same(), threat="linf:0.05")


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> Case:
    """Of a stochastic one, the images of all its attacks kept."""
    return case(tmp_path_factory.mktemp("noisy"), keep_images="all", threat="linf:0.03")


@pytest.fixture(params=["fixed", "noisy"])
def either(request) -> Case:
    return request.getfixturevalue(request.param)


def edited(entry: Entry, at: int, rows=ATTACKS, **changes) -> Entry:
    """An entry in which the image at a position has other scores in some rows, all else made anew from them."""

    def scored(scored):
        columns = {name: list(getattr(scored, name)) for name in ("rates", "margins", "outcomes")}
        for name, value in changes.items():
            columns[name][at] = value(columns[name][at])
        return scored.model_copy(update={name: tuple(column) for name, column in columns.items()})

    def record(row):
        if row.id not in rows:
            return row
        parts = {rule: getattr(row.scores, rule) for rule in ("single", "vote", "any_of")}
        made = {rule: part and scored(part) for rule, part in parts.items()}
        return row.model_copy(update={"scores": row.scores.model_copy(update=made)})

    attacks = tuple(map(record, entry.attacks))
    return derived(entry.model_copy(update={"attacks": attacks}), PROTOCOL)


def robust_by_decree(entry: Entry) -> Entry:
    """An entry whose attacks are said to have done nothing: each row's scores are those of the clean images."""
    clean = next(row.scores for row in entry.attacks if row.id == "clean")
    attacks = tuple(row.model_copy(update={"scores": clean}) for row in entry.attacks)
    return derived(entry.model_copy(update={"attacks": attacks}), PROTOCOL)


def fell(entry: Entry) -> list[int]:
    """Positions of images that are right when clean, and wrong in the worst case."""
    images = entry.per_image
    pairs = zip(images.clean, images.worst, strict=True)
    return [i for i, (clean, worst) in enumerate(pairs) if "0" not in clean and "1" not in worst]


def test_an_honest_entry_is_confirmed_image_by_image(either):
    found = either.replayed()
    assert set(found.findings) == {ReplayFinding.CONFIRMED}
    assert found.record().confirmed == either.entry.dataset.n
    assert not found.reasons


def test_a_shard_of_another_size_changes_no_finding(either):
    found = replay(either.ready, either.entry, either.collected, shard_size=5)
    assert set(found.findings) == {ReplayFinding.CONFIRMED}


def test_without_kept_images_the_clean_ones_are_asked_about(either):
    found = replay(either.ready, either.entry, None, shard_size=4)
    assert (found.kept, set(found.findings)) == (None, {ReplayFinding.CONFIRMED})


def test_a_flipped_outcome_is_noticed_wherever_it_stands(fixed):
    at = fell(fixed.entry)[0]
    forged = edited(
        fixed.entry, at, rates=lambda _: 1.0, margins=lambda _: 1.0, outcomes=lambda _: "1"
    )
    assert forged.per_image.worst[at] == "1"
    forged = forged.model_copy(update={"examples": None})
    assert problems_of(forged) == [], "no arithmetic speaks against it"
    found = fixed.replayed(forged)
    assert [i for i, each in enumerate(found.findings) if each] == [at]
    assert found.findings[at] is ReplayFinding.CONTRADICTED
    assert "not among those kept" in found.reasons[at]


def test_one_flipped_bit_of_a_random_victim_is_noticed(noisy):
    at = 7
    forged = edited(
        noisy.entry, at, ("native",), outcomes=lambda bits: f"{bits[:-1]}{1 - int(bits[-1])}"
    )
    found = noisy.replayed(forged)
    assert [i for i, each in enumerate(found.findings) if each] == [at]
    assert "native, single: the entry says" in found.reasons[at]


def test_another_margin_is_noticed_though_no_outcome_differs(either):
    forged = edited(either.entry, 3, margins=lambda margin: round(margin - 0.2, MARGIN_DECIMALS))
    assert either.replayed(forged).findings[3] is ReplayFinding.CONTRADICTED


def test_a_clean_image_passed_off_as_adversarial_is_noticed(either):
    at = fell(either.entry)[0] if either.entry.defense.stochastic is False else 5
    places = either.collected.places.copy()
    places[places[:, 2] == at, 3] = CLEAN
    found = either.replayed(collected=replace(either.collected, places=places))
    assert found.findings[at] is ReplayFinding.CONTRADICTED
    assert sum(map(bool, found.findings)) == 1


def test_an_image_from_a_larger_budget_is_noticed_and_so_is_one_that_is_none(fixed):
    at = fell(fixed.entry)[0]
    (number,) = {int(n) for r, _, i, n in fixed.collected.places if i == at}
    clean = fixed.ready.dataset.images("test", torch.tensor([fixed.ready.order[at]]))[0]
    for change, reason in (
        (2 * (fixed.collected.images[number] - clean), r"linf 0\.1"),
        (torch.full_like(clean, math.nan), "outside"),
        (torch.full_like(clean, 7.0), "pixels outside"),
    ):
        images = fixed.collected.images.clone()
        images[number] = clean + change
        found = fixed.replayed(collected=replace(fixed.collected, images=images))
        assert found.findings[at] is ReplayFinding.CONTRADICTED
        assert re.search(reason, found.reasons[at])


def test_other_weights_are_noticed(fixed):
    other = network()
    other[1].weight.data = -other[1].weight.data
    made = prepare(replace(fixed.request, model=other))
    found = replay(made, fixed.entry, fixed.collected, shard_size=4)
    assert found.record().contradicted > 6


def test_what_lies_at_the_boundary_is_counted_apart_and_is_no_forgery(fixed):
    at = fell(fixed.entry)[0]
    row = fixed.entry.per_image.chosen[at]
    (number,) = {int(n) for _, _, i, n in fixed.collected.places if i == at}
    clean = fixed.ready.dataset.images("test", torch.tensor([fixed.ready.order[at]]))[0]
    step = fixed.collected.images[number] - clean
    label = fixed.entry.per_image.labels[at]
    low, high = 0.0, 1.0  # where, on the way from clean to adversarial, the class changes
    for _ in range(40):
        middle = (low + high) / 2
        logits = fixed.ready.classifier(clean[None] + middle * step)
        low, high = (low, middle) if int(logits.argmax()) != label else (middle, high)
    images = fixed.collected.images.clone()
    images[number] = (
        clean + 0.99999 * low * step
    )  # a hair's breadth on the right side; the entry says wrong
    others = tuple(name for name in ATTACKS if name != row)
    right = {"rates": lambda _: 1.0, "margins": lambda _: 9.0, "outcomes": lambda _: "1"}
    near = edited(edited(fixed.entry, at, others, **right), at, (row,), margins=lambda _: 0.0)
    assert near.per_image.chosen[at] == row
    found = fixed.replayed(near, replace(fixed.collected, images=images))
    assert found.findings[at] is ReplayFinding.WITHIN_ROUNDING
    assert found.record().within_rounding == 1


def again(case: Case, entry: Entry, tmp_path, images: int = 8, seed: int = 99):
    wanted = Again(images=images, seed=seed, runs=tmp_path, workers=1)
    record, signs = attack_again(entry, wanted, case.request)
    assert [signs.count(sign) for sign in (0, 1, -1)] == [
        record.agreed,
        record.fallen,
        record.stood,
    ]
    return record


def test_an_honest_entry_stands_when_it_is_attacked_again(fixed, tmp_path):
    found = again(fixed, fixed.entry, tmp_path)
    assert (found.agreed, found.fallen, found.stood) == (8, 0, 0)
    assert found.at_most == most_forged(12, 8, 0) / 12
    assert len(set(positions_of(99, 12, 8))) == 8


def test_a_robust_image_that_was_never_attacked_falls(fixed, tmp_path):
    forged = robust_by_decree(fixed.entry)
    kept = replace(fixed.collected, places=np.array([], dtype=np.int32).reshape(0, 4))
    silent = forged.model_copy(update={"kept_images": None})
    assert not fixed.replayed(silent, kept).record().contradicted, "no image speaks against it"
    found = again(fixed, forged, tmp_path)
    truly = sum(i in fell(fixed.entry) for i in positions_of(99, 12, 8))
    assert found.fallen == truly >= 2
    assert not found.is_confirmed
    assert found.at_most > again(fixed, fixed.entry, tmp_path).at_most


def test_a_random_victim_forged_to_be_robust_falls_too(noisy, tmp_path):
    found = again(noisy, robust_by_decree(noisy.entry), tmp_path, images=12)
    assert found.p < 0.01
    assert found.after < found.before
    assert not found.is_confirmed


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_honest_random_victim_raises_no_false_alarm(noisy, tmp_path, seed):
    assert again(noisy, noisy.entry, tmp_path, images=12, seed=seed).is_confirmed


def test_the_same_seed_resumes_and_takes_the_same_images(fixed, tmp_path):
    first = again(fixed, fixed.entry, tmp_path, images=4)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.shard")}
    assert again(fixed, fixed.entry, tmp_path, images=4) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.shard")} == files


def test_too_many_images_and_the_entrys_own_seed_are_refused(fixed, tmp_path):
    with pytest.raises(BenchError, match="--again is from 1 to 12"):
        again(fixed, fixed.entry, tmp_path, images=13)
    with pytest.raises(BenchError, match="--seed 0 is the entry's own"):
        again(fixed, fixed.entry, tmp_path, seed=0)


@pytest.mark.parametrize(("n", "k"), [(40, 8), (512, 16), (10_000, 16), (12, 12), (5, 1)])
def test_the_bound_where_all_agree_is_that_of_a_sample_without_a_find(n, k):
    most = most_forged(n, k, 0)

    def unseen(forged: int) -> float:
        return math.prod((n - forged - i) / (n - i) for i in range(k))

    assert unseen(most) >= 0.05 > unseen(most + 1)


def test_the_bound_of_many_images_is_that_of_clopper_and_pearson():
    assert most_forged(10**6, 16, 0) / 10**6 == pytest.approx(1 - 0.05 ** (1 / 16), abs=1e-4)
    p = most_forged(10**6, 20, 2) / 10**6
    chance = sum(math.comb(20, i) * p**i * (1 - p) ** (20 - i) for i in range(3))
    assert chance == pytest.approx(0.05, abs=1e-4)


def test_an_image_attacked_is_known_and_bounds_no_other():
    assert most_forged(12, 12, 0) == 0
    assert most_forged(12, 12, 5) == 5


def test_outcomes_of_a_fixed_victim_have_no_tolerance(fixed):
    assert tolerance("1", "0", 8) == 0.0
    said = claimed(fixed.entry, positions_of(7, 12, 12))
    fall, stand = said.index("1"), said.index("0")
    now = ["0" if i == fall else "1" if i == stand else bits for i, bits in enumerate(said)]
    record, signs = compared(fixed.entry, 7, now)
    assert [i for i, sign in enumerate(signs) if sign] == sorted([fall, stand])
    assert (signs[fall], signs[stand]) == (1, -1)
    assert (record.fallen, record.stood, record.agreed) == (1, 1, 10)
    assert record.before == record.after
    assert record.at_most == most_forged(12, 12, 1) / 12 == 1 / 12


def test_shares_of_draws_may_differ_by_what_draws_explain():
    many, few = ("10" * 200, "10" * 200), ("10" * 10, "10" * 10)
    assert tolerance(*many, 8) == pytest.approx(3.66 * math.sqrt(0.5 / 400), rel=0.01)
    assert tolerance(*few, 8) > 4 * tolerance(*many, 8)
    assert tolerance("1" * 20, "0" * 20, 8) < 1
    assert tolerance("1" * 10 + "0" * 10, "1" * 7 + "0" * 13, 8) > 3 / 20


def test_images_that_all_fare_worse_speak_against_an_entry_though_none_does_alone(noisy):
    said = claimed(noisy.entry, positions_of(5, 12, 12))
    now = [bits.replace("1", "0", 3) for bits in said]
    record, signs = compared(noisy.entry, 5, now)
    assert not any(signs)
    assert record.p < 0.01
    assert not record.is_confirmed
    assert compared(noisy.entry, 5, said)[0].is_confirmed


def audited(entry: Entry, **changes) -> Entry:
    record = Audit(
        of=content_sha256(entry),
        date="2026-11-30",
        by="",
        versions={},
        replayed=Replayed(kept="worst", confirmed=12, within_rounding=0, contradicted=0),
        again=compared(entry, 5, claimed(entry, positions_of(5, 12, 8)))[0],
    )
    return entry.model_copy(update={"audit": record.model_copy(update=changes)})


def said(entry: Entry) -> list[str]:
    return [line for line in problems_of(entry) if line.startswith(("audit", "kept"))]


def test_an_audit_that_does_not_belong_to_its_entry_is_refused(fixed):
    entry = audited(fixed.entry)
    assert said(entry) == []
    made = entry.audit
    assert made is not None
    assert made.again is not None
    wrong = {
        "has changed": edited(entry, 3, margins=lambda margin: margin + 1),
        "not those of 12": audited(
            fixed.entry, replayed=made.replayed.model_copy(update={"confirmed": 11})
        ),
        "kept others": audited(
            fixed.entry, replayed=made.replayed.model_copy(update={"kept": "all"})
        ),
        "figures": audited(fixed.entry, again=made.again.model_copy(update={"at_most": 0.01})),
        "its figures": audited(fixed.entry, again=made.again.model_copy(update={"agreed": 13})),
        "of at most 12": audited(
            fixed.entry, again=made.again.model_copy(update={"outcomes": ("1",) * 13})
        ),
        "entry's own": audited(fixed.entry, again=made.again.model_copy(update={"seed": 0})),
    }
    for reason, forged in wrong.items():
        assert len(said(forged)) >= 1, reason
        assert any(reason in line for line in said(forged)), said(forged)
    with pytest.raises(ValidationError):
        Audit.model_validate({**made.model_dump(), "date": "yesterday"})


def test_nothing_that_differs_is_confirmed(fixed):
    made = audited(fixed.entry).audit
    assert made is not None
    assert made.is_confirmed
    for counts in ({"confirmed": 11, "contradicted": 1}, {"confirmed": 8, "within_rounding": 4}):
        changed = made.model_copy(update={"replayed": made.replayed.model_copy(update=counts)})
        assert not changed.is_confirmed
    assert made.again is not None
    fallen = made.again.model_copy(update={"fallen": 1})
    assert not made.model_copy(update={"again": fallen}).is_confirmed


def test_kept_images_go_beside_their_entry_and_with_it_as_far_as_they_are_small(
    fixed, tmp_path, monkeypatch
):
    path = tmp_path / "a" / "entry.json"
    write_shown(fixed.entry, None, path, images=fixed.content)
    assert kept_path(path).read_bytes() == fixed.content
    assert adoptable(path, fixed.entry) == fixed.content
    monkeypatch.setattr("benchmark.records.entry_files.ADOPTED", 10)
    assert adoptable(path, fixed.entry) is None
    write_shown(fixed.entry, None, path)
    assert not kept_path(path).exists()


def test_another_file_in_the_place_of_the_kept_images_is_refused(fixed, tmp_path):
    path = tmp_path / "entry.json"
    kept = fixed.entry.kept_images
    assert kept is not None
    write_shown(fixed.entry, None, path, images=fixed.content[:-1] + b"x")
    for content in (fixed.content[:-1] + b"x", fixed.content + b"x", b""):
        kept_path(path).write_bytes(content)
        with pytest.raises(BenchError, match="is not the file of kept images that the entry names"):
            read_kept(kept_path(path), kept)
    kept_path(path).unlink()
    with pytest.raises(BenchError, match="expected the kept images of the entry at"):
        read_kept(kept_path(path), kept)


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def test_a_hostile_file_of_kept_images_is_one_line(fixed):
    good = fixed.collected
    kept, images = fixed.entry.kept_images, good.images.numpy()
    assert kept is not None
    far = good.places.copy()
    far[0, 2] = 12
    hostile = {
        "damaged": fixed.content[: len(fixed.content) // 2],
        "damaged ": npz(images=images),
        "expected float32": npz(images=images.astype(np.float64), places=good.places),
        "expected int32": npz(images=images, places=good.places.astype(np.int64)),
        "holds images": npz(images=images[:, :, :2], places=good.places),
        "Python objects": npz(images=np.array([object()]), places=good.places),
        "names an attack": npz(images=images, places=far),
        "or one twice": npz(images=images, places=np.concatenate([good.places[:1]] * 2)),
    }
    for reason, content in hostile.items():
        with pytest.raises(BenchError) as caught:
            unpacked(content, fixed.entry, kept)
        assert reason.strip() in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_file_says_what_the_entry_says_of_it(either):
    kept = either.entry.kept_images
    assert kept is not None
    assert hashlib.sha256(either.content).hexdigest() == kept.sha256
    assert (len(either.content), len(either.collected.images)) == (kept.bytes, kept.images)
    assert set(either.collected.rows) <= {row.id for row in either.entry.attacks}


def test_a_finished_run_makes_the_same_file_again(fixed):
    assert run_shown(fixed.request)[2] == fixed.content


def test_what_is_not_asked_for_is_not_kept(tmp_path):
    entry, _, content = run_shown(request(tmp_path, defense=Same(), samples=4))
    assert (entry.kept_images, content) == (None, None)


def test_an_audit_is_written_into_its_entry_and_adopted_only_where_that_is_said(fixed, tmp_path):
    path = tmp_path / "entry.json"
    write_shown(fixed.entry, None, path, images=fixed.content)
    made = audited(fixed.entry).audit
    assert made is not None
    assert write_audited(fixed.entry, made, path) is None
    assert read_entry(path).audit == made
    with pytest.raises(BenchError, match="has changed while it was audited"):
        write_audited(fixed.entry, made, path)

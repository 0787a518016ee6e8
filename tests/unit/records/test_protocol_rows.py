"""Planned rows: which a victim meets, and in which modes, follows from what was measured of its gradients."""

import pytest

from benchmark.engine.threat import Knowledge
from benchmark.records.gradients import MeasuredGradient, MeasuredGradients
from benchmark.records.protocol import AttackRow, Column, Protocol
from benchmark.records.protocol_rows import Faced, is_measured


def gradients(exact, bpda, recovered, *, moved=1.0):
    """Modes by their cosines; `None` leads nowhere, a name is another mode."""
    modes = []
    for mode, cosine in zip(("exact", "bpda", "recovered"), (exact, bpda, recovered), strict=True):
        if cosine is None:
            modes.append(MeasuredGradient(mode=mode, zeros=1.0, slopes=0.0))
        elif isinstance(cosine, str):
            modes.append(MeasuredGradient(mode=mode, zeros=0.0, same_as=cosine))
        else:  # one whose cosine is high is the derivative as well
            slopes = 1.0 if cosine > 0.7 else 0.0
            modes.append(MeasuredGradient(mode=mode, zeros=0.0, slopes=slopes, cosine=cosine))
    return MeasuredGradients(images=32, moved=moved, floor=0.1, modes=tuple(modes))


def row(*wishes, **fields):
    fixed = {"column": Column.ADAPTIVE, "knowledge": Knowledge.WHITE_BOX, "attack": "pgd"}
    return AttackRow(id="row", gradients=list(wishes), **(fixed | fields))


def faced(found, gradient="exact", *, is_stochastic=False):
    return Faced(gradient=gradient, is_stochastic=is_stochastic, measured=found)


TRUE, HIDDEN, NONE = (
    gradients(0.9, 0.6, "exact"),
    gradients(None, 0.6, 0.8),
    gradients(0.1, 0.3, 0.2),
)


@pytest.mark.parametrize(
    ("found", "measured", "confirmed", "guide"),
    [
        (TRUE, ["exact", "bpda"], ["exact"], ["exact"]),
        (HIDDEN, ["bpda", "recovered"], ["recovered"], ["recovered"]),
        (NONE, ["exact", "bpda"], ["bpda", "exact"], ["bpda"]),
        (
            gradients(0.1, 0.3, 0.25),
            ["exact", "bpda", "recovered"],
            ["bpda", "recovered"],
            ["bpda"],
        ),
        (gradients(0.9, "exact", "exact"), ["exact"], ["exact"], ["exact"]),
        (gradients(None, None, None), ["bpda"], ["bpda"], ["bpda"]),
    ],
)
@pytest.mark.parametrize("declared", ["exact", "almost-everywhere", "none"])
def test_modes_are_those_that_were_measured_whatever_is_declared(
    found, measured, confirmed, guide, declared
):
    victim = faced(found, declared)
    asked = {wish: victim.modes(row(wish)) for wish in ("measured", "confirmed", "guide")}
    assert asked == {"measured": measured, "confirmed": confirmed, "guide": guide}


def test_unmeasured_a_declaration_counts_and_every_mode_is_met():
    found = {kind: faced(None, kind).modes(row("measured")) for kind in ("exact", "none")}
    assert found == {"exact": ["exact", "recovered"], "none": ["bpda", "recovered"]}
    assert faced(None).modes(row("confirmed")) == ["exact"]


def test_what_is_asked_by_name_goes_by_the_declaration():
    assert faced(HIDDEN, "none").modes(row("exact", "bpda")) == ["bpda"]
    assert faced(HIDDEN, "exact").modes(row("exact", "bpda")) == ["exact", "bpda"]
    assert faced(TRUE, "none").modes(row("exact", "measured")) == ["exact", "bpda"]


def protocol(*rows):
    clean = row(column=Column.CLEAN, attack="clean").model_copy(update={"id": "clean"})
    return Protocol(name="some", version=1, summary="", attacks=[clean, *rows])


def test_rows_for_what_is_not_confirmed_are_met_there_alone():
    some = protocol(
        row(when="unconfirmed", last=True),
        row(when="saturated", last=True).model_copy(update={"id": "labels"}),
    )
    saturated = gradients(None, None, None, moved=0.2)
    for found, wanted in (
        (TRUE, []),
        (HIDDEN, []),
        (NONE, ["row"]),
        (saturated, ["row", "labels"]),
        (None, []),
    ):
        assert [each.id for each in faced(found).rows(some)][1:] == wanted
    assert all(is_measured(each) for each in some.attacks[1:])
    assert not is_measured(row("exact", "bpda", "recovered", "best"))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(last=True), row().model_copy(update={"id": "other"})], "stand at the end"),
        ([row(last=True, counts="deterministic")], "counts always"),
    ],
)
def test_what_goes_on_from_all_others_stands_at_the_end_and_counts(rows, said):
    with pytest.raises(ValueError, match=said):
        protocol(*rows)


def test_a_new_field_at_its_default_changes_no_sha256_and_another_value_does():
    plain, late = protocol(row()), protocol(row(last=True))
    assert plain.sha256() == protocol(row(when="always", last=False)).sha256() != late.sha256()
    assert "last" not in plain.content()["attacks"][1]

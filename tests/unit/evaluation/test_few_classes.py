"""Tasks of 2 and 3 classes: as strong a worst case as elsewhere, and what does not exist there is said."""

from dataclasses import replace

import pytest

from attacks.apgd import APGD
from attacks.auxiliary import AuxiliaryAware
from attacks.deepfool import DeepFool
from attacks.fgsm import FGSM
from attacks.mim import MIM
from attacks.pgd import PGD
from benchmark.datasets.given import Given
from benchmark.engine.threat import Norm
from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.execute.shard import attack_of
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.plugins import ATTACKS
from benchmark.publishing.leaderboard.board_text import to_text
from benchmark.records.missing_rows import Why
from benchmark.records.protocol_files import load_protocol, parse_protocol, protocol_names
from benchmark.scoring.asked_rows import MOST_CLASSES_NEEDED
from benchmark.scoring.validation import notes_of, problems_of
from benchmark.selftest.closed_forms import LinearTask, linear_failures
from tests.helpers import tiny_task as tiny
from tests.helpers.toy_plugins import Noise, linear_target

SHAPE = (1, 6, 6)
TASKS = {k: LinearTask.make(n=8, classes=k, shape=SHAPE) for k in (2, 3)}
STEPS = {"steps": 14, "step_size": 0.25}
HELD = {
    "fgsm": FGSM(),
    "pgd ce": PGD(**STEPS),
    "pgd margin": PGD(**STEPS, loss="margin"),
    "pgd towards 1": PGD(**STEPS, target_class=1),
    "apgd ce": APGD(steps=20),
    "apgd margin": APGD(steps=20, loss="margin"),
    "apgd dlr": APGD(steps=20, loss="dlr"),
    "auxiliary": AuxiliaryAware(**STEPS, variant="A2", lambdas=(0.0,)),
    "deepfool": DeepFool(steps=3),
    "mim": MIM(steps=12),
}


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("classes", TASKS)
@pytest.mark.parametrize("attack", HELD)
def test_an_attack_is_exact_on_few_classes_or_refuses_them(attack, classes, norm):
    task, made = TASKS[classes], HELD[attack]
    target = linear_target(task)
    if classes < made.least_classes(stochastic=False):
        assert (attack, classes) == ("apgd dlr", 2)
        with pytest.raises(BenchError, match="needs at least 3 classes"):
            made(target, task.x, task.y, threat=task.threat(norm, 1), draws=None)
        return
    if attack == "pgd towards 1":
        task = replace(task, x=task.x[::2], y=task.y[::2])  # those of class 0
    assert linear_failures(made, task, target, norm) == []


def asked(runs, task, factor, **changes):
    """A request for the linear task; `quick` on all its points unless told otherwise."""
    classes = task.classifier.classes
    images = Given(images=task.x, labels=task.y, classes=classes, title=f"linear-{classes}")
    wanted = {
        "defense": "none",
        "model": Classifier(task.classifier, name="linear", classes=classes, sha256="0" * 64),
        "dataset": images,
        "threat": str(task.threat(Norm.LINF, factor)),
        "protocol": load_protocol("quick").model_copy(update={"diagnosis": None}),
        "samples": len(task.x),
        **changes,
    }
    return tiny.request(runs, **wanted)


@pytest.mark.parametrize("classes", TASKS)
def test_the_worst_case_of_quick_is_exact_and_every_row_is_accounted_for(classes, tmp_path):
    values = []
    for factor in (0.95, 1.05):
        entry = run(asked(tmp_path, TASKS[classes], factor))
        values.append(entry.worst.single.value)
        assert entry.dataset.classes == classes
        assert [(gap.row, gap.why) for gap in entry.not_applicable] == [
            ("autoattack", Why.TOO_FEW_CLASSES)
        ]
        assert [(gap.row, gap.why) for gap in entry.gaps] == [("transfer", Why.NO_SURROGATES)]
        assert entry.columns.adaptive.is_complete
        assert not any("row" in problem for problem in problems_of(entry))
        assert not any("changed" in note for note in notes_of(entry))
        assert "not applicable: autoattack (autoattack) (every row): " in to_text([entry])
    assert values == [1.0, 0.0]


@pytest.mark.parametrize("classes", TASKS)
@pytest.mark.parametrize("defense", [None, Noise(sigma=0.1)], ids=["none", "random"])
def test_each_row_is_planned_or_missing_for_a_reason_and_no_job_refuses_its_task(
    defense, classes, tmp_path
):
    ready = prepare(asked(tmp_path, TASKS[classes], 1, defense=defense or "none"))
    is_stochastic = defense is not None
    for name in ("quick", "standard", "aid-croce2022", "add-table1-l2"):
        protocol = load_protocol(name).for_classes(classes)
        rows, skipped = make_plan(replace(ready, protocol=protocol))
        planned = {row.id.partition(":")[0] for row in rows}
        for row in ready.faced.rows(protocol):
            assert (row.id in planned) != (row.id in skipped), (name, row.id)
        for row in rows:
            random = is_stochastic and bool(row.job.defenses)
            attack_of(row.job).refuse_classes(classes, stochastic=random)
        assert all(missing.why is not Why.FAILED for missing in skipped.values()), name


def test_a_row_none_of_whose_sources_is_made_is_a_gap_unless_no_source_is_one(tmp_path):
    """C&W has no linf, which is a gap; with two classes AutoAttack does not exist, which is none."""
    (cw, auto), clean, row = (
        [{"id": name, "attack": name, "against": "bare"} for name in ("cw", "autoattack")],
        {"id": "clean", "attack": "clean", "column": "clean", "knowledge": "oblivious"},
        {"id": "both", "attack": "transfer", "column": "transfer", "knowledge": "transfer"},
    )
    for sources, why in (([auto, cw], Why.THREAT_UNSUPPORTED), ([auto], Why.TOO_FEW_CLASSES)):
        rows = [clean, row | {"sources": [each["id"] for each in sources]}]
        protocol = tiny.protocol().model_copy(update={"diagnosis": None})
        protocol = type(protocol).model_validate(
            protocol.model_dump(mode="json", exclude_defaults=True)
            | {"sources": sources, "attacks": rows}
        )
        _, skipped = make_plan(prepare(asked(tmp_path, TASKS[2], 1, protocol=protocol)))
        assert skipped["both"].why is why


def test_no_attack_of_a_protocol_that_ships_needs_more_than_validation_thinks():
    for name in protocol_names():
        for row in load_protocol(name).rows:
            made = ATTACKS.get(row.attack)(**row.arguments)
            for stochastic in (False, True):
                assert made.least_classes(stochastic=stochastic) <= MOST_CLASSES_NEEDED, name


def test_the_margin_loss_stands_in_where_standard_says_so_and_the_entry_says_so_too(tmp_path):
    standard = load_protocol("standard")
    rows = [row for row in standard.attacks if row.id in ("clean", "apgd-dlr", "apgd-t")]
    short = standard.model_copy(update={"attacks": rows, "sources": [], "diagnosis": None})
    said = {}
    for classes in (2, 3, 4):
        task = TASKS.get(classes) or LinearTask.make(n=4, classes=classes, shape=SHAPE)
        entry = run(asked(tmp_path, task, 1.05, protocol=short, samples=4))
        losses = {row.id: row.arguments["loss"] for row in entry.attacks if row.attack == "apgd"}
        said[classes] = (losses, [one.row for one in entry.stand_ins])
        assert (entry.status, entry.worst.single.value) == ("complete", 0.0)
        is_said = (
            "stands in: apgd-t (every row): with loss=margin, because the task has fewer than 4"
            in to_text([entry])
        )
        assert is_said == (classes < 4)
    assert said == {
        2: ({"apgd-dlr": "margin", "apgd-t": "margin"}, ["apgd-dlr", "apgd-t"]),
        3: ({"apgd-dlr": "dlr", "apgd-t": "margin"}, ["apgd-t"]),
        4: ({"apgd-dlr": "dlr", "apgd-t": "dlr-targeted"}, []),
    }


FEW = b"""
name: few
version: 1
summary: two rows, one with a stand-in
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: a, column: adaptive, knowledge: white-box, attack: apgd, arguments: {loss: dlr, steps: 7},
     few_classes: {below: 3, arguments: {loss: margin}}}
"""


def test_a_stand_in_decides_what_a_protocol_is_where_it_applies_and_nowhere_else():
    protocol = parse_protocol(FEW, where="few")
    plain = parse_protocol(FEW.partition(b",\n     few")[0] + b"}\n", where="plain")
    other = parse_protocol(FEW.replace(b"margin", b"ce"), where="other")
    assert protocol.for_classes(2).attacks[1].arguments == {"loss": "margin", "steps": 7}
    for classes in (3, 10):
        shas = {one.for_classes(classes).sha256() for one in (protocol, plain, other)}
        assert shas == {plain.sha256()}
    shas = {one.for_classes(2).sha256() for one in (protocol, plain, other)}
    assert len(shas) == 3
    assert protocol.for_classes(2).for_classes(2) == protocol.for_classes(2)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ((b"below: 3", b"below: 2"), "greater than or equal to 3"),
        ((b"{loss: margin}", b"{}"), "at least 1 item"),
    ],
)
def test_a_stand_in_that_can_never_apply_or_changes_nothing_is_refused(change, problem):
    with pytest.raises(BenchError, match=problem):
        parse_protocol(FEW.replace(*change), where="few")

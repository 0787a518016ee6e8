"""Images for transfer that are made on an ensemble of classifiers: what they are, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmark.engine.victims.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.execute.shard import run_shard
from benchmark.evaluation.prepare.plan import make_plan
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from benchmark.evaluation.prepare.request import Request
from benchmark.evaluation.prepare.surrogates import TransferSources
from benchmark.records.protocol_files import parse_protocol
from tests.helpers import tiny_task as tiny
from tests.helpers.toy_plugins import Same

pytestmark = pytest.mark.slow

PAIR = "mean(digits-conv, digits-mlp)"
WITH_BARE = "mean(bare, surrogates)"
TEXT = """
name: made-on-an-ensemble
version: 1
summary: one step on the mean of several logits
samples: 4
criterion: {{draws: 2, vote: 1, any_of: 1}}
sources:
  - {{id: made, attack: fgsm, against: '{against}'}}
attacks:
  - {{id: clean, column: clean, knowledge: oblivious, attack: clean}}
  - {{id: shown, column: {column}, knowledge: {column}, attack: transfer, sources: [made]}}
"""


def protocol(against, column="transfer"):
    return parse_protocol(TEXT.format(against=against, column=column).encode(), where="made.yaml")


@pytest.fixture
def asked(tmp_path):
    def make(defense, against=PAIR, *, column="transfer", **changes):
        standard = {"samples": 4, "device": "cpu", "workers": 1, "runs": tmp_path / "runs"}
        words = {"dataset": "digits", "protocol": protocol(against, column), **standard}
        return Request(defense=defense, **{**words, **changes})

    return make


def source(entry):
    return next(row for row in entry.sources if row.id.startswith("made:"))


def planned(request):
    ready = prepare(request)
    rows, skipped = make_plan(ready)
    assert not skipped
    return ready, next(row for row in rows if row.id.startswith("made:"))


def test_they_climb_the_loss_of_the_mean_of_the_members_logits(asked):
    ready, row = planned(asked("none"))
    bench = bench_of(ready)
    _, images = run_shard(bench, row.job, 0, 4)
    clean, y, _ = bench.images(0, 4)
    x = clean.clone().requires_grad_()
    members = [bench.classifiers[row.job.classifier.name].network.members[i] for i in (0, 1)]
    assert [member.name for member in members] == ["digits-conv", "digits-mlp"]
    loss = cross_entropy((members[0](x) + members[1](x)) / 2, y, reduction="sum")
    (slope,) = torch.autograd.grad(loss, x)
    expected = (clean + ready.task.threat.eps * slope.sign()).clamp(0, 1)
    torch.testing.assert_close(images[:, 0], expected)


def test_they_are_the_images_of_that_ensemble_made_once_for_all_defenses(asked, tmp_path):
    first = run(asked("none"))
    files = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*") if path.is_file()
    }
    key = source(first).job_key
    made = [path for path in files if key in str(path)]
    assert made
    second = run(asked("jpeg"))
    assert source(second).job_key == key
    assert {path: path.stat().st_mtime_ns for path in made} == {path: files[path] for path in made}
    alone = run(asked("none", "bare", column="oblivious", model=PAIR))
    assert source(alone).job_key == key  # a defended ensemble's own images are no others
    assert source(first).classifier == PAIR
    assert source(first).knowledge == "transfer"


def test_every_member_is_in_the_key(asked):
    keys = {
        planned(asked("none", against))[1].job.key
        for against in (PAIR, "mean(digits-mlp, digits-vgg)", "mean(surrogates)", "surrogates")
    }
    assert len(keys) == 4


def test_surrogates_are_all_of_them_and_bare_is_the_defended_one(asked):
    oblivious = {"column": "oblivious"}
    ready, row = planned(asked("jpeg", WITH_BARE, **oblivious))
    assert list(ready.surrogates) == ["digits-conv", "digits-mlp", "digits-vgg"]
    assert row.job.classifier.name == "mean(digits-cnn, digits-conv, digits-mlp, digits-vgg)"
    assert row.knowledge == "oblivious"
    _, alone = planned(asked("jpeg", "mean( surrogates )"))
    assert alone.job.classifier.name == "mean(digits-conv, digits-mlp, digits-vgg)"
    _, within = planned(asked("none", WITH_BARE, model="mean(digits-cnn, digits-vgg)", **oblivious))
    assert within.job.classifier.name == (
        "mean(mean(digits-cnn, digits-vgg), digits-conv, digits-mlp)"
    )


def test_where_there_are_no_surrogates_the_row_is_a_gap_by_name(tmp_path):
    entry = run(tiny.request(tmp_path, protocol=protocol(WITH_BARE, "oblivious"), defense=Same()))
    gaps = {gap.row: gap.reason for gap in entry.gaps}
    assert set(gaps) == {"made", "shown"}
    assert all("too few surrogate classifiers are known for tiny" in why for why in gaps.values())
    assert entry.status == "gaps"


@pytest.mark.parametrize(
    ("against", "reason"),
    [
        (
            "mean(digits-cnn, digits-mlp)",
            "names the defended classifier 'digits-cnn'.*write 'bare'",
        ),
        ("mean(digits-mlp, digits-mlp)", "has a member twice"),
        ("mean(digits-mlp, surrogates)", "has a member twice"),
        ("mean(digits-mlp, mnist-cnn)", "is for mnist, not for digits"),
        ("mean(digits-mlp, digits-vg)", "Did you mean 'digits-vgg'"),
    ],
)
def test_members_that_do_not_belong_are_refused_in_one_line(asked, against, reason):
    with pytest.raises(BenchError, match=reason) as caught:
        prepare(asked("none", against))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("against", "column", "reason"),
    [
        ("bear", "transfer", "expected bare, surrogates or an ensemble"),
        ("digits-mlp", "transfer", "expected bare, surrogates or an ensemble"),
        ("mean(digits-mlp)", "transfer", "at least two"),
        ("mean(digits-mlp, digits-vgg", "transfer", "a comma or a closing bracket"),
        (WITH_BARE, "transfer", "its source 'made' is made on the defended one too"),
    ],
)
def test_what_no_source_is_made_on_is_refused_when_it_is_read(against, column, reason):
    with pytest.raises(BenchError, match=reason) as caught:
        protocol(against, column)
    assert "\n" not in str(caught.value)


def test_spaces_in_an_ensemble_are_no_other_protocol():
    assert protocol("mean(a,b)").sha256() == protocol(" mean( a ,  b )").sha256()
    assert protocol("mean(a,b)").sha256() != protocol("mean(b,a)").sha256()


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([nn.Linear(16, 3)], r"returned logits of shape \(1, 3\); expected \(1, 4\)"),
        ([nn.Linear(9, 4)], r"does not take images of shape \(1, 4, 4\) of 'tiny'"),
    ],
)
def test_members_of_other_classes_or_shapes_are_refused(layers, reason):
    def load(name):
        network = nn.Sequential(nn.Flatten(), *layers) if name == "other" else tiny.network()
        return Classifier(network, name=name, classes=4, sha256=name)

    strangers = TransferSources(tiny.dataset(), protocol("mean(fits, other)"), load("mine"), load)
    with pytest.raises(BenchError, match=reason) as caught:
        strangers.ensembles()
    assert "the ensemble 'mean(fits, other)': member 'other'" in str(caught.value)
    assert "\n" not in str(caught.value)

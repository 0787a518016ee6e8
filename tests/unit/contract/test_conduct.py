"""Conduct: how victims answer is measured before a run; whoever cannot be measured is refused in one line."""

import pytest
import torch
from torch import nn

from benchmark.engine.victims.defense import Defense
from benchmark.errors import BenchError
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.probing import probe
from benchmark.publishing.leaderboard.eligibility import why_unranked
from tests.helpers import toy_plugins as toys
from tests.helpers.conducted import (
    BatchMean,
    Clock,
    Counts,
    DrawsUnsaid,
    Drifts,
    Entropy,
    Lazy,
    LooksBeside,
    NumpyNoiseSaid,
    OwnGenerator,
    Plain,
    PythonNoise,
    Remembers,
    TorchNoise,
    TrainMode,
    Watched,
    Wraps,
    WritesData,
    WritesThroughNumpy,
)
from tests.helpers.flagged_defenses import Crowded, Halves
from tests.helpers.tiny_task import CLASSES, Noise, request


def measured(defense, folder, **changes):
    """The measurements above their thresholds, and whether no batch may be cut."""
    ready = probe(prepare(request(folder, defense=defense, **changes)))
    assert {each.id for each in ready.examination} == {"randomness", "layout"}
    bad = {each.id for each in ready.examination if each.value > each.threshold}
    assert ready.is_uncut == bool(bad)
    return bad, ready.victim.stochastic


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "honest",
    [Plain(), Counts(), Lazy(), Halves(), Noise(), toys.Quantised(), toys.Nervous(), Wraps()],
    ids=lambda each: each.name,
)
def test_the_honest_answer_the_same_however_they_are_asked(honest, precision, tmp_path):
    found = measured(honest, tmp_path, precision=precision)
    assert found == (set(), honest.stochastic)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    ("liar", "expected", "is_stochastic"),
    [
        (TorchNoise(), {"randomness", "layout"}, True),
        (NumpyNoiseSaid(), {"randomness", "layout"}, True),
        (PythonNoise(), {"randomness", "layout"}, True),
        (DrawsUnsaid(), {"randomness", "layout"}, True),
        (Wraps(kind="random"), {"randomness", "layout"}, True),
        (BatchMean(), {"layout"}, False),
        (TrainMode(), {"layout"}, False),
        (LooksBeside(), {"layout"}, False),
        (Crowded(most=3), {"layout"}, False),
        (Crowded(most=511), {"layout"}, False),
        (Wraps(kind="crowd"), {"layout"}, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Defense) else "",
)
def test_what_it_does_not_declare_is_measured(liar, expected, is_stochastic, precision, tmp_path):
    assert measured(liar, tmp_path, precision=precision) == (expected, is_stochastic)


@pytest.mark.parametrize(
    ("liar", "said"),
    [
        (OwnGenerator(), "does not repeat itself"),
        (Entropy(), "does not repeat itself"),
        (Clock(), "does not repeat itself"),
        (Drifts(), "does not repeat itself"),
        (Remembers(), "remembers what it was shown"),
        (WritesData(), "changes the images that it is given"),
        (WritesThroughNumpy(), "changes the images that it is given"),
        (Wraps(kind="in place"), "changes the images that it is given"),
        (Watched(), "other logits where gradients are wanted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Defense) else "",
)
def test_what_no_run_could_measure_is_refused_in_one_line(liar, said, tmp_path):
    with pytest.raises(BenchError, match=said) as caught:
        probe(prepare(request(tmp_path, defense=liar)))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("defense 'plain")


class Dropping(nn.Module):
    """A network with dropout that stays on, or that takes off the mean of its batch."""

    def __init__(self, kind):
        super().__init__()
        self.layer = nn.Linear(16, CLASSES)
        self.kind = kind

    def forward(self, x):
        h = x.flatten(1)
        if self.kind == "dropout":
            return self.layer(nn.functional.dropout(h, 0.3, training=True))
        return self.layer(h - h.mean(0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "reasons", "is_stochastic"),
    [
        ("dropout", {"undeclared-randomness", "batch-dependent"}, True),
        ("mean", {"batch-dependent"}, False),
    ],
)
def test_a_strange_classifier_has_a_number_that_hangs_on_no_option_and_no_rank(
    kind, reasons, is_stochastic, tmp_path
):
    torch.manual_seed(1)
    model = Dropping(kind)
    asked = {"defense": "none", "model": model, "precision": "float32", "samples": 8}
    found = [run(request(tmp_path / str(size), batch_size=size, **asked)) for size in (1, 3, 512)]
    assert len({entry.model_dump_json(include={"worst", "per_image"}) for entry in found}) == 1
    assert found[0].status == "complete"
    assert found[0].defense.stochastic == is_stochastic
    assert reasons <= set(why_unranked(found[0]))


def test_a_run_whose_images_do_not_fit_into_memory_is_no_reason_to_doubt_a_victim(tmp_path):
    assert why_unranked(run(request(tmp_path, defense=Noise(), batch_size=1))) == ()


def test_what_cannot_be_had_in_float64_is_asked_in_float32(tmp_path):
    class Strict(Plain):
        def purify(self, x, *, draws):
            if x.dtype == torch.float64:
                raise RuntimeError("only float32")
            return 0.5 * x + 0.25

    ready = probe(prepare(request(tmp_path, defense=Strict(), precision="float32")))
    assert all(each.value == 0 for each in ready.examination)
    assert "only float32" in ready.examination[0].detail

"""How many classes a task has, where its labels are of few of them: the classifier has the last word."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from benchmark.errors import BenchError
from benchmark.evaluation.execute.evaluate import evaluate
from benchmark.evaluation.prepare.loading import load_dataset
from benchmark.evaluation.prepare.prepare import prepare
from benchmark.evaluation.prepare.request import Request
from tests.helpers import tiny_task as tiny

CLASSES = 12


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES))


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Makes a request for four images of the classes 0 to 3, with what the file holds besides."""
    images = np.random.default_rng(0).random((4, 4, 4), dtype=np.float32)
    (tmp_path / "its_net.py").write_text(
        "from tests.unit.evaluation.test_open_classes import network as network\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    save_file(network().state_dict(), tmp_path / "net.safetensors")

    def make(model="file", **besides):
        np.savez(tmp_path / "few.npz", images=images, labels=np.arange(4), **besides)
        its = f"file:{tmp_path / 'net.safetensors'}@its_net:network" if model == "file" else model
        dataset = f"npz:{tmp_path / 'few.npz'}"
        return tiny.request(tmp_path / "runs", defense="none", dataset=dataset, model=its)

    return make


@pytest.mark.parametrize("model", ["file", network()], ids=["file", "module"])
def test_a_classifier_may_have_more_classes_than_there_are_labels(asked, model):
    ready = prepare(asked(model))
    assert (ready.dataset.classes, ready.classifier.classes) == (CLASSES, CLASSES)
    assert not ready.dataset.has_open_classes
    assert ready.classifier(torch.rand(1, 1, 4, 4, dtype=torch.float64)).shape == (1, CLASSES)


def test_what_the_file_says_is_not_changed_by_a_classifier(asked):
    with pytest.raises(BenchError, match=r"logits of shape \(1, 12\); expected \(1, 9\)"):
        prepare(asked(classes=9))
    assert prepare(asked(classes=CLASSES)).dataset.classes == CLASSES


@pytest.mark.parametrize("model", ["file", network()], ids=["file", "module"])
def test_a_classifier_with_fewer_classes_than_labels_is_refused(asked, tmp_path, model):
    request = asked(model)
    np.savez(tmp_path / "few.npz", images=np.full((1, 4, 4), 0.5), labels=np.array([40]))
    assert load_dataset(request.dataset, folder=tmp_path).classes == 41
    with pytest.raises(
        BenchError, match=r"expected .*41.* its labels reach 40: do they count from 1"
    ):
        prepare(request)


def test_images_from_python_leave_it_to_the_network_too(tmp_path):
    entry = evaluate(
        "none",
        network(),
        dataset=(torch.rand(4, 1, 4, 4), torch.tensor([0, 1, 2, 3])),
        threat="linf:0.1",
        options=Request(defense="none", protocol=tiny.protocol(), runs=tmp_path, workers=1),
    )
    assert entry.dataset.classes == CLASSES

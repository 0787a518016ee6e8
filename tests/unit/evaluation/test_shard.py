"""What a worker is given: whose victim a job attacks, which images, and which of the attacker's own."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.evaluation.execute.shard import run_shard
from benchmark.evaluation.prepare.prepare import bench_of, prepare
from benchmark.records.job import ClassifierId, PluginId
from benchmark.records.result import Status
from tests.helpers import tiny_task as tiny
from tests.helpers.tiny_task import job, network


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return bench_of(prepare(tiny.request(tmp_path_factory.mktemp("runs"))))


def classifier(name):
    return Classifier(network(), name=name, classes=10, sha256=name)


def test_a_job_on_a_bare_classifier_attacks_the_one_that_it_names(bench):
    ours, others = classifier("ours"), classifier("others")
    known = replace(bench, classifiers={"ours": ours, "others": others})
    for one in (ours, others):
        bare = replace(job(), defenses=(), classifier=ClassifierId(one.name, one.sha256))
        victim = known.victim_of(bare)
        assert isinstance(victim, Purified)
        assert victim.classifier is one
        assert victim.defenses == ()
    missing = replace(job(), defenses=(), classifier=ClassifierId("nobody", "0"))
    with pytest.raises(BenchError, match="no classifier 'nobody' was loaded"):
        known.victim_of(missing)


def test_a_shards_images_are_those_of_the_order_from_start_to_stop(bench):
    x, y, indices = bench.images(1, 4)
    assert indices.tolist() == list(bench.order[1:4])
    everything, labels, _ = bench.images(0, len(bench.order))
    assert torch.equal(x, everything[1:4])
    assert torch.equal(y, labels[1:4])


def test_an_attacker_has_images_of_his_own_only_where_he_asks_for_some(bench):
    assert bench.seeds(0) is None
    few = replace(bench, order=bench.order[:4])
    own = few.seeds(2)
    assert len(own) == 2
    evaluated, _, _ = few.images(0, 4)
    assert all((image != evaluated).flatten(1).any(1).all() for image in own)


def test_what_a_shard_learns_of_memory_holds_for_the_next(bench):
    assert bench.room("kind", 8) is bench.room("kind", 3)
    assert bench.room("kind", 8) is not bench.room("other", 8)


def test_a_shard_says_what_share_of_its_gradients_was_zero(bench):
    """FGSM looks once at each image: of one image one look, and of four images with one dead one a quarter."""

    class Dead(nn.Module):
        """Its slope is gone where the first pixel is above a half."""

        def forward(self, x):
            lives = (x[:, 0, 0, :1] <= 0.5).to(x.dtype)
            return network().to(x)(x) * lives

    x, _, indices = bench.images(0, 8)
    order = indices[x[:, 0, 0, 0].sort().indices].tolist()
    n_alive = int((x[:, 0, 0, 0] <= 0.5).sum())
    assert 2 < n_alive < 8
    dead = Classifier(Dead(), name="dead", classes=tiny.CLASSES, sha256="dead")
    known = replace(bench, classifiers={"dead": dead}, order=tuple(order))
    fgsm = PluginId("attacks.fgsm:FGSM", "fgsm", "{}", "33")
    bare = replace(job(), defenses=(), classifier=ClassifierId("dead", "dead"), attack=fgsm)
    for start, stop, share in ((7, 8, 1.0), (0, 1, 0.0), (n_alive - 3, n_alive + 1, 0.25)):
        result, _ = run_shard(known, bare, start, stop)
        assert (result.zero_gradients, result.cost.forwards) == (share, stop - start)
        assert (result.start, result.stop, result.status) == (start, stop, Status.OK)

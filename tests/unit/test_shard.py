"""What a worker is given: whose victim a job attacks, which images, and which of the attacker's own."""

from dataclasses import replace

import pytest
import torch

from benchmark.classifier import Classifier
from benchmark.errors import BenchError
from benchmark.job import Frozen
from benchmark.purified import Purified
from benchmark.running.prepared import bench_of, prepare
from tests import tiny
from tests.tiny import job, network


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return bench_of(prepare(tiny.request(tmp_path_factory.mktemp("runs"))))


def classifier(name):
    return Classifier(network(), name=name, classes=10, sha256=name)


def test_a_job_on_a_bare_classifier_attacks_the_one_that_it_names(bench):
    ours, others = classifier("ours"), classifier("others")
    known = replace(bench, classifiers={"ours": ours, "others": others})
    for one in (ours, others):
        bare = replace(job(), defenses=(), classifier=Frozen(one.name, one.sha256))
        victim = known.victim_of(bare)
        assert isinstance(victim, Purified)
        assert victim.classifier is one
        assert victim.defenses == ()
    missing = replace(job(), defenses=(), classifier=Frozen("nobody", "0"))
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

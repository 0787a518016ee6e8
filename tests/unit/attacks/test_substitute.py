"""The substitute: images of the attacker's own, one network for every batch, labels counted."""

import json

import pytest
import torch

from attacks.substitute import Substitute, _network
from benchmark.datasets.given import Given
from benchmark.engine.attacker_images import seed_images
from benchmark.engine.attacking.target import Target
from benchmark.engine.dataset import Dataset, pixels_sha256
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.purified import Purified
from benchmark.errors import BenchError
from benchmark.estimate.estimate import estimate
from benchmark.evaluation.execute.run import run
from benchmark.evaluation.prepare.loading import load_classifier, load_dataset
from benchmark.records.protocol_files import parse_protocol
from benchmark.selftest.closed_forms import LinearTask
from tests.helpers.tiny_task import CLASSES, dataset, request
from tests.helpers.toy_plugins import Noise, Quantised, image_draws, linear_target

TASK = LinearTask.make(n=6, classes=4, shape=(1, 6, 6))
SEEDS = 0.5 + 0.2 * (image_draws(60, "seeds").uniform((1, 6, 6), dtype=torch.float64) - 0.5)


def attacked(attack, *defenses, share=2.0, which=None, **options):
    which = torch.arange(6) if which is None else which
    target = linear_target(TASK, *defenses, seeds=SEEDS, **options)
    x_adv = attack(
        target,
        TASK.x[which],
        TASK.y[which],
        threat=TASK.threat(Norm.LINF, share),
        draws=image_draws(6).take(which),
    )
    return x_adv, target


@pytest.mark.parametrize("inner", ["pgd", "fgsm"])
def test_by_labels_alone_it_finds_what_fools_and_asks_no_gradient(inner):
    attack = Substitute(rounds=4, epochs=6, attack=inner)
    x_adv, target = attacked(attack, Quantised(), share=4.0)
    assert (TASK.room(x_adv) < 0).all()
    assert (target.backwards, target.gradients) == (0, 0)
    assert target.forwards == 60 * 2**3, "each round but the first doubles the images"
    below = Substitute(rounds=1, epochs=1, attack=inner)
    assert (TASK.room(attacked(below, Quantised(), share=0.95)[0]) > 0).all()


def test_every_batch_is_attacked_on_the_same_substitute():
    attack = Substitute(rounds=2, epochs=2)
    whole, _ = attacked(attack)
    for which in (torch.tensor([3]), torch.tensor([5, 0])):
        part, target = attacked(attack, which=which, batch_size=7)
        torch.testing.assert_close(part, whole[which], rtol=0, atol=1e-9)
        assert target.forwards == 120


def test_other_draws_teach_another_one_and_the_global_generator_stays_as_it_was():
    attack, images = Substitute(rounds=1, epochs=1, attack="fgsm"), []
    before = torch.get_rng_state()
    for seed in (1, 2):
        target = linear_target(TASK, seeds=SEEDS)
        draws = Draws.of(seed, torch.arange(6))
        threat = TASK.threat(Norm.LINF, 1.0)
        images.append(attack(target, TASK.x, TASK.y, threat=threat, draws=draws))
    assert not torch.equal(*images)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_random_victims_label_is_the_most_frequent_and_each_answer_counts():
    _, target = attacked(Substitute(rounds=2, epochs=1, draws=5), Noise())
    assert target.forwards == 5 * 120


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 32, 32), (3, 61, 64), (1, 28, 28), (1, 8, 40)])
def test_its_network_takes_images_of_any_size(shape):
    one = Draws.of(0, torch.zeros(1, dtype=torch.int64))
    network = _network(torch.zeros(shape), 7, one)
    assert network(torch.zeros(2, *shape)).shape == (2, 7)
    assert sum(p.numel() for p in network.parameters()) < 400_000


@pytest.mark.parametrize(
    "attack",
    [
        Substitute(rounds=0),
        Substitute(step=0.0),
        Substitute(epochs=0),
        Substitute(draws=0),
        Substitute(attack="apgd"),
    ],
    ids=lambda attack: str(attack.arguments()),
)
def test_wrong_arguments_are_refused_in_one_line(attack):
    with pytest.raises(BenchError, match="substitute") as caught:
        attacked(attack)
    assert "\n" not in str(caught.value)


def test_without_images_of_its_own_it_is_refused():
    with pytest.raises(BenchError, match="images of the attacker's own"):
        Substitute()(
            linear_target(TASK),
            TASK.x,
            TASK.y,
            threat=TASK.threat(Norm.LINF, 1.0),
            draws=image_draws(6),
        )


@pytest.mark.slow
def test_on_digits_a_third_of_the_classifiers_images_fall_to_150_images_and_labels(tmp_path):
    digits = load_dataset("digits", folder=tmp_path)
    classifier = load_classifier("digits-cnn", dataset=digits, folder=tmp_path)
    which = digits.order("test")[:40]
    x, y = digits.images("test", which), digits.labels("test")[which]
    seeds = seed_images(digits, "test", which.tolist(), Substitute.seeds)
    target = Target(Purified([], classifier), classes=10, seeds=seeds)
    threat = Threat.parse("linf:0.3")
    x_adv = Substitute(rounds=4)(target, x, y, threat=threat, draws=image_draws(40))[:, 0]
    assert float((classifier(x_adv).argmax(1) != y).double().mean()) > 1 / 3
    assert target.forwards == 150 * 2**3


def test_the_attackers_images_are_of_the_training_split_where_there_is_one(tmp_path):
    digits = load_dataset("digits", folder=tmp_path)
    seeds = seed_images(digits, "test", range(500), 150)
    assert torch.equal(seeds, digits.images("train", digits.order("train")[:150]))
    test = digits.images("test", torch.arange(500)).flatten(1)
    assert not (seeds.flatten(1)[:, None] == test[None]).all(2).any()
    assert pixels_sha256(seeds, ()) != pixels_sha256(seeds.flip(0), ())


def test_else_they_are_the_end_of_the_order_and_never_evaluated():
    given = dataset(40)
    order = given.order("test")
    seeds = seed_images(given, "test", order[:20].tolist(), 12)
    assert torch.equal(seeds, given.images("test", order[-12:]))
    with pytest.raises(BenchError, match=r"needs 12 images .* 11 of its test images") as caught:
        seed_images(given, "test", order[:29].tolist(), 12)
    assert "\n" not in str(caught.value)


PROTOCOL = b"""
name: queries
version: 1
summary: black-box rows
samples: 12
shard_size: 4
criterion: {draws: 6, vote: 3, any_of: 2}
attacks:
  - {id: clean, column: clean, knowledge: oblivious, attack: clean}
  - {id: square, column: black-box, knowledge: black-box, attack: square, arguments: {queries: 40, draws: 2}}
  - {id: substitute, column: black-box, knowledge: black-box, attack: substitute,
     arguments: {rounds: 1, epochs: 1, attack: fgsm}}
"""


def whole_run(folder, images):
    protocol = parse_protocol(PROTOCOL, where="queries")
    return run(request(folder, dataset=images, protocol=protocol))


def test_a_run_hands_the_images_over_and_its_key_covers_them(tmp_path):
    images = dataset(170)
    entry = whole_run(tmp_path / "a", images)
    assert entry.status == "complete", entry.gaps
    assert entry.columns.black_box.rows == ("square", "substitute")
    assert entry.columns.black_box.rates.single.value >= entry.worst.single.value
    row = next(row for row in entry.attacks if row.id == "substitute")
    assert row.cost.forwards_per_image == 3 * 150 / 12, "three batches, each with 150 labels"
    other = Given(
        images=torch.cat((images._images[:-1], 1 - images._images[-1:])),
        labels=images._labels,
        classes=CLASSES,
        title="tiny",
    )
    keys = {row.id: row.job_key for row in entry.attacks}
    again = {row.id: row.job_key for row in whole_run(tmp_path / "b", other).attacks}
    assert not set(keys.values()) & set(again.values()), "other images are another dataset"
    json.dumps(entry.model_dump(mode="json"), allow_nan=False)


def test_the_estimate_spreads_a_batchs_labels_over_its_images(tmp_path):
    protocol = parse_protocol(PROTOCOL, where="queries")
    asked = request(tmp_path, dataset=dataset(170), protocol=protocol)
    rows = {row.id: row.passes for row in estimate(asked).rows}
    assert (rows["substitute"].forwards, rows["substitute"].shared) == (38, 0)  # 450 over 12
    assert rows["square"].forwards == 40


def test_where_there_are_not_so_many_images_the_row_is_a_gap(tmp_path):
    entry = whole_run(tmp_path, dataset(20))
    assert [(gap.row, gap.column) for gap in entry.gaps] == [("substitute", "black-box")]
    assert "needs 150 images" in entry.gaps[0].reason
    assert entry.columns.black_box.rates is None


class Broken(Dataset):
    """Has no images at all."""

    name, shape, classes, threat, model = "broken", (1, 2, 2), 2, "", ""

    def labels(self, split):
        raise BenchError("no files here")

    def images(self, split, indices):
        raise BenchError("no files here")


def test_a_dataset_without_files_says_so_itself(tmp_path):
    with pytest.raises(BenchError, match="no files here"):
        seed_images(Broken(folder=tmp_path), "test", (), 3)

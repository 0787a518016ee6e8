"""Whole runs: nothing that must not matter matters, and a failure is a gap."""

from __future__ import annotations

import pytest
import torch

from attacks.pgd import PGD
from benchmark.engine.victims.defense import Defense, Derivative
from benchmark.errors import BenchError, ContractBroken
from benchmark.evaluation.execute.run import Listener, run
from benchmark.records.entry import without_timing
from tests.helpers.tiny_task import Noise, dataset, network, protocol, request

pytestmark = pytest.mark.slow


def outcomes(entry):
    """Everything about images in an entry, and nothing else."""
    return {attack.id: attack.outcomes for attack in entry.attacks} | {
        "worst": entry.per_image.worst,
        "chosen": entry.per_image.chosen,
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return run(request(tmp_path_factory.mktemp("reference")))


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_batch_size_changes_no_outcome(reference, tmp_path, batch_size):
    assert outcomes(run(request(tmp_path, batch_size=batch_size))) == outcomes(reference)


def test_two_workers_change_nothing(reference, tmp_path):
    assert without_timing(run(request(tmp_path, workers=2))) == without_timing(reference)


def test_a_run_cut_in_two_changes_nothing_and_repeats_nothing(reference, tmp_path):
    run(request(tmp_path, samples=8))
    again = []
    listener = Listener(on_done=lambda task, result, cached: again.append((task, cached)))
    assert without_timing(run(request(tmp_path), listener)) == without_timing(reference)
    assert {task.start for task, cached in again if cached} == {0, 4}
    assert {task.start for task, cached in again if not cached} == {8}


def test_the_seed_changes_the_draws(reference, tmp_path):
    assert outcomes(run(request(tmp_path, seed=1))) != outcomes(reference)


def test_changed_pixels_are_never_answered_by_old_shards(tmp_path):
    run(request(tmp_path))
    other = dataset()
    other._images = other._images.flip(-1)
    done_before = []
    listener = Listener(on_done=lambda task, result, cached: done_before.append(cached))
    run(request(tmp_path, dataset=other), listener)
    assert not any(done_before)


def test_a_damaged_shard_is_made_again(reference, tmp_path, caplog):
    run(request(tmp_path))
    for path in list(tmp_path.rglob("*.shard"))[::3]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 255
        path.write_bytes(bytes(content))
    assert without_timing(run(request(tmp_path))) == without_timing(reference)
    assert "damaged" in caplog.text


class Crashing(Noise):
    """Crashes on whatever is not a clean image of the task: the attacks fail, the clean row does not."""

    name = "crashing"

    def purify(self, x, *, draws):
        if x.requires_grad:
            raise RuntimeError("out of luck")
        return super().purify(x, draws=draws)


def gap_failures(entry):
    """What an entry of the crashing purifier gets wrong; empty where each crash is a named gap."""
    failures = []
    if entry.status != "gaps":
        failures.append(f"the entry is {entry.status}")
    if {gap.row for gap in entry.gaps} != {"pgd:exact", "aware"}:
        failures.append(f"the gaps are {[gap.row for gap in entry.gaps]}")
    if not all("out of luck" in gap.reason for gap in entry.gaps):
        failures.append("a gap does not say why")
    if entry.columns.adaptive.rates or entry.columns.auxiliary.rates:
        failures.append("a column with a crashed attack has a value")
    if entry.columns.oblivious.rates is None:
        failures.append("a column without a crash has none")
    return failures


@pytest.mark.parametrize("workers", [1, 2])
def test_a_crash_in_an_attack_is_a_named_gap_and_never_a_robust_image(tmp_path, workers):
    entry = run(request(tmp_path, defense=Crashing(), workers=workers))
    assert gap_failures(entry) == []


def test_a_swallowed_crash_would_be_noticed(tmp_path, monkeypatch):
    """The fault planted: a crashed attack hands back the clean images, as if it had found nothing."""
    perturb = PGD.perturb

    def swallowing(self, target, x, y, *, threat, draws):
        try:
            return perturb(self, target, x, y, threat=threat, draws=draws)
        except RuntimeError:
            return x

    monkeypatch.setattr(PGD, "perturb", swallowing)
    assert gap_failures(run(request(tmp_path, defense=Crashing()))) != []


def test_a_crashed_job_is_tried_again_by_the_next_run(tmp_path, monkeypatch, reference):
    class Mended(Noise):
        """The same defense by its key: crashes while the switch is on."""

        is_broken = True

        def purify(self, x, *, draws):
            if self.is_broken and x.requires_grad:
                raise RuntimeError("out of luck")
            return super().purify(x, draws=draws)

    assert run(request(tmp_path, defense=Mended())).status == "gaps"
    monkeypatch.setattr(Mended, "is_broken", False)
    entry = run(request(tmp_path, defense=Mended()))
    assert entry.status == "complete"
    assert entry.per_image.worst == reference.per_image.worst


class Returns(Defense):
    """Puts out what it is told to."""

    name = "returns"
    stochastic = False
    gradient = Derivative.EXACT

    def __init__(self, *, what: str = "") -> None:
        self.what = what

    def purify(self, x, *, draws):
        if self.what == "in place":
            return x.mul_(0.5)
        return {
            "nan": x * torch.nan,
            "shape": x[:, :, :-1],
            "range": x + 1,
            "dtype": x.half(),
        }[self.what]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nan", "values from nan"),
        ("shape", "must return the same"),
        ("range", r"must return images in \[0, 1\]"),
        ("dtype", "must return the same"),
        ("in place", "changed its input in place"),
    ],
)
def test_a_purifier_that_breaks_its_contract_is_refused_with_one_line(tmp_path, what, message):
    with pytest.raises(ContractBroken, match=message) as caught:
        run(request(tmp_path, defense=Returns(what=what)))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.shard"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples": 13}, "has 12 test images"),
        ({"threat": "linf:-1"}, "above 0"),
        ({"device": "cuda:99"}, "is not there"),
        ({"device": "tpu"}, "is not understood"),
        ({"defense": "gausian"}, "Did you mean 'gaussian'"),
        ({"defense": "none", "defense_args": {"sigma": 1}}, "takes no argument 'sigma'"),
        ({"defense": "gaussian", "defense_args": {"sigma": "much"}}, "of the kind float"),
        ({"defense": "nowhere:Nothing"}, "cannot be imported"),
        (
            {"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(9, 4))},
            "does not take",
        ),
        ({"model": torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))}, "shape"),
    ],
)
def test_what_cannot_be_met_is_refused_in_one_line_before_anything_runs(tmp_path, changes, message):
    with pytest.raises(BenchError, match=message) as caught:
        run(request(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.shard"))


def test_an_image_is_robust_only_if_its_true_label_is_predicted(tmp_path):
    """The first images of the tiny task are misclassified when clean; they may never count as robust."""
    entry = run(request(tmp_path, defense="none"))
    wrong = network()(dataset().images("test", torch.tensor(entry.per_image.indices))).argmax(1)
    for label, predicted, worst in zip(
        entry.per_image.labels, wrong.tolist(), entry.per_image.worst, strict=True
    ):
        if predicted != label:
            assert set(worst) == {"0"}


def test_every_column_is_measured_on_all_images(tmp_path):
    entry = run(request(tmp_path, protocol=protocol()))
    for attack in entry.attacks:
        assert len(attack.outcomes) == 12

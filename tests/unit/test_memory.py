"""Memory that runs out: fewer rows in a pass, the same outcomes, the same counts."""

from __future__ import annotations

import logging
import weakref

import pytest
import torch

import attacks.autoattack
import attacks.fast_autoattack
import benchmark.memory
from attacks.apgd import APGD
from attacks.autoattack import AutoAttack
from attacks.auxiliary import AuxiliaryAware
from attacks.fast_autoattack import FastAutoAttack
from attacks.fgsm import FGSM
from attacks.pgd import PGD
from benchmark.criterion import Criterion
from benchmark.defense import Defense, Derivative
from benchmark.errors import BenchError
from benchmark.memory import Room, free_memory, is_out_of_memory
from benchmark.pieces import InPieces
from benchmark.running.run import run
from benchmark.target import Target
from benchmark.threat import Norm, Threat
from benchmark.training.attacks import training_attack
from benchmark.trust.truths import LinearTask
from benchmark.verdict import judge
from tests.cramped import Cramped, run_out_of_memory
from tests.tiny import Noise as TinyNoise
from tests.tiny import request
from tests.toys import Nervous, Noise, Same, image_draws, linear_target, nonlinear_target

CPU = torch.device("cpu")
LINF = Threat(Norm.LINF, 0.05)
SEARCHES = {
    "pgd": PGD(steps=4, restarts=2),
    "apgd": APGD(steps=8, loss="dlr-targeted", targets=2),
    "fgsm": FGSM(random_start=True),
    "auxiliary": AuxiliaryAware(steps=3, lambdas=[0, 1]),
    "auxiliary-a1": AuxiliaryAware(steps=3, lambdas=[0, 1], variant="A1"),
    "projected": AuxiliaryAware(steps=3, projection=True),
}


@pytest.fixture(autouse=True)
def freed(monkeypatch):
    """How often memory was freed; a whole collection each time would take most of these tests' time."""
    times = []
    monkeypatch.setattr(benchmark.memory, "free_memory", lambda: times.append(None))
    return times


def widths(room: Room, total: int, most: int) -> list[int]:
    """Rows of the passes that came to their end, where a pass over more than `most` runs out of memory."""

    def one_pass(rows):
        if len(rows) > most:
            run_out_of_memory()
        return rows.tolist()

    passes = [found for _, found in room.passes(total, one_pass, CPU)]
    assert [row for found in passes for row in found] == list(range(total))
    return [len(found) for found in passes]


def test_a_pass_that_runs_out_of_memory_is_made_again_with_half_its_rows_as_are_all_later(freed):
    room = Room(64)
    assert widths(room, 70, most=20) == [16, 16, 16, 16, 6]
    assert room.halvings == 2
    assert len(freed) == 2
    assert widths(room, 20, most=64) == [16, 4]


def test_where_a_batch_is_smaller_than_the_limit_its_own_size_is_halved():
    room = Room(2048)
    assert widths(room, 6, most=3) == [3, 3]
    assert room.halvings == 1


def test_one_row_that_does_not_fit_is_refused_in_one_line_that_says_why():
    with pytest.raises(BenchError, match=r"one image needs more memory .*can't allocate") as caught:
        widths(Room(8), 3, most=0)
    assert "\n" not in str(caught.value)


def test_a_batch_that_must_not_be_cut_is_refused_at_once():
    with pytest.raises(BenchError, match="batch of 8 images that cannot be cut"):
        widths(Room(8, least=8), 8, most=4)


def test_another_failure_is_passed_on_as_it_is():
    def one_pass(rows):
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match=r"^shapes do not fit$"):
        list(Room(8).passes(3, one_pass, CPU))


def test_it_is_said_once_however_often_it_happens(caplog):
    with caplog.at_level(logging.WARNING):
        widths(Room(64), 64, most=1)
    assert len([record for record in caplog.records if "memory ran out" in record.message]) == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (MemoryError("Unable to allocate 8 GiB for an array"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_says_that_memory_ran_out_is_told_from_what_does_not(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_broken_circle_that_holds_tensors_is_freed():
    class Node:
        def __init__(self):
            self.me = self

    reference = weakref.ref(Node())
    free_memory()
    assert reference() is None


def test_torchs_own_allocator_is_understood():
    with pytest.raises(RuntimeError) as caught:
        run_out_of_memory()
    assert is_out_of_memory(caught.value)


def attacked(attack, defenses, **cramped):
    """Images, victim and target of one attack on the small network, in float64."""
    target, x, y = nonlinear_target(*defenses, eot=3 if defenses[0].stochastic else 1)
    if cramped:
        target.victim = Cramped(target.victim, **cramped)
    images = attack(target, x, y, threat=LINF, draws=image_draws(len(x)))
    return images, target


@pytest.mark.parametrize(
    "cramped",
    [{"rows": 5}, {"rows": 1, "where": "backward"}, {"where": "anywhere"}],
    ids=lambda cramped: "-".join(map(str, cramped.values())),
)
@pytest.mark.parametrize("defenses", [(Nervous(),), (Noise(),)], ids=["fixed", "random"])
@pytest.mark.parametrize("name", SEARCHES)
def test_an_attack_that_runs_out_of_memory_finds_the_same_images_for_the_same_passes(
    name, defenses, cramped
):
    images, target = attacked(SEARCHES[name], defenses)
    again, tight = attacked(SEARCHES[name], defenses, **cramped)
    assert tight.victim.failures
    torch.testing.assert_close(again, images, rtol=0, atol=1e-9)
    assert (tight.forwards, tight.backwards) == (target.forwards, target.backwards)
    assert (tight.gradients, tight.zero_gradients) == (target.gradients, target.zero_gradients)
    assert tight.trace == pytest.approx(target.trace)


def test_a_pass_that_breaks_off_is_not_counted():
    target, x, _ = nonlinear_target()
    target.victim = Cramped(target.victim, rows=4)
    target.predict(x, draws=image_draws(len(x)))
    assert target.victim.failures > 0
    assert (target.forwards, target.backwards) == (len(x), 0)


@pytest.mark.parametrize("cramped", [{"rows": 7}, {"rows": 1}, {"where": "anywhere"}], ids=str)
def test_a_verdict_that_runs_out_of_memory_is_the_same_verdict(cramped):
    target, x, y = nonlinear_target(Noise(sigma=0.2))
    draws, criterion = image_draws(len(x)), Criterion(draws=6, vote=3, any_of=2)
    candidates = torch.stack((x, (x + 0.1).clamp(0, 1)), dim=1)
    expected, chosen = judge(target.victim, candidates, y, draws=draws, criterion=criterion)
    tight = Cramped(target.victim, **cramped)
    outcomes, images = judge(tight, candidates, y, draws=draws, criterion=criterion)
    assert tight.failures
    assert torch.equal(images, chosen)
    for rule in expected:
        assert [o.bits for o in outcomes[rule]] == [o.bits for o in expected[rule]]
        assert [o.rate for o in outcomes[rule]] == [o.rate for o in expected[rule]]


def in_pieces(victim, x, weights, *, rows, retain=False):
    """Logits and the gradients of their weighted sums, one for each row of `weights`, through pieces."""
    draws = image_draws(len(x))
    counted = []
    pieces = InPieces(rows, on_backward=counted.append)
    leaf = x.clone().requires_grad_()
    logits = pieces(leaf, lambda part, at: victim.logits(part, draws=draws.take(at), mode="exact"))
    gradients = [
        torch.autograd.grad((w * logits).sum(), leaf, retain_graph=retain or w is not weights[-1])[
            0
        ]
        for w in weights
    ]
    return logits.detach(), torch.stack(gradients), counted, pieces


@pytest.mark.parametrize(
    "cramped",
    [{"rows": 8}, {"rows": 5, "where": "backward"}, {"rows": 1}, {"where": "anywhere"}],
    ids=str,
)
def test_a_batch_in_pieces_has_the_logits_and_gradients_of_the_whole(cramped):
    target, x, _ = nonlinear_target(Noise())
    weights = list(image_draws(3, "weights").normal((len(x), 6), dtype=torch.float64))
    logits, gradients, counted, _ = in_pieces(target.victim, x, weights, rows=64)
    assert counted == [len(x)] * 3
    tight = Cramped(target.victim, **cramped)
    again, slopes, counted, pieces = in_pieces(tight, x, weights, rows=64)
    assert tight.failures
    assert pieces.room.halvings == tight.failures
    torch.testing.assert_close(again, logits, rtol=0, atol=1e-12)
    torch.testing.assert_close(slopes, gradients, rtol=0, atol=1e-12)
    assert counted == [len(x)] * 3


def test_a_whole_batch_in_pieces_is_passed_forward_once_and_no_older_graph_is_kept():
    target, x, _ = nonlinear_target(Same())
    draws = image_draws(len(x))
    passed = []

    def row_logits(part, rows):
        passed.append(len(part))
        return target.victim.logits(part, draws=draws.take(rows), mode="exact")

    pieces = InPieces(64, on_backward=lambda rows: None)
    leaf = x.clone().requires_grad_()
    first = pieces(leaf, row_logits)
    (slope,) = torch.autograd.grad(first.sum(), leaf, retain_graph=True)
    assert passed == [23]
    pieces(leaf, row_logits)
    assert passed == [23, 23]
    (again,) = torch.autograd.grad(first.sum(), leaf)  # its graph gave way to the second call's
    assert passed == [23, 23, 23]
    assert torch.equal(again, slope)


def test_in_pieces_without_gradients_keeps_nothing():
    target, x, _ = nonlinear_target(Same())
    draws = image_draws(len(x))
    pieces = InPieces(5, on_backward=lambda rows: None)
    with torch.no_grad():
        logits = pieces(
            x, lambda part, rows: target.victim.logits(part, draws=draws.take(rows), mode="exact")
        )
    expected = target.victim.logits(x, draws=draws, mode="exact")
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-12)
    assert not logits.requires_grad


@pytest.mark.parametrize(
    "cramped", [{"rows": 1}, {"rows": 2, "where": "backward"}, {"where": "anywhere"}], ids=str
)
def test_autoattacks_batch_stays_whole_while_its_victim_runs_out_of_memory(monkeypatch, cramped):
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
    task = LinearTask.make(n=3, classes=4, shape=(1, 6, 6))
    threat = task.threat(Norm.LINF, 1.05)
    found = []
    for is_cramped in (False, True):
        target = linear_target(task, Noise(sigma=1e-9))
        if is_cramped:
            target.victim = Cramped(target.victim, **cramped)
        attack = AutoAttack(version="standard")
        with torch.random.fork_rng():
            images = attack(target, task.x, task.y, threat=threat, draws=image_draws(3))
        found.append((images, target))
    (images, roomy), (again, tight) = found
    assert tight.victim.failures
    assert tight.room.rows < roomy.room.rows
    torch.testing.assert_close(again, images, rtol=0, atol=1e-6)
    assert (tight.forwards, tight.backwards) == (roomy.forwards, roomy.backwards)


@pytest.mark.parametrize("where", ["forward", "backward"])
def test_autoattack_on_an_image_that_never_fits_is_refused_in_one_line(monkeypatch, where):
    monkeypatch.setattr(attacks.autoattack, "call_alone", lambda function, order: function(order))
    target, x, y = nonlinear_target(Same())
    target.victim = Cramped(target.victim, rows=0, where=where)
    with (
        pytest.raises(BenchError, match="one image needs more memory"),
        torch.random.fork_rng(),
    ):
        AutoAttack()(target, x, y, threat=LINF, draws=image_draws(len(x)))


@pytest.mark.parametrize("cramped", [{"rows": 2}, {"rows": 2, "where": "backward"}], ids=str)
def test_fast_autoattack_finds_the_same_while_its_victim_runs_out_of_memory(monkeypatch, cramped):
    monkeypatch.setattr(
        attacks.fast_autoattack, "call_alone", lambda function, order: function(order)
    )
    found = []
    for is_cramped in (False, True):
        target, x, y = nonlinear_target(Same())
        if is_cramped:
            target.victim = Cramped(target.victim, **cramped)
        with torch.random.fork_rng():
            attack = FastAutoAttack(steps=5, targets=2, queries=20)
            found.append((attack(target, x, y, threat=LINF, draws=image_draws(len(x))), target))
    (images, roomy), (again, tight) = found
    assert tight.victim.failures
    assert tight.room.rows <= 2 < roomy.room.rows
    torch.testing.assert_close(again, images, rtol=0, atol=1e-5)
    assert (tight.forwards, tight.backwards) == (roomy.forwards, roomy.backwards)


class Bulky(TinyNoise):
    """A purifier that takes too much memory above so many rows."""

    name = "bulky"
    rows = 3

    def purify(self, x, *, draws):
        if len(x) > self.rows:
            run_out_of_memory()
        return super().purify(x, draws=draws)


def test_a_run_that_runs_out_of_memory_ends_with_the_same_entry(tmp_path):
    def facts(entry):
        return {
            row.id: (row.outcomes, row.cost.forwards_per_image, row.cost.backwards_per_image)
            for row in (*entry.attacks, *entry.sources)
        } | {"worst": entry.per_image.worst, "status": entry.status}

    roomy = run(request(tmp_path / "roomy", defense=TinyNoise()))
    assert facts(run(request(tmp_path / "tight", defense=Bulky()))) == facts(roomy)


class Huge(Defense):
    """Fits clean images, and no attack: its backward pass takes more memory than there is, even for one."""

    name = "huge"
    stochastic = False
    gradient = Derivative.EXACT

    def purify(self, x, *, draws):
        if x.requires_grad:
            run_out_of_memory()
        return x * 1.0


def test_an_image_that_never_fits_is_a_named_gap(tmp_path):
    entry = run(request(tmp_path, defense=Huge()))
    assert {gap.row for gap in entry.gaps} == {"pgd:exact", "aware"}
    assert all("one image needs more memory" in gap.reason for gap in entry.gaps)


def test_a_training_attack_never_cuts_the_batch_of_a_network_in_training_mode():
    target, x, y = nonlinear_target()
    network = target.victim.classifiers[0].network
    setting_like = type("S", (), {"classes": 6, "threat": LINF})()
    attack = training_attack("fgsm", setting_like)

    class Tight(torch.nn.Module):
        def forward(self, images):
            if len(images) > 4:
                run_out_of_memory()
            return network(images)

    module = Tight()
    with pytest.raises(BenchError, match="cannot be cut"):
        attack(module.train(), x, y, image_draws(len(x)))
    roomy = attack(network.eval(), x, y, image_draws(len(x)))
    tight = attack(module.eval(), x, y, image_draws(len(x)))
    torch.testing.assert_close(tight, roomy, rtol=0, atol=1e-12)


def test_a_target_is_as_before_where_memory_never_runs_out():
    target = Target(nonlinear_target()[0].victim, classes=6, batch_size=8)
    assert (target.room.rows, target.room.halvings) == (8, 0)

"""On a GPU: the same draws, the same images, memory that really runs out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from attacks.pgd import PGD
from benchmark.compute.determinism import begin_measuring, fix_numerics, peak_memory
from benchmark.compute.memory import free_memory
from benchmark.engine.attacking.external import InPieces
from benchmark.engine.attacking.mixed_precision import InBfloat16
from benchmark.engine.attacking.target import Target
from benchmark.engine.criterion import Criterion
from benchmark.engine.judging.verdict import judge
from benchmark.engine.randomness import Draws
from benchmark.engine.threat import EXAMPLES, Norm, Threat
from benchmark.engine.victims.classifier import Classifier
from benchmark.engine.victims.purified import Purified
from benchmark.engine.victims.victim import GradientMode
from benchmark.plugins import ATTACKS
from tests.helpers.toy_plugins import Noise, Same, image_draws, nonlinear_target

DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation"),
]
LINF = Threat(Norm.LINF, 0.05)
SHORT = {  # fewer steps than by default; an attack that is not here runs as it comes
    "pgd": {"steps": 5, "restarts": 2},
    "apgd": {"steps": 10, "loss": "dlr-targeted", "targets": 2},
    "auxiliary": {"steps": 4, "lambdas": [0, 1]},
    "cw": {"steps": 10, "binary_search_steps": 3},
    "rotation-translation": {"rotations": 5, "shifts": 3},
    "wasserstein": {"steps": 5},
    "rp2": {"steps": 5, "restarts": 2, "views": 2},
    "local-search": {"rounds": 4},
    "cw-linf": {"rounds": 3, "steps": 10, "target_class": "random"},
    "ddn": {"steps": 20},
    "mim": {"steps": 4, "target_class": "least-likely"},
    "square": {"queries": 100, "draws": 2},
    "hopskipjump": {"queries": 300, "first": 10, "draws": 2},
    "boundary": {"steps": 30, "draws": 2},
    "substitute": {"rounds": 2, "epochs": 1},
}


@pytest.fixture(autouse=True)
def numerics():
    fix_numerics()


def both():
    """The same draws, made on the CPU and on the GPU."""
    images = torch.tensor([0, 1, 5, 2**31, 2**40 + 3])
    here = Draws.of(7, images, "digits", "test").at("noise", 3).repeat(2)
    return here, here.to(DEVICE)


def test_random_words_integers_and_orders_are_those_of_the_cpu():
    here, there = both()
    assert there.words(9).device.type == DEVICE
    assert torch.equal(there.words(9).cpu(), here.words(9))
    assert torch.equal(there.integers(1000, (2, 3)).cpu(), here.integers(1000, (2, 3)))
    assert torch.equal(there.permutations(100).cpu(), here.permutations(100))
    seeds = [[g.initial_seed() for g in draws.generators()] for draws in (here, there)]
    assert seeds[0] == seeds[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_those_of_the_cpu_and_normal_ones_but_for_rounding(dtype):
    here, there = both()
    uniform = there.uniform((3, 8, 8), dtype=dtype)
    assert torch.equal(uniform.cpu(), here.uniform((3, 8, 8), dtype=dtype))
    normal = there.normal((3, 8, 8), dtype=dtype)
    close = {torch.float32: 1e-6, torch.float64: 1e-14}[dtype]
    torch.testing.assert_close(
        normal.cpu(), here.normal((3, 8, 8), dtype=dtype), rtol=close, atol=close
    )


def attacked(name, defense, device):
    """What an attack makes of the small float64 network, and the verdict on it."""
    target, x, y = nonlinear_target(defense, eot=2 if defense.stochastic else 1)
    target.victim.to(device)
    x, y, draws = x.to(device), y.to(device), image_draws(len(x)).to(device)
    target.sources = (x + 0.04).clamp(0, 1).unsqueeze(1)
    target.seeds = x[:9]
    attack = ATTACKS.get(name)(**SHORT.get(name, {}))
    threat = LINF if Norm.LINF in attack.norms else Threat.parse(EXAMPLES[min(attack.norms)])
    candidates = attack(target, x, y, threat=threat, draws=draws)
    criterion = Criterion(draws=4, vote=1, any_of=1)
    outcomes, chosen = judge(target.victim, candidates, y, draws=draws, criterion=criterion)
    assert chosen.device == x.device
    return candidates.cpu(), outcomes, (target.forwards, target.backwards)


@pytest.mark.parametrize("defense", [Same(), Noise()], ids=["fixed", "random"])
@pytest.mark.parametrize("name", ATTACKS.names())
def test_every_registered_attack_finds_on_a_gpu_what_it_finds_on_the_cpu(name, defense):
    if name == "fast-autoattack" and defense.stochastic:
        pytest.skip("it is for deterministic victims alone")
    images, outcomes, passes = attacked(name, defense, DEVICE)
    expected, verdicts, spent = attacked(name, defense, "cpu")
    if not ATTACKS.get(name).per_image:  # a library of float32, which amplifies rounding
        assert images.shape == expected.shape
        return
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
    assert passes == spent
    for rule, found in outcomes.items():
        assert [one.bits for one in found] == [one.bits for one in verdicts[rule]]


def hungry(n: int) -> tuple[Target, torch.Tensor, torch.Tensor, Draws]:
    """A victim of about three megabytes a row, with n images."""
    one = Draws.of(5, torch.zeros(1, dtype=torch.int64), "hungry")
    layers = [nn.Conv2d(3, 64, 3, padding=1), nn.Tanh(), nn.Conv2d(64, 64, 3, padding=1), nn.Tanh()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 32 * 32, 5)).double()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            shape = tuple(weight.shape)
            weight.copy_(0.05 * one.at(name).normal(shape, dtype=torch.float64)[0])
    classifier = Classifier(network, name="hungry", classes=5, sha256="").to(DEVICE)
    draws = image_draws(n).to(DEVICE)
    x = draws.at("points").uniform((3, 32, 32), dtype=torch.float64)
    target = Target(Purified([Noise(sigma=0.01)], classifier), classes=5, eot=4, batch_size=1024)
    return target, x, classifier(x).argmax(1), draws


@pytest.fixture
def little_memory():
    """This process may take 600 megabytes more than it has."""
    torch.cuda.init()
    free_memory()
    total = torch.cuda.get_device_properties(0).total_memory
    share = (torch.cuda.memory_reserved() + 600 * 2**20) / total
    yield lambda: torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    torch.cuda.set_per_process_memory_fraction(1.0)
    free_memory()


def test_memory_that_really_runs_out_changes_no_image_and_no_count(little_memory):
    attack = PGD(steps=2)
    roomy, x, y, draws = hungry(96)  # 384 rows
    expected = attack(roomy, x, y, threat=LINF, draws=draws)
    assert roomy.room.halvings == 0
    tight, x, y, draws = hungry(96)
    free_memory()
    little_memory()
    images = attack(tight, x, y, threat=LINF, draws=draws)
    assert tight.room.halvings > 0
    torch.testing.assert_close(images, expected, rtol=0, atol=1e-6)
    assert (tight.forwards, tight.backwards) == (roomy.forwards, roomy.backwards)


def test_a_librarys_batch_stays_whole_when_memory_really_runs_out(little_memory):
    target, x, _, draws = hungry(400)
    found = []
    for is_tight in (False, True):
        if is_tight:
            free_memory()
            little_memory()
        pieces = InPieces(400)
        leaf = x.clone().requires_grad_()

        def row_logits(part, rows):
            at = draws.take(rows)
            return target.victim.logits(part, draws=at, mode=GradientMode.EXACT)

        logits = pieces(leaf, row_logits)
        (slope,) = torch.autograd.grad(logits.square().sum(), leaf)
        assert bool(pieces.room.halvings) == is_tight
        found.append((logits.detach(), slope))
        del logits, pieces
    torch.testing.assert_close(found[1][0], found[0][0], rtol=0, atol=1e-9)
    torch.testing.assert_close(found[1][1], found[0][1], rtol=0, atol=1e-9)


def test_a_search_in_mixed_precision_is_one_in_bfloat16():
    target, x, _ = nonlinear_target(Same())
    victim = target.victim.to(DEVICE, torch.float32)
    x, draws = x.to(DEVICE, torch.float32), image_draws(len(x)).to(DEVICE)
    whole = victim.logits(x, draws=draws, mode=GradientMode.EXACT)
    rough = InBfloat16(victim).logits(x, draws=draws, mode=GradientMode.EXACT)
    assert rough.dtype == torch.float32
    assert torch.equal(rough, rough.bfloat16().float())
    torch.testing.assert_close(rough, whole, rtol=0.05, atol=0.05)


def test_the_memory_that_tensors_took_is_measured():
    begin_measuring(torch.device(DEVICE))
    before = peak_memory(torch.device(DEVICE))
    block = torch.zeros(2**22, device=DEVICE)
    assert peak_memory(torch.device(DEVICE)) >= before + block.nbytes

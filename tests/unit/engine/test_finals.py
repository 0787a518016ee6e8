"""Finals: a random victim of known rates, and how far candidates that add nothing move what is chosen."""

from dataclasses import replace

import pytest
import torch

from benchmark.engine.attacking.mixed_precision import AttackOutput, search_then_confirm
from benchmark.engine.criterion import Criterion, Outcome, Role, Rule
from benchmark.engine.judging.verdict import judge, survivors
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import Victim
from benchmark.errors import BenchError
from benchmark.records.scores import Scores
from benchmark.scoring.choice import choose

ONCE = Criterion(draws=20)
TWICE = Criterion(draws=20, finalists=6)
N = 80
NOTHING = AttackOutput(
    candidates=torch.zeros(0),
    forwards=0,
    backwards=0,
    gradients=0,
    zero_gradients=0,
    trace=(),
    warnings=(),
)


class Rated(Victim):
    """A victim that is right about an image as often as its first pixel says; its second one is its name.

    No two candidates have their luck in common, and margins are 1 or -1, so that none of them tells more.
    """

    classifiers = ()
    stochastic = True

    def __init__(self):
        super().__init__()
        self.asked = {}

    def logits(self, x, *, draws, mode):
        role = next(name for name in draws.path if name in tuple(Role))
        self.asked[role] = self.asked.get(role, 0) + len(x)
        number = draws.uniform((1,), dtype=torch.float64)[:, 0]
        number = (number * 2**24 * x[:, 0, 0, 1]) % 1
        sign = 2.0 * (number < x[:, 0, 0, 0]) - 1
        return torch.stack([sign, -sign], 1) / 2

    def auxiliary_loss(self, x, *, draws, mode):
        raise NotImplementedError


def images(rates):
    """Candidates `(b, m, 1, 1, 2)` of rates `(b, m)`."""
    turned = torch.rand(
        rates.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )
    return torch.stack([rates, turned], 2)[:, :, None, None]


def judged(rates, criterion, victim=None, x=None):
    """Outcomes of all rules, and the true rate of what single draws chose, `(b,)`."""
    b = len(rates)
    outcomes, chosen = judge(
        victim or Rated(),
        images(rates) if x is None else x,
        torch.zeros(b, dtype=torch.int64),
        draws=Draws.of(0, torch.arange(b), "set"),
        criterion=criterion,
    )
    return outcomes, chosen[:, 0, 0, 0, 0]


def strong(b=N):
    """Rates `(b, 5)` of images whose least ones lie between 0 and 0.6."""
    middle = torch.linspace(0, 0.6, b, dtype=torch.float64)[:, None]
    return middle + torch.tensor([0.0, 0.1, 0.2, 0.3, 0.4], dtype=torch.float64)


def moved(criterion, weaker):
    """Points by which 100 candidates that are right so much more often raise the true rate of the choice."""
    own = strong()
    weak = (own[:, :1] + weaker).clamp(max=1).expand(-1, 100)
    _, before = judged(own, criterion)
    _, after = judged(torch.cat([own, weak], 1), criterion)
    return 100 * float((after - before).mean())


def test_a_hundred_weak_candidates_move_a_row_by_less_than_2_points_and_without_finals_by_more():
    assert moved(TWICE, 0.3) < 2 < moved(ONCE, 0.3)


def test_near_equal_candidates_are_chosen_nearer_to_the_least_of_them():
    """60 candidates around a rate of one half: 20 draws choose one 7 points above the least, finals 3 to 4."""
    drawn = torch.randn(N, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    rates = (0.5 + 0.1 * drawn).clamp(0, 1)
    least = rates.min(1).values
    once, twice = (100 * float((judged(rates, c)[1] - least).mean()) for c in (ONCE, TWICE))
    assert twice < 0.6 * once


def rows(rates, criterion, first):
    """Rows of one candidate each, as `choose` takes them; true rates `(b, m)`."""
    x = images(rates)
    for j in range(rates.shape[1]):
        outcomes, _ = judged(rates[:, j : j + 1], criterion, x=x[:, j : j + 1])
        yield f"{first + j}", Scores.of(outcomes)


def test_many_near_equal_rows_raise_a_worst_case_by_less_than_2_points_and_without_finals_by_more():
    """Twenty rows, each 20 points weaker than the one that was there."""
    own = strong()[:, :1]
    rates = torch.cat([own, (own + 0.2).expand(-1, 20)], 1)
    rise = {}
    for criterion in (ONCE, TWICE):
        chosen = choose(list(rows(rates, criterion, 0)), Rule.SINGLE, N)
        true = [float(rates[i, int(name)]) for i, name in enumerate(chosen.rows)]
        rise[criterion] = 100 * (sum(true) / N - float(own.mean()))
    assert rise[TWICE] < 2 < rise[ONCE]


def test_finals_have_four_times_as_many_draws_and_at_most_so_many_finalists_a_rule():
    victim, rates = Rated(), torch.full((4, 40), 0.5, dtype=torch.float64)
    outcomes, _ = judged(rates, TWICE, victim)
    assert victim.asked["select"] == 4 * 40 * 20
    assert 4 * 6 * 80 <= victim.asked["finals"] <= 4 * 18 * 80
    assert all(o.rate * 80 == round(o.rate * 80) for o in outcomes[Rule.SINGLE])
    assert all(len(o.bits) == 20 for o in outcomes[Rule.SINGLE])


def test_few_candidates_go_to_the_finals_at_once():
    victim = Rated()
    judged(torch.full((2, 6), 0.5, dtype=torch.float64), TWICE, victim)
    assert victim.asked["finals"] == 2 * 6 * 80
    assert "select" not in victim.asked


def test_copies_of_a_candidate_take_no_place_in_the_finals():
    victim, few = Rated(), torch.full((1, 3), 0.5, dtype=torch.float64)
    x = images(few)
    copied = torch.cat([x, x[:, :1].expand(-1, 50, -1, -1, -1)], 1)
    assert judged(few, TWICE, victim, copied)[0] == judged(few, TWICE)[0]
    assert "select" not in victim.asked


def test_a_tie_leaves_an_image_as_it_is():
    rates = torch.tensor([[0.0, 0.0, 1.0], [1.0, 1.0, 1.0]], dtype=torch.float64)
    outcomes, _ = judged(rates, TWICE)
    assert [o.rate for o in outcomes[Rule.SINGLE]] == [0.0, 1.0]
    _, chosen = judge(
        Rated(),
        images(rates),
        torch.zeros(2, dtype=torch.int64),
        draws=Draws.of(0, torch.arange(2), "set"),
        criterion=TWICE,
    )
    assert torch.equal(chosen[:, 0], images(rates)[:, 0])
    clean, other = (Scores.of({rule: [Outcome(0.5, 0.0, "1")] for rule in Rule}) for _ in range(2))
    assert choose([("clean", clean), ("other", other)], Rule.SINGLE, 1).rows == ("clean",)


def test_an_image_counts_as_beaten_only_where_the_finals_say_so():
    """Of 40 images with one candidate that is right at 1 draw of 20, the 20 draws find some always wrong."""
    rates = torch.full((40, 1), 0.05, dtype=torch.float64)
    given = (Rated(), images(rates), torch.zeros(40, dtype=torch.int64))
    left = {
        criterion: len(
            survivors(*given, draws=Draws.of(0, torch.arange(40), "set"), criterion=criterion)
        )
        for criterion in (ONCE, TWICE)
    }
    assert left[ONCE] < 36 <= left[TWICE]
    chosen = judged(rates, TWICE)[0][Rule.SINGLE]
    assert left[TWICE] == sum(outcome.rate > 0 for outcome in chosen)


def test_what_mixed_precision_beats_stays_beaten_beside_copies():
    """The search beats image 0; what float32 adds to image 1 lets its copies crowd nothing out."""
    rates = torch.tensor([[0.9, 0.0], [0.9, 0.8]], dtype=torch.float64)
    found, y = images(rates), torch.zeros(2, dtype=torch.int64)
    draws = Draws.of(0, torch.arange(2), "set")

    def attempt(victim, which, place):
        return replace(NOTHING, candidates=found[which].repeat(1, 9, 1, 1, 1))

    output = search_then_confirm(
        attempt,
        Rated(),
        2,
        survivors=lambda x: survivors(Rated(), x, y, draws=draws, criterion=TWICE),
    )
    assert output.candidates.shape[1] == 36
    outcomes, _ = judged(rates, TWICE, x=output.candidates)
    assert outcomes == judged(rates, TWICE)[0]
    assert outcomes[Rule.SINGLE][0].rate == 0


@pytest.mark.parametrize("finalists", [-1, 11])
def test_more_than_30_finalists_an_image_are_refused(finalists):
    with pytest.raises(BenchError, match="finalists are between 0 and 10"):
        Criterion(finalists=finalists)

"""The verdict on a victim whose answers are known: who is asked what at which draws, and what is chosen."""

import pytest
import torch

from benchmark.compute.memory import BatchLimit
from benchmark.engine.attacking.losses import LOSSES
from benchmark.engine.attacking.search import untargeted
from benchmark.engine.attacking.target import Target
from benchmark.engine.criterion import Criterion, Rule
from benchmark.engine.judging.verdict import ROWS, judge, survivors
from benchmark.engine.randomness import Draws
from benchmark.engine.victims.victim import Victim
from benchmark.errors import ContractBroken

CRITERION = Criterion(draws=4, vote=3, any_of=2)


class Written(Victim):
    """Images whose pixels are logits: `(1, 1, classes)`; a random one adds what a table has for its row."""

    classifiers = ()

    def __init__(self, table=None):
        super().__init__()
        self.table = table
        self.asked = []

    @property
    def stochastic(self):
        return self.table is not None

    def logits(self, x, *, draws, mode):
        role = draws.path[-2] if self.stochastic else draws.path[-1]
        self.asked.append((role, draws.images.tolist(), draws.rows.tolist()))
        logits = x[:, 0, 0]
        if self.stochastic:
            logits = logits + self.table[role].to(x.dtype)[draws.rows]
        return logits

    def auxiliary_loss(self, x, *, draws, mode):
        raise NotImplementedError


def images(*logits):
    """Candidates `(b, m, 1, 1, classes)`."""
    return torch.tensor(logits, dtype=torch.float64)[:, :, None, None]


def draws(b):
    return Draws.of(0, torch.arange(7, 7 + b), "set")


FIXED = images([[2, 1, 0], [1, 1.5, 0], [0, 3, 1]], [[0, 2, 1], [0, 4, 0], [1, 2, 0]])
LABELS = torch.tensor([0, 1])
ZEROS = {role: torch.zeros(4, 3) for role in ("select", "score")}


def test_a_fixed_victim_is_asked_once_and_the_least_margin_is_chosen_of_equal_rates():
    victim = Written()
    outcomes, chosen = judge(victim, FIXED, LABELS, draws=draws(2), criterion=CRITERION)
    for rule in Rule:
        assert [(o.rate, o.margin, o.bits) for o in outcomes[rule]] == [(0, -3, "0"), (1, 1, "1")]
    assert torch.equal(chosen[:, 0], torch.stack((FIXED[0, 2], FIXED[1, 0])))
    assert [(role, len(found)) for role, found, _ in victim.asked] == [("x1", 2)] * 3


def test_a_first_candidate_is_kept_where_others_are_no_worse():
    same = images([[2, 1, 0], [2, 1, 0]])
    same[0, 1, 0, 0, 2] = -1  # another image of the same margin
    _, chosen = judge(Written(), same, LABELS[:1], draws=draws(1), criterion=CRITERION)
    assert torch.equal(chosen[0, 0], same[0, 0])


TABLE = {
    "select": torch.tensor([[0.0, 0, 0], [0, 2, 0], [0, 2, 0], [0, 0, 0]]),
    "score": torch.tensor([[0.0, 2, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]),
}


class Roles(Written):
    """The table of the role under which it is asked, whatever comes below that name."""

    def logits(self, x, *, draws, mode):
        (role,) = set(draws.path) & set(self.table)
        self.asked.append((role, draws.images.tolist(), draws.rows.tolist()))
        return x[:, 0, 0] + self.table[role].to(x.dtype)[draws.rows]


def test_a_random_victim_is_chosen_on_select_draws_and_scored_on_score_draws():
    """The first candidate is right at two of four select draws, the second at all; by a margin of 1 or of 3."""
    victim = Roles(TABLE)
    x = images([[1, 0, 0], [3, 0, 0]])
    outcomes, chosen = judge(victim, x, LABELS[:1], draws=draws(1), criterion=CRITERION)
    one = {rule: outcomes[rule][0] for rule in Rule}
    assert {rule: (o.rate, o.bits) for rule, o in one.items()} == {
        Rule.SINGLE: (0.5, "0111"),
        Rule.VOTE: (0.0, "1"),
        Rule.ANY: (0.0, "01"),
    }
    assert {o.margin for o in one.values()} == {(1 - 1 - 1 + 1) / 4}
    assert torch.equal(chosen[0, 0], x[0, 0])
    select = ("select", [7] * 4, [0, 1, 2, 3])
    assert victim.asked[:2] == [select] * 2  # both meet the same draws, each by itself
    assert victim.asked[2:] == [("score", [7] * 4, [0, 1, 2, 3])]  # once for all three rules


def test_each_rule_chooses_for_itself():
    """Any two are never right of the second candidate, of which single draws are right more often."""
    table = {"select": torch.zeros(4, 4), "score": torch.zeros(4, 4)}
    table["select"][[0, 1], 1] = 2.0  # draws 0 and 1 mislead towards class 1
    table["select"][[1, 3], 2] = 1.0  # draws 1 and 3 towards class 2
    x = images([[1, 0, -9, -9], [1, -9, 0.5, -9]])
    outcomes, _ = judge(Roles(table), x, LABELS[:1], draws=draws(1), criterion=CRITERION)
    rates = {rule: outcomes[rule][0].rate for rule in Rule}
    assert rates == {Rule.SINGLE: 0.5, Rule.VOTE: 0.0, Rule.ANY: 0.0}


def test_survivors_are_those_that_every_candidate_leaves_right_at_some_draw():
    never = {"select": torch.zeros(4, 3)}
    assert survivors(Written(), FIXED, LABELS, draws=draws(2), criterion=CRITERION).tolist() == [1]
    x = images([[1, 0, 0], [3, 0, 0]], [[1, 0, 0], [0, 9, 0]])
    both = torch.tensor([0, 0])
    found = survivors(Roles({**TABLE, **never}), x, both, draws=draws(2), criterion=CRITERION)
    assert found.tolist() == [0]
    found = survivors(Roles(TABLE), x, both, draws=draws(2), criterion=CRITERION)
    assert found.tolist() == [0]


def test_verdicts_are_made_in_one_layout_of_512_rows_and_a_smaller_room_changes_none():
    assert ROWS == 512
    few, many = Written(ZEROS), Written(ZEROS)
    a, _ = judge(few, FIXED, LABELS, draws=draws(2), criterion=CRITERION, room=BatchLimit(3))
    b, _ = judge(many, FIXED, LABELS, draws=draws(2), criterion=CRITERION)
    assert a == b
    assert max(len(found) for _, found, _ in few.asked) == 3
    assert max(len(found) for _, found, _ in many.asked) == 8


def test_an_attack_and_a_verdict_lay_out_their_rows_alike():
    """A draw of each image, then the next of each: neither order nor repetition says who asks."""
    asked, judged = Written(ZEROS), Written(ZEROS)
    judge(judged, FIXED[:, :1], LABELS, draws=draws(2), criterion=CRITERION)
    target = Target(asked, classes=3, eot=CRITERION.draws)
    goal = untargeted(target, LABELS, LOSSES["ce"])
    target.ascend(FIXED[:, 0], goal, draws=draws(2).at("select"))
    target.mean_logits(FIXED[:, 0], draws=draws(2).at("select"))
    assert asked.asked == [judged.asked[0]] * 2
    assert judged.asked[0] == ("select", [7, 8] * 4, [0, 0, 1, 1, 2, 2, 3, 3])


def test_a_logit_that_is_not_finite_is_refused():
    with pytest.raises(ContractBroken, match="not finite"):
        judge(Written(), FIXED / 0, LABELS, draws=draws(2), criterion=CRITERION)

"""Mutations planted in the verdict: a proof of the self-test's own fails at each of them."""

import pytest

import benchmark.engine.judging.verdict
import benchmark.evaluation.execute.executor
import benchmark.scoring.choice
import benchmark.scoring.derived
from benchmark.contract.checks import outcome_of
from benchmark.engine.attacking.attack import Attack
from benchmark.engine.criterion import Criterion, Outcome, Role, Rule
from benchmark.engine.dataset import pixels_sha256
from benchmark.records.result import Result, ShardCost, Status
from benchmark.selftest.canary_suite import CanaryRun, canaries
from benchmark.selftest.verdict_checks import verdicts
from tests.helpers.mutations import KINDS, draws_reused_across_rows


def roles_renamed(patch, **new):
    """Asks at draws of other roles than it was told to."""
    answers = benchmark.engine.judging.verdict.answers

    def other(*asked, role, **told):
        return answers(*asked, role=Role(new.get(role, role)), **told)

    patch.setattr(benchmark.engine.judging.verdict, "answers", other)


def select_and_score_swapped(patch):
    roles_renamed(patch, select="score", score="select")


def chosen_on_the_draws_that_score(patch):
    roles_renamed(patch, select="score")


def scored_on_the_draws_that_chose(patch):
    roles_renamed(patch, score="select")


def best_candidate_chosen(patch):
    def best(outcomes):
        return max(range(len(outcomes)), key=lambda i: (outcomes[i].rate, outcomes[i].margin))

    patch.setattr(benchmark.engine.judging.verdict, "worst", best)


def rows_chosen_by_their_score(patch):
    def least(outcomes):
        return min(range(len(outcomes)), key=lambda i: outcomes[i].accuracy)

    patch.setattr(benchmark.scoring.choice, "worst", least)


def best_row_chosen(patch):
    def best(outcomes):
        return max(range(len(outcomes)), key=lambda i: outcomes[i].rate)

    patch.setattr(benchmark.scoring.choice, "worst", best)


def one_draw_asked_of_many(patch):
    answers = benchmark.engine.judging.verdict.answers

    def once(victim, *asked, criterion, **told):
        found = answers(victim, *asked, criterion=Criterion(draws=1, vote=1, any_of=1), **told)
        draws = criterion.draws if victim.stochastic else 1
        each = (found.predictions, found.margins, found.rivals)
        return type(found)(*(one.expand(-1, draws) for one in each))

    patch.setattr(benchmark.engine.judging.verdict, "answers", once)


def crash_swallowed_by(name):
    def swallow(patch):
        perturb = KINDS[name].perturb

        def quiet(self, target, x, y, **options):
            try:
                return perturb(self, target, x, y, **options)
            except RuntimeError:
                return x.clone()

        patch.setattr(KINDS[name], "perturb", quiet)

    swallow.__name__ = f"crash_swallowed_by_{name}"
    return swallow


def crash_swallowed_at_the_door(patch):
    call = Attack.__call__

    def quiet(attack, target, x, y, **options):
        try:
            return call(attack, target, x, y, **options)
        except RuntimeError:
            return x.unsqueeze(1)

    patch.setattr(Attack, "__call__", quiet)


def crash_counted_as_withstood(patch):
    compute = benchmark.evaluation.execute.executor.compute

    def kind(bench, shard, store):
        result, images = compute(bench, shard, store)
        if result.status is Status.OK:
            return result, images
        right = (Outcome(1.0, 1.0, "1"),) * (shard.stop - shard.start)
        x, y, _ = bench.images(shard.start, shard.stop)
        withstood = Result(
            job=result.job,
            start=result.start,
            stop=result.stop,
            status=Status.OK,
            outcomes=dict.fromkeys(Rule, right),
            cost=ShardCost(forwards=0, backwards=0, seconds=0.0),
            pixels_sha256=pixels_sha256(x, y.tolist()),
        )
        return withstood, None

    patch.setattr(benchmark.evaluation.execute.executor, "compute", kind)


def gaps_kept_quiet(patch):
    patch.setattr(benchmark.scoring.derived, "missing_rows", lambda *_: iter(()))


VERDICT_MUTANTS = {  # a mutation and the proof that is there for it
    select_and_score_swapped: "verdict, draws and their roles",
    chosen_on_the_draws_that_score: "verdict, many candidates",
    scored_on_the_draws_that_chose: "verdict, many candidates",
    best_candidate_chosen: "verdict, draws and their roles",
    one_draw_asked_of_many: "verdict, draws and their roles",
    draws_reused_across_rows: "verdict, draws and their roles",
    rows_chosen_by_their_score: "verdict, many rows of a run",
    best_row_chosen: "canary bit-depth",
    **{crash_swallowed_by(name): "verdict, crashes" for name in KINDS},
    crash_swallowed_at_the_door: "verdict, crashes",
    crash_counted_as_withstood: "verdict, crashes",
    gaps_kept_quiet: "verdict, crashes",
}


def proof(title, folder):
    proofs = verdicts(folder)
    if title in proofs:
        return proofs[title]
    canary = next(canary for canary in canaries() if canary.name == title.split()[-1])
    return lambda: CanaryRun(folder, "cpu").finding(canary)


@pytest.mark.parametrize("title", sorted(set(VERDICT_MUTANTS.values())))
def test_without_a_mutation_the_verdict_passes(title, tmp_path):
    outcome = outcome_of(title, proof(title, tmp_path))
    assert outcome.passed, outcome.detail


@pytest.mark.parametrize(
    ("mutate", "title"),
    VERDICT_MUTANTS.items(),
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_mutated_verdict_fails_the_self_test(mutate, title, monkeypatch, tmp_path):
    mutate(monkeypatch)
    assert not outcome_of(title, proof(title, tmp_path)).passed

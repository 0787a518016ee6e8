"""Plausible scores: what one measured figure of an image says of the others; pure.

Nothing derives a measured figure. Each is held to the draws that it is a share of, to the sign of its margin,
and to what it is under the other rules.
"""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.engine.criterion import Rule
from benchmark.records.entry import Entry
from benchmark.records.identity import Asked
from benchmark.records.rates import MARGIN_DECIMALS, MOST_MARGIN, ROUNDING, RULES
from benchmark.records.scores import Scored, Scores

_ONCE = Asked(draws=1, vote=1, any_of=1)


def problems_of_scores(entry: Entry) -> Iterator[str]:
    """Scores that no evaluation under the entry's criterion gives, one line for each row and rule."""
    is_random = entry.defense.stochastic
    named: list[tuple[str, Scores | None, bool]] = [
        *((row.id, row.scores, is_random and not row.knows_draw) for row in entry.attacks),
        *((row.id, row.scores, False) for row in entry.sources),
        *((row.id, Scores(single=row.scores), is_random) for row in entry.diagnosis if row.scores),
        *((f"challenge {one.sha256[:12]}", one.scores, is_random) for one in entry.challenges),
    ]
    of_one_rule = {row.id for row in entry.diagnosis}
    for name, scores, is_drawn in named:
        if scores is None:
            continue
        rules = (Rule.SINGLE,) if name in of_one_rule else tuple(Rule)
        asked = entry.criterion if is_drawn else _ONCE
        for rule in rules:
            said = _strange(scores.under(rule), rule, asked, is_drawn=is_drawn)
            if said:
                yield f"{name}: under {RULES[rule].field}, {said}"
        if is_drawn and len(rules) > 1:
            yield from _across(name, scores, asked)
        elif scores.vote or scores.any_of:
            yield f"{name}: a victim that is asked once has the same scores under every rule"


def _size(asked: Asked, rule: Rule) -> int:
    """Draws of one outcome."""
    return min(getattr(asked, RULES[rule].field, 1), asked.draws)


def _strange(scored: Scored, rule: Rule, asked: Asked, *, is_drawn: bool) -> str:
    """What is impossible about the first image of which something is; empty where nothing is."""
    size = _size(asked, rule)
    groups, chances = asked.draws // size, asked.choosing // size
    for i, outcome in enumerate(scored.found):
        bits, rate, margin = outcome.bits, outcome.rate, outcome.margin
        if len(bits) != groups:
            return f"image {i} has {len(bits)} outcomes, and {groups} were asked for"
        if abs(rate * chances - round(rate * chances)) > chances * ROUNDING:
            return f"image {i}: a rate of {rate} is no share of {chances} draws"
        if not is_drawn and rate != float(bits):
            return f"image {i}: asked once, it is {bits} and was chosen at {rate}"
        if abs(margin) > MOST_MARGIN or round(margin, MARGIN_DECIMALS) != margin:
            return f"image {i}: a margin of {margin} is not as an entry keeps one"
        is_all_right = rate == 1 and rule is not Rule.VOTE
        if (is_all_right and margin < 0) or (rate == 0 and rule is Rule.SINGLE and margin > 0):
            return f"image {i}: a margin of {margin} does not go with a rate of {rate}"
    return ""


def _across(name: str, scores: Scores, asked: Asked) -> Iterator[str]:
    """Each rule has the least of its own rates, so that none is above what another rule's image has under it.

    A group is right throughout only where all of its draws are, and has a majority only where one is.
    """
    draws, size = asked.choosing, _size(asked, Rule.ANY)
    single, vote, any_of = (scores.under(rule).rates for rule in Rule)
    groups, won = draws // size, draws // _size(asked, Rule.VOTE)
    for i, right in enumerate(round(rate * draws) for rate in single):
        if round(any_of[i] * groups) > right // size:
            yield f"{name}: image {i} is right {right} times, too few for its rate of any-of-n"
            return
        if round(vote[i] * won) > right:
            yield f"{name}: image {i} is right {right} times, too few for its rate of the vote"
            return
        if right > draws - (groups - round(any_of[i] * groups)):
            yield f"{name}: image {i} is right {right} times, too often for its rate of any-of-n"
            return

"""Flags: verdicts on the known signs of an evaluation that fails to attack, computed from an entry alone.

Accuracies are compared in percentage points. A flag that is raised proves nothing; it says where to look.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from benchmark.engine.criterion import Rule
from benchmark.engine.threat import Knowledge
from benchmark.records.entry import Entry, Rate
from benchmark.records.entry_parts import AttackRecord, Flag
from benchmark.records.protocol import Column
from benchmark.records.rates import mean_rate, share
from benchmark.scoring.choice import choose
from benchmark.scoring.context_flag import verdict_unlike_attack
from benchmark.scoring.derived_rows import Rows
from benchmark.scoring.diagnosis_flags import (
    EXAMINED,
    black_box_beats_white_box,
    doubled,
    eps_curve_ends_high,
    eps_curve_rises,
    examined,
    random_noise,
)
from benchmark.scoring.flag_explanations import EXPLANATIONS
from benchmark.scoring.flag_parts import (
    WEAKER_POINTS,
    Finding,
    Measured,
    flag_of,
    lowest,
    percent,
    points,
    raised_above,
)
from benchmark.scoring.published_clean import unlike_published

ZERO_GRADIENTS = 0.05
"""Share of gradients that may be zero everywhere: a saturated loss gives a few, a masked one gives most."""
CLEAN_POINTS = 10.0
"""How far clean accuracy may drop under a stricter rule, before that rule rather than the attack does the work
(DiffBreak's issue 1: success at any of many draws drives clean images down as well)."""
NATIVE_POINTS = 5.0
"""How far AutoAttack's own verdict may lie from the re-scored one: more than twice the standard error of 512
images; measured upstream, 26 % natively were 48.5 % when drawn again."""
FALL_POINTS = 2.0
"""How far accuracy may still fall in the last quarter of the steps: one image of 50 is noise."""
FLOOR_CLEAN_POINTS = 5.0
"""How far a trained defense may stay behind its bare classifier on clean images (DESIGN section 7)."""
FLOOR_OBLIVIOUS_POINTS = -20.0
"""The same on images made on the bare classifier: it must be 20 ahead (DESIGN section 7)."""
STANDARD_ERRORS = 3.0
"""By how many standard errors of the paired difference a worst case may lie above what it was chosen from:
choice and score meet different draws, so that by chance it does; 1 row in 700 lies farther."""


def flags_of(entry: Entry) -> tuple[Flag, ...]:
    """All flags of an entry, in the order of `EXPLANATIONS`; the entry's own flags are not looked at."""
    return tuple(flag_of(name, CHECKS[name](entry)) for name in EXPLANATIONS)


def _beats_adaptive(entry: Entry, column: Column) -> Finding:
    """Whether a column is ahead of the adaptive one, both scored in the same way.

    AutoAttack's is, too: of a random victim its images are drawn again, as others' are, and its own verdict, by
    the last draw alone, is compared with nothing. Though it does not count there, what it found was there to
    be found.
    """
    weaker, adaptive = entry.family_rate(column), entry.family_rate(Column.ADAPTIVE)
    if weaker is None or adaptive is None:
        return f"the {column} or the adaptive column has no value"
    detail = f"{column} {percent(weaker.value)}, adaptive {percent(adaptive.value)} (points ahead)"
    return raised_above(points(adaptive.value, weaker.value), WEAKER_POINTS, detail)


def _is_one_step(row: AttackRecord) -> bool:
    """FGSM, also where a paper's is `ifgsm` of one step."""
    return row.attack == "fgsm" or (row.attack == "ifgsm" and row.arguments.get("steps") == 1)


def _one_step(entry: Entry) -> Finding:
    white = [row for row in entry.attacks if row.knowledge is Knowledge.WHITE_BOX]
    one = lowest(row for row in white if _is_one_step(row))
    adaptive = [row for row in white if row.column is Column.ADAPTIVE]
    many = lowest(row for row in adaptive if not _is_one_step(row))
    if one is None or many is None:
        return "the protocol has no one-step attack, or no adaptive one finished"
    detail = f"one step {percent(one[0])}, many {percent(many[0])} (points ahead)"
    return raised_above(points(many[0], one[0]), WEAKER_POINTS, detail)


def _zero_gradients(entry: Entry) -> Finding:
    rows = [
        row
        for row in entry.attacks
        if row.knowledge is Knowledge.WHITE_BOX
        and row.status == "ok"
        and row.column is not Column.CLEAN
    ]
    if not rows:
        return "no white-box attack finished"
    most = max(rows, key=lambda row: row.zero_gradients)
    detail = f"most in {most.id} (share of its gradients)"
    return raised_above(most.zero_gradients, ZERO_GRADIENTS, detail)


def _clean_fails(entry: Entry) -> Finding:
    if entry.clean is None:
        return "there is no clean accuracy"
    single, *others = (entry.clean.under(rule).value for rule in Rule)
    said = zip(("single", "vote", "any-of-n"), (single, *others), strict=True)
    detail = f"clean: {', '.join(f'{rule} {percent(x)}' for rule, x in said)} (points lost)"
    return raised_above(points(single, min(others)), CLEAN_POINTS, detail)


def _autoattack_rows(entry: Entry) -> list[AttackRecord]:
    return [row for row in entry.attacks if row.column is Column.AUTOATTACK and row.status == "ok"]


def _autoattack_warnings(entry: Entry) -> Finding:
    rows = _autoattack_rows(entry)
    if not rows:
        return "AutoAttack did not finish, or was not asked for"
    warnings = [text for row in rows for text in row.warnings]
    detail = "; ".join(warnings) or "none (number of warnings)"
    return raised_above(float(len(warnings)), 0.0, detail)


def _autoattack_native(entry: Entry) -> Finding:
    """Its own verdict is the last point of its trace, where the attack kept one."""
    rows = [row for row in _autoattack_rows(entry) if row.trace and row.rates]
    gaps = [(row.rates.single.value, row.trace[-1]) for row in rows if row.rates]
    if not gaps:
        return "AutoAttack kept no verdict of its own"
    again, native = max(gaps, key=lambda pair: abs(pair[0] - pair[1]))
    detail = f"natively {percent(native)}, drawn again {percent(again)} (points apart)"
    return raised_above(abs(points(again, native)), NATIVE_POINTS, detail)


def _convergence(entry: Entry) -> Finding:
    columns = (Column.ADAPTIVE, Column.AUXILIARY)
    falls = {
        row.id: _late_fall(row.trace)
        for row in entry.attacks
        if row.column in columns and row.status == "ok" and len(row.trace) >= 4
    }
    if not falls:
        return "no adaptive attack kept a trace of at least four steps"
    most = max(falls, key=lambda name: falls[name])
    detail = f"most in {most} (points lost in the last quarter of its steps)"
    return raised_above(falls[most], FALL_POINTS, detail)


def _late_fall(trace: Sequence[float]) -> float:
    """Points by which the lowest accuracy so far fell in the last quarter of the steps.

    The lowest so far, because a trace starts again with each restart. Where it reached 0 nothing was left to
    fall, and the trace of a deterministic victim ends there.
    """
    lowest = min(trace)
    return points(min(trace[: 3 * len(trace) // 4]), lowest) if lowest > 0 else 0.0


def _floor(entry: Entry, bare: Rate | None, defended: Rate | None, most: float) -> Finding:
    """Whether a trained defense loses more than `most` points to its bare classifier."""
    if not any(stage.weights_sha256 for stage in entry.defense.stages):
        return "nothing in this defense is trained"
    if bare is None or defended is None:
        return "the bare or the defended accuracy is not known"
    detail = (
        f"bare {percent(bare.value)}, defended {percent(defended.value)} (points lost; a gain is "
        f"negative)"
    )
    return raised_above(points(bare.value, defended.value), most, detail)


def _training_floor_clean(entry: Entry) -> Finding:
    defended = entry.clean.single if entry.clean else None
    return _floor(entry, entry.undefended.clean, defended, FLOOR_CLEAN_POINTS)


def _training_floor_oblivious(entry: Entry) -> Finding:
    defended = entry.family_rate(Column.OBLIVIOUS)
    return _floor(entry, entry.undefended.oblivious, defended, FLOOR_OBLIVIOUS_POINTS)


def _no_attack_effect(entry: Entry) -> Finding:
    if entry.clean is None or entry.worst is None or not entry.clean.single.value:
        return "no clean image was right, or nothing was measured"
    if not any(row.counts and row.column is not Column.CLEAN for row in entry.attacks):
        return "no attack of the protocol counts for such a victim"
    lost = points(entry.clean.single.value, entry.worst.single.value)
    detail = "points between clean accuracy and the worst case; there must be some"
    return Measured(lost, 0.0, detail, is_raised=lost <= 0)


def _worst_above_column(entry: Entry) -> Finding:
    """Whether a random victim's worst case is above a counting row or column, by more than chance makes it."""
    if not entry.defense.stochastic:
        return "a deterministic victim is asked once, and its worst case is the least of all"
    worst = entry.per_image.worst
    if entry.is_legacy or not worst:
        return "there is no worst case, or no scores are kept"
    compared = [(_errors(worst, bits), name, bits) for name, bits in _chosen_from(entry)]
    if not compared:
        return "no attack of the protocol counts for such a victim"
    most, name, bits = max(compared, key=lambda each: each[0])
    detail = (
        f"most above {name}: worst case {percent(mean_rate(worst))}, {name} "
        f"{percent(mean_rate(bits))} (standard errors of the paired difference)"
    )
    return raised_above(most, STANDARD_ERRORS, detail)


def _chosen_from(entry: Entry) -> list[tuple[str, tuple[str, ...]]]:
    """Outcomes of single draws, as published, of each counting row and each column that counts throughout."""
    n = len(entry.per_image.indices)
    counting = [row for row in entry.attacks if row.counts and row.outcomes]
    found = [(row.id, row.outcomes) for row in counting if row.column is not Column.CLEAN]
    clean = Rows(entry).clean
    for column in Column:
        family = entry.family(column)
        rows = [row for row in counting if row.column is column]
        if family and family.rates and len(rows) == len(family.rows) > 1:
            candidates = [*clean, *((row.id, row.scores) for row in rows)]
            found.append((f"column {column}", choose(candidates, Rule.SINGLE, n).bits))
    return found


def _errors(worst: Sequence[str], bits: Sequence[str]) -> float:
    """By how many standard errors the mean of the one is above that of the other, image by image.

    The error is the greater of what the images' differences show and of what so many draws give; an image that
    is right in k of n draws counts there with (k + 1) / (n + 2), so that no error is 0 (Laplace's rule).
    """
    pairs = [(share(a), share(b)) for a, b in zip(worst, bits, strict=True)]
    n, draws = len(pairs), len(worst[0])
    mean = math.fsum(a - b for a, b in pairs) / n
    spread = math.fsum((a - b - mean) ** 2 for a, b in pairs) / max(1, n - 1)
    smooth = [(share * draws + 1) / (draws + 2) for pair in pairs for share in pair]
    drawn = math.fsum(share * (1 - share) for share in smooth) / (n * draws)
    return round(mean / math.sqrt(max(spread, drawn) / n), 9)


CHECKS: Final[Mapping[str, Callable[[Entry], Finding]]] = {
    "transfer-beats-white-box": partial(_beats_adaptive, column=Column.TRANSFER),
    "oblivious-beats-adaptive": partial(_beats_adaptive, column=Column.OBLIVIOUS),
    "autoattack-beats-adaptive": partial(_beats_adaptive, column=Column.AUTOATTACK),
    "one-step": _one_step,
    "zero-gradients": _zero_gradients,
    "clean-fails": _clean_fails,
    "autoattack-warnings": _autoattack_warnings,
    "autoattack-native": _autoattack_native,
    "convergence": _convergence,
    "training-floor-clean": _training_floor_clean,
    "training-floor-oblivious": _training_floor_oblivious,
    "no-attack-effect": _no_attack_effect,
    "black-box-beats-white-box": black_box_beats_white_box,
    "doubled-steps": partial(doubled, kind="steps"),
    "doubled-eot": partial(doubled, kind="eot"),
    "eps-curve-rises": eps_curve_rises,
    "eps-curve-ends-high": eps_curve_ends_high,
    "random-noise": random_noise,
    **{name: partial(examined, name=name) for name in EXAMINED},
    "worst-above-column": _worst_above_column,
    "verdict-unlike-attack": verdict_unlike_attack,
    "unlike-published": unlike_published,
}
"""The rule of each flag."""

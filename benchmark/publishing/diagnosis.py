"""Diagnoses published: each variation beside the attack that it varies, and the eps curve put together."""

from __future__ import annotations

import json

from benchmark.criterion import Rule
from benchmark.publishing.diagnosis_records import CurvePoint, DiagnosisRecord
from benchmark.publishing.gathered import Gathered
from benchmark.publishing.measured import Measured, choose
from benchmark.publishing.outcomes import mean_rate


def diagnosis_records(made: Gathered) -> tuple[DiagnosisRecord, ...]:
    """Every row of the diagnosis, in the plan's order."""
    return tuple(_record(made, measured) for measured in made.diagnosis)


def eps_curve(made: Gathered) -> tuple[CurvePoint, ...]:
    """Accuracy under each budget, from the clean images on; empty without a curve or where part of it is a gap.

    At each budget an image counts with the worst of the clean one and of what the diagnosed attack made of it
    in any of its gradient modes. The threat's own budget is the ranked rows', cut to the diagnosis's images.
    """
    asked = [m for m in made.diagnosis if m.row.diagnosis and m.row.diagnosis.kind == "eps"]
    if not asked or not made.clean or any(measured.gap for measured in asked):
        return ()
    bases = {m.row.diagnosis.of for m in asked if m.row.diagnosis}
    own = [m for m in made.attacks if m.row.id in bases]
    if any(measured.gap for measured in own):
        return ()
    n = asked[0].n
    points = [CurvePoint(eps=0.0, rate=mean_rate(_worst(made, [], n)))]
    budgets: dict[float, list[Measured]] = {}
    for measured in (*own, *asked):
        budgets.setdefault(measured.row.job.threat.eps, []).append(measured)
    for eps in sorted(budgets):
        points.append(CurvePoint(eps=eps, rate=mean_rate(_worst(made, budgets[eps], n))))
    return tuple(points)


def _worst(made: Gathered, rows: list[Measured], n: int) -> tuple[str, ...]:
    """Outcomes of single draws on the first n images, of the worst of the clean one and of some rows."""
    return choose([measured.first(n) for measured in (*made.clean, *rows)], Rule.SINGLE).bits


def _record(made: Gathered, measured: Measured) -> DiagnosisRecord:
    row, job = measured.row, measured.row.job
    if row.diagnosis is None:
        raise ValueError(f"row {row.id!r} is no diagnosis")
    is_known = bool(made.clean) and not measured.gap
    bits = _worst(made, [measured], measured.n) if is_known else ()
    trace = measured.trace()
    return DiagnosisRecord(
        id=row.id,
        kind=row.diagnosis.kind,
        of=row.diagnosis.of,
        attack=job.attack.label,
        plugin=job.attack.path,
        arguments=json.loads(job.attack.arguments),
        source_sha256=job.attack.source,
        gradient=job.gradient,
        eot=job.eot,
        eps=job.threat.eps,
        images=measured.n,
        job_key=job.key,
        error=measured.gap if made.clean else measured.gap or "the clean row is a gap",
        rate=mean_rate(bits) if bits else None,
        outcomes=bits,
        own=trace[-1] if row.diagnosis.kind == "frozen" and bits and trace else None,
        cost=measured.cost(),
    )

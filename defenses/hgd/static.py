"""HGD's static training set: seven attacks on several networks, a budget drawn for each image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from benchmark.engine.threat import Norm, Threat
from benchmark.engine.victims.setting import Setting
from benchmark.errors import BenchError
from benchmark.recipe import Crafting
from benchmark.registry import unknown

SINGLES = 3
"""How many networks are attacked one by one at the most, besides all of them together."""
LEVELS = {"paper": range(1, 17), "code": range(1, 16), "port": range(1, 9)}
"""Whole numbers of 1/255: the paper's, the released code's, and those up to a threat of 8/255."""
THREAT = "threat"
STEPS_UP = 16
"""Into how many budgets the threat is cut where whole numbers of 1/255 mean little."""


def craftings(
    setting: Setting, *, eps: str | Sequence[int] | None, also: Sequence[str]
) -> tuple[Crafting, ...]:
    """The attacks of the paper's table 1, on the defended classifier and its companions.

    FGSM on each of the first three networks, FGSM on all of them together (their mean logits), and iterative
    FGSM of 2, 4 and 8 steps on all of them: seven with three networks, six with two. With one network the
    ensemble is that network, and four are left. Attacks are given what the attacked networks predict, so that
    no label leaks; pixels are rounded to 8 bits.

    Args:
        setting: With the defended classifier and the companions.
        eps: See `budgets`.
        also: Further attacks on all networks together, such as `clean` and `noise`.
    """
    names = (setting.defended().name, *setting.companions)
    singles = [(f"fgsm>{name}", "fgsm", (name,)) for name in names[:SINGLES]]
    together = [("fgsm>all", "fgsm", names)] if len(names) > 1 else []
    iterated = [(f"ifgsm{k}>all", iterative(k), names) for k in (2, 4, 8)]
    others = [(f"{attack}>all", attack, names) for attack in also]
    made = partial(Crafting, threats=budgets(setting, eps), labels="predicted", is_8bit=True)
    return tuple(
        made(name=name, attack=attack, against=against)
        for name, attack, against in (*singles, *together, *iterated, *others)
    )


def iterative(steps: int) -> str:
    """Iterative FGSM of k steps of eps / k each, from the image itself, without momentum."""
    return f"pgd(steps={steps}, step_size={1 / steps}, random_start=False, keep='last')"


def budgets(setting: Setting, eps: str | Sequence[int] | None) -> tuple[Threat, ...]:
    """The budgets of which each image is given one.

    Args:
        setting: Whose images and threat decide where `eps` is None: in l2, and for grey images, 16 steps up to
            the threat; for colour images of up to 64 pixels `port`; for larger ones `paper`.
        eps: `paper` (1 to 16 in units of 1/255), `code` (1 to 15), `port` (1 to 8), `threat` (16 steps up to
            the threat), or whole numbers of 1/255 of one's own.

    Raises:
        BenchError: It is none of these, or is said of l2 in units of 1/255.
    """
    chosen = _usual(setting) if eps is None else eps
    norm, top = setting.threat.norm, setting.threat.eps
    if chosen == THREAT:
        return tuple(Threat(norm, top * i / STEPS_UP) for i in range(1, STEPS_UP + 1))
    if norm is not Norm.LINF:
        raise BenchError(
            f"hgd's eps {eps!r} is in units of 1/255 of linf; under {setting.threat} take {THREAT!r}"
        )
    if isinstance(chosen, str):
        if chosen not in LEVELS:
            raise unknown("eps of hgd", chosen, (*LEVELS, THREAT))
        chosen = LEVELS[chosen]
    if not chosen or not all(type(i) is int and 1 <= i <= 255 for i in chosen):
        raise BenchError(
            f"hgd's eps is {', '.join((*LEVELS, THREAT))}, or whole numbers from 1 to 255, such as "
            f"[4, 16]; got {eps!r}"
        )
    return tuple(Threat(norm, i / 255) for i in chosen)


def _usual(setting: Setting) -> str:
    c, h, _ = setting.shape
    if setting.threat.norm is not Norm.LINF or c == 1:
        return THREAT
    return "port" if h <= 64 else "paper"

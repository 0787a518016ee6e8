"""Values of options (numbers within limits, words out of a list) and groups of commands, with suggestions."""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from benchmark.errors import did_you_mean, near, quoted

FRACTION = r"(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:e-?[0-9]{1,2})?"


class Number(click.ParamType[float]):
    """A finite number in ASCII digits.

    Args:
        low: The least one.
        high: The greatest one.
        is_whole: Whether it has no fraction.
    """

    def __init__(self, low: int, high: int, *, is_whole: bool = True) -> None:
        self.low = low
        self.high = high
        self.is_whole = is_whole
        self.name = "integer" if is_whole else "number"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number that was typed."""
        text = str(value)
        kind, form = "number", FRACTION
        if self.is_whole:
            kind, form = "whole number", rf"[0-9]{{1,{len(str(self.high))}}}"
        found = math.nan
        if re.fullmatch(form, text):
            found = int(text) if self.is_whole else float(text)
        if not self.low <= found <= self.high:  # written so that NaN fails too
            limits = f"from {self.low} to {self.high}"
            self.fail(f"expected a {kind} {limits}; got {quoted(text)}", param, ctx)
        return found


class Word(click.Choice[str]):
    """One of a few words."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """What is expected, and what is near."""
        del ctx
        words = [str(word) for word in self.choices]
        hint = did_you_mean(near(str(value), words))
        return f"expected {' or '.join(words)}; got {quoted(str(value))}.{hint}"


class Group(click.Group):
    """Commands, of which a wrong name is told what is near.

    Args:
        lazy: Commands that are imported when they are asked for: by name the module beside this one that has
            their `NAME_command`, and what the group's help says of them; nothing of one that is hidden.
    """

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]] = MappingProxyType({}), **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        del ctx
        return sorted({*self.lazy, *self.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, with its module."""
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"{__package__}.{self.lazy[cmd_name][0]}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes their names and what is said of each, and imports none."""
        click.Group(commands=self._listed()).format_commands(ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names."""
        if args[0][:1] != "-" and args[0] not in self.list_commands(ctx):
            known = sorted(self._listed())
            hint = did_you_mean(near(args[0], known))
            ctx.fail(f"no command is called {quoted(args[0])}.{hint} Known: {', '.join(known)}")
        return super().resolve_command(ctx, args)

    def _listed(self) -> dict[str, click.Command]:
        """What the help lists, in the place of the commands themselves where these are lazy."""
        lazy = {
            name: click.Command(name, help=said) for name, (_, said) in self.lazy.items() if said
        }
        return lazy | {name: one for name, one in self.commands.items() if not one.hidden}

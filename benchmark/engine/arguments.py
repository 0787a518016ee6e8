"""Constructors as configuration: a plugin's arguments, their defaults, and their checks."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmark.errors import BenchError, did_you_mean, near, quoted


def parameters_of(kind: type) -> dict[str, Any]:
    """The arguments that a class's constructor takes, with their defaults (`inspect.Parameter.empty`: none)."""
    return {name: p.default for name, p in inspect.signature(kind).parameters.items()}


def arguments_of(instance: object) -> dict[str, object]:
    """The arguments that an object was made with, which it stores under their own names."""
    return {name: getattr(instance, name) for name in parameters_of(type(instance))}


def refuse_names(given: Iterable[str], known: Sequence[str], *, what: str) -> None:
    """Refuses names of arguments that a constructor does not take.

    Args:
        given: What was given.
        known: What is taken.
        what: What a message calls the class ("defense 'gaussian'").

    Raises:
        BenchError: There is one; the message says what is taken, and what is near.
    """
    for name in given:
        if name not in known:
            raise BenchError(
                f"{what} takes no argument {quoted(name)}.{did_you_mean(near(name, known))} It takes: "
                f"{', '.join(known) or 'none'}"
            )


def refuse_arguments(given: Mapping[str, Any], kind: type, *, what: str) -> None:
    """Refuses arguments that a constructor does not take, of another kind than its default's, or not finite.

    Args:
        given: Name and value of each argument.
        kind: The class.
        what: What a message calls it ("defense 'gaussian'").

    Raises:
        BenchError: There is one, or one is missing that has no default; the message says what is taken.
    """
    known = parameters_of(kind)
    refuse_names(given, list(known), what=what)
    for name, value in given.items():
        if not _is_finite(value):
            raise BenchError(f"{what}: {name} must be finite; got {value!r}")
        default = known[name]
        if default is None or default is inspect.Parameter.empty or value is None:
            continue
        wanted: Any = (int, float) if isinstance(default, float) else type(default)
        wanted = (list, tuple) if wanted in (list, tuple) else wanted
        if isinstance(value, bool) != isinstance(default, bool) or not isinstance(value, wanted):
            raise BenchError(
                f"{what}: {name} is of the kind {type(default).__name__} (default {default!r}); got "
                f"{value!r}"
            )
    for name, parameter in inspect.signature(kind).parameters.items():
        is_open = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        if parameter.default is parameter.empty and not is_open and name not in given:
            raise BenchError(f"{what} needs the argument {name!r}: give {name}=VALUE")


def _is_finite(value: object) -> bool:
    """Whether no number in a plain value is NaN or infinite: JSON, and so a job's key, knows neither."""
    if isinstance(value, (list, tuple)):
        return all(_is_finite(item) for item in value)
    return not isinstance(value, float) or math.isfinite(value)

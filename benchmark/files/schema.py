"""The base of what is read from files that people write or exchange, and its plain values."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, JsonValue


class Strict(BaseModel):
    """Refuses unknown fields, NaN and infinity, and strings where numbers belong; never changed once made."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _ordered(value: Any) -> Any:
    """A JSON value with sorted keys, so that equal values are equal text."""
    if isinstance(value, dict):
        return {key: _ordered(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("NaN and infinity are no JSON numbers")
    return value


Arguments = Annotated[dict[str, JsonValue], AfterValidator(_ordered)]
Words = Annotated[dict[str, str], AfterValidator(_ordered)]

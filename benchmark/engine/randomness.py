"""Randomness as a pure function of where it is used: seed, split, image, row, and a path of names."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.errors import ContractBroken

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_HALF, _LOW = np.uint64(32), np.uint64(_WORD)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> Tensor:
    """Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011, section 4).

    Args:
        counter: Four int64 tensors of one shape, each value a 32-bit word.
        key: Two 32-bit words.

    Returns:
        Four random 32-bit words for each counter, int64, in a new last dimension of size 4.
    """
    if counter[0].device.type == "cpu":
        return _philox_here([word.numpy() for word in counter], key)
    c0, c1, c2, c3 = counter
    for k0, k1 in _keys(key):
        p0, p1 = (
            c0 * _MULTIPLIERS[0],
            c2 * _MULTIPLIERS[1],
        )  # wrap as uint64 would; the bits are the same
        hi0, lo0 = (p0 >> 32) & _WORD, p0 & _WORD
        hi1, lo1 = (p1 >> 32) & _WORD, p1 & _WORD
        c0, c1, c2, c3 = hi1 ^ c1 ^ k0, lo1, hi0 ^ c3 ^ k1, lo0
    return torch.stack((c0, c1, c2, c3), dim=-1)


def _philox_here(counter: Sequence[np.ndarray[Any, Any]], key: tuple[int, int]) -> Tensor:
    """The same by numpy, both halves at once and in place: two thirds of the time or less."""
    shape = counter[0].shape
    c = np.empty((2, *shape), np.uint64)
    d = np.empty_like(c)
    c[0], d[0], c[1], d[1] = counter
    by = np.array(_MULTIPLIERS, np.uint64).reshape(2, *(1 for _ in shape))
    keys = np.array(_keys(key), np.uint64).reshape(_ROUNDS, *by.shape)
    high = np.empty_like(c)
    for k in keys:
        np.multiply(c, by, out=c)
        np.right_shift(c, _HALF, out=high)
        np.bitwise_and(c, _LOW, out=c)
        np.bitwise_xor(high[::-1], d, out=d)
        np.bitwise_xor(d, k, out=d)
        c, d = d, c[::-1]
    found = np.empty((*shape, 4), np.int64)
    found[..., 0], found[..., 1], found[..., 2], found[..., 3] = c[0], d[0], c[1], d[1]
    return torch.from_numpy(found)


def _keys(key: tuple[int, int]) -> list[tuple[int, int]]:
    """The keys of all rounds."""
    return [
        ((key[0] + i * _WEYL[0]) & _WORD, (key[1] + i * _WEYL[1]) & _WORD) for i in range(_ROUNDS)
    ]


@dataclass(frozen=True, slots=True)
class Draws:
    """A batch's random numbers: each image has its own stream, the same however often it is asked.

    Nothing here has a state, so a result does not depend on batch size, on neighbours in the batch, on
    workers, on resuming, or on images that left the batch.

    Args:
        seed: The run's seed.
        images: Which image of the split each row belongs to, `(b,)` int64.
        rows: Which repetition of its image each row is (EOT), `(b,)` int64.
        path: Names of the place where the numbers are used.
    """

    seed: int
    images: Tensor
    rows: Tensor
    path: tuple[str | int, ...] = ()

    @classmethod
    def of(cls, seed: int, images: Tensor, *path: str | int) -> Draws:
        """Draws for images `(b,)`, given by their index into their split, one row each."""
        return cls(seed, images, torch.zeros_like(images), path)

    def __len__(self) -> int:
        return len(self.images)

    def at(self, *names: str | int) -> Draws:
        """The same rows at a place further down the path; other names give independent numbers."""
        return replace(self, path=(*self.path, *names))

    def take(self, which: Tensor) -> Draws:
        """Some of the rows, by position `(k,)` or mask `(b,)`."""
        return replace(self, images=self.images[which], rows=self.rows[which])

    def repeat(self, n: int) -> Draws:
        """Each row n times in a run (`b * n` rows), with numbers of its own for every repetition."""
        again = torch.arange(n, device=self.rows.device).repeat(len(self))
        rows = self.rows.repeat_interleave(n) * n + again
        return replace(
            self, images=self.images.repeat_interleave(n), rows=rows, path=(*self.path, f"x{n}")
        )

    def order(self) -> Tensor:
        """Positions `(b,)` of the rows as a victim is asked: every image's first repetition, then every second.

        Attacks and verdicts alike lay rows out so, and neither says by its order how often an image is asked.
        """
        return self.rows.argsort(stable=True)

    def to(self, device: torch.device | str) -> Draws:
        """The same draws with their indices on a device, where the numbers are then made."""
        return replace(self, images=self.images.to(device), rows=self.rows.to(device))

    def opaque(self) -> Draws:
        """The same numbers for somebody who is not to know whose they are, nor what they are for."""
        return _Opaque(self)

    def words(self, count: int) -> Tensor:
        """`(b, count)` random 32-bit words as int64."""
        blocks = torch.arange(math.ceil(count / 4), device=self.images.device)
        shape = (len(self), len(blocks))
        counter = (
            blocks.expand(shape),
            self.rows[:, None].expand(shape),
            (self.images & _WORD)[:, None].expand(shape),
            ((self.images >> 32) & _WORD)[:, None].expand(shape),
        )
        return philox(counter, self._key()).flatten(1)[:, :count]

    def uniform(self, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Uniform numbers in [0, 1), `(b, *shape)`: multiples of 2^-24, the same in every dtype."""
        words = self.words(math.prod(shape))
        return ((words >> 8).to(torch.float64) * 2.0**-24).to(dtype).view(len(self), *shape)

    def normal(self, shape: tuple[int, ...], *, dtype: torch.dtype = torch.float32) -> Tensor:
        """Standard normal numbers, `(b, *shape)` (Box and Muller, 1958), made in float64."""
        count = math.prod(shape)
        half = math.ceil(count / 2)
        words = self.words(2 * half).to(torch.float64)
        radius = (-2.0 * ((words[:, :half] + 0.5) * 2.0**-32).log()).sqrt()
        angle = words[:, half:] * (2.0 * math.pi * 2.0**-32)
        both = torch.cat((radius * angle.cos(), radius * angle.sin()), dim=1)
        return both[:, :count].to(dtype).reshape(len(self), *shape)

    def integers(self, high: int, shape: tuple[int, ...] = ()) -> Tensor:
        """Integers in [0, high), `(b, *shape)` int64; `high` far below 2^32."""
        words = self.words(max(1, math.prod(shape)))
        return ((words * high) >> 32).view(len(self), *shape)

    def permutations(self, n: int) -> Tensor:
        """A random order of 0..n-1 for each row, `(b, n)` int64."""
        return self.words(n).argsort(dim=1, stable=True)

    def generators(self) -> list[torch.Generator]:
        """One seeded CPU generator a row, for libraries that take a list of them."""
        words = self.words(2)
        seeds = (words << torch.tensor([0, 31], device=words.device)).sum(1)
        return [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def _key(self) -> tuple[int, int]:
        place = "\x1f".join(f"{type(name).__name__}:{name}" for name in (self.seed, *self.path))
        digest = hashlib.blake2b(place.encode(), digest_size=8).digest()
        return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


class _Opaque(Draws):
    """Draws as a purifier has them: numbers, and nothing that says which image asks, how often, or for what."""

    def __init__(self, known: Draws) -> None:
        object.__setattr__(self, "_known", known)

    def __getattribute__(self, name: str) -> object:
        """Everything but what would tell who asks.

        Raises:
            ContractBroken: It would.
        """
        if name in _SECRETS:
            raise ContractBroken(
                f"draws.{name} would tell who asks; a purifier, and what wraps one, draws by at(), repeat(), "
                f"uniform(), normal(), integers(), permutations() or generators()"
            )
        return super().__getattribute__(name)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __reduce__(self) -> tuple[type[_Opaque], tuple[Draws]]:
        return _Opaque, (known_of(self),)

    def __repr__(self) -> str:
        return f"<draws of {len(self)} rows>"

    def __len__(self) -> int:
        return len(known_of(self))

    def opaque(self) -> Draws:
        """Itself."""
        return self

    def at(self, *names: str | int) -> Draws:
        """As `Draws.at`."""
        return _Opaque(known_of(self).at(*names))

    def take(self, which: Tensor) -> Draws:
        """As `Draws.take`."""
        return _Opaque(known_of(self).take(which))

    def repeat(self, n: int) -> Draws:
        """As `Draws.repeat`."""
        return _Opaque(known_of(self).repeat(n))

    def to(self, device: torch.device | str) -> Draws:
        """As `Draws.to`."""
        return _Opaque(known_of(self).to(device))

    def words(self, count: int) -> Tensor:
        """As `Draws.words`."""
        return known_of(self).words(count)


_SECRETS = frozenset({"seed", "images", "rows", "path"})


def known_of(draws: Draws) -> Draws:
    """The draws behind opaque ones; others as they are."""
    found: Draws = getattr(draws, "_known", draws)
    return found

"""Values as a key sees them: what they are made of, whatever process they stand in."""

from __future__ import annotations

import functools
import hashlib
import logging
import types
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmark.compute.module_sources import file_of
from benchmark.compute.object_state import cell_content
from benchmark.errors import BenchError
from benchmark.identity.code import globals_in, namespace_of, node_sha256
from benchmark.identity.file_hashes import content_sha256
from benchmark.identity.module_places import is_users
from benchmark.identity.syntax import constant_text

_MODULE_PARTS = ("_parameters", "_buffers", "_modules")
_HEAP = 1 << 9
"""The flag of classes that were made at run time, as those of Python source are."""


class Walk:
    """One walk through objects: their digest, and the modules that their types and functions come from.

    Args:
        what: What a message calls the first of them.
        is_given: Whether the first object was made by the user's own code: what cannot be known of it is
            refused. Else its type stands for it, and what a tensor holds follows from what made it.
        said: What the user says of what cannot be known, which is then not refused; empty for nothing.
        known: Digests of objects that are known already, by `id`.
    """

    def __init__(
        self, what: str, *, is_given: bool, said: str = "", known: Mapping[int, str] | None = None
    ) -> None:
        self.what = what
        self.modules: set[str] = set()
        self._is_given = is_given
        self._is_strict = is_given and not said
        self._done = {at: digest.encode() for at, digest in (known or {}).items()}
        self._open: list[int] = []
        self._kept: list[object] = []  # so that no `id` is given twice

    def sha256(self, value: object, at: str = "") -> str:
        """sha256 of a value, hex; equal for equal values in any process.

        Args:
            value: Anything.
            at: Where it stands in the first object, for a message.

        Raises:
            BenchError: It holds something that cannot be known, and the walk is strict.
        """
        try:
            return self._digest(value, at).hex()
        except RecursionError as error:
            raise self._refusal(value, at) from error

    def _digest(self, value: object, at: str) -> bytes:
        plain = _plain_bytes(value)
        if plain is not None:
            return hashlib.sha256(plain).digest()
        key = id(value)
        if key in self._done:
            return self._done[key]
        if key in self._open:
            return hashlib.sha256(
                f"again {len(self._open) - self._open.index(key)}".encode()
            ).digest()
        self._open.append(key)
        self._kept.append(value)
        digest = hashlib.sha256()
        for part in self._parts(value, at):
            digest.update(
                part if isinstance(part, bytes) else hashlib.sha256(part.encode()).digest()
            )
        self._open.pop()
        self._done[key] = digest.digest()
        return digest.digest()

    def _parts(self, value: Any, at: str) -> Iterator[str | bytes]:
        match value:
            case type():
                yield from self._type(value, at)
            case types.FunctionType():
                yield from self._function(value, at)
            case types.ModuleType():
                self.modules.add(value.__name__)
                yield f"module {value.__name__}"
            case types.BuiltinFunctionType() | types.MethodType():
                yield f"call {value.__name__}"
                owner = value.__self__
                yield self._digest(getattr(value, "__func__", value.__module__), at)
                yield b"" if owner is None else self._digest(owner, at)
            case staticmethod() | classmethod():
                yield type(value).__name__
                yield self._digest(value.__func__, at)
            case property():
                yield from (self._digest(each, at) for each in (value.fget, value.fset, value.fdel))
            case functools.cached_property():
                yield self._digest(value.func, at)
            case functools.partial():
                yield from map(self._digest, (value.func, value.args, value.keywords), [at] * 3)
            case types.CodeType():
                yield value.co_code
                names = (value.co_names, value.co_varnames, value.co_freevars)
                yield from (
                    self._digest(each, at) for each in (value.co_name, *names, value.co_consts)
                )
            case weakref.ref():
                yield self._digest(value(), at)
            case logging.Logger():
                yield f"logger {value.name}"
            case torch.Generator():
                yield self._digest(value.get_state(), at)
            case torch.Tensor():
                yield from self._tensor(value, at)
            case np.ndarray():
                yield f"array {value.dtype.str} {value.shape}"
                is_plain = not value.dtype.hasobject
                yield value.tobytes() if is_plain else self._digest(value.tolist(), at)
            case nn.Module():
                yield from self._network(value, at)
            case PurePath():
                yield f"path {'' if Path(value).exists() else value}"
                yield content_sha256(Path(value)) if Path(value).exists() else ""
            case _:
                yield from self._object(value, at)

    def _object(self, value: Any, at: str) -> Iterator[str | bytes]:
        kind = type(value)
        yield self._digest(kind, at)
        match value:
            case Enum():
                yield value.name
            case dict() | types.MappingProxyType():
                for key, item in value.items():
                    yield self._digest(key, at)
                    yield self._digest(item, _at(at, key))
            case list() | tuple():
                for i, item in enumerate(value):
                    yield self._digest(item, _at(at, i))
            case set() | frozenset():
                yield from sorted(self._digest(item, at) for item in value)
            case _ if not all(base.__flags__ & _HEAP for base in kind.__mro__[:-1]) or not (
                hasattr(value, "__dict__") or _slots_of(value)
            ):
                yield from self._reduced(value, at)
        for name, item in sorted({**_slots_of(value), **getattr(value, "__dict__", {})}.items()):
            yield name
            yield self._digest(item, _at(at, name))

    def _reduced(self, value: Any, at: str) -> Iterator[str | bytes]:
        """What an object says that it is made of, for a copy of it."""
        try:
            found = value.__reduce_ex__(4)
        except Exception as error:  # noqa: BLE001 (somebody else's object)
            home, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
            if callable(value) and name and isinstance(home, str) and file_of(home) is not None:
                self.modules.add(home)
                yield str(name)  # a function of a compiled module
            else:
                yield from self._unknown(value, at, error)
            return
        if isinstance(found, str):
            yield found
            return
        for part in found:
            yield self._digest(list(part) if isinstance(part, Iterator) else part, at)

    def _unknown(self, value: object, at: str, error: Exception | None = None) -> Iterator[str]:
        if self._is_strict:
            raise self._refusal(value, at) from error
        yield f"unknown {type(value).__module__}:{type(value).__qualname__}"

    def _refusal(self, value: object, at: str) -> BenchError:
        kind = type(value).__name__
        name = getattr(value, "__qualname__", "")
        return BenchError(
            f"{self.what} cannot be told from another that gives other numbers: {at or 'it'} is "
            f"{f'the {kind} {name!r}' if name else f'a {kind}'}, of which neither source nor content is to be "
            f"had; put it into a file, or give identity='...', a text that you change whenever it changes"
        )

    def _type(self, kind: type, at: str) -> Iterator[str | bytes]:
        yield f"type {kind.__module__}:{kind.__qualname__}"
        if kind.__module__ != "builtins":
            self.modules.add(kind.__module__)
        if not is_users(kind.__module__):
            return
        for base in kind.__bases__:
            yield self._digest(base, at)
        if issubclass(kind, Enum):
            yield from (self._digest(each.value, at) for each in kind)
            return
        for name, item in namespace_of(kind):
            yield name
            yield self._digest(item, f"{kind.__qualname__}.{name}")

    def _function(self, function: types.FunctionType, at: str) -> Iterator[str | bytes]:
        home = str(function.__globals__.get("__name__", ""))
        yield f"function {home}:{function.__qualname__}"
        self.modules.add(home)
        cells = [cell_content(cell) for cell in function.__closure__ or ()]
        if not is_users(home):
            with self._leniently():  # a decorator's, out of a library
                yield self._digest(cells, at)
            return
        found = node_sha256(function.__code__)
        if found is None:
            yield from self._unknown(function, at)
            yield self._digest(function.__code__, at)
        else:
            yield found
        parts = (function.__defaults__, function.__kwdefaults__, cells)
        yield from (self._digest(part, at) for part in parts)
        for name, item in globals_in(function, is_users):
            yield name
            yield self._digest(item, name)

    def _network(self, network: nn.Module, at: str) -> Iterator[str | bytes]:
        yield self._digest(type(network), at)
        if isinstance(network, torch.jit.ScriptModule):
            yield from (str(getattr(each, "code", "")) for each in network.modules())
            yield self._digest(dict(network.state_dict()), at)
            return
        for name, item in sorted(vars(network).items()):
            if name in _MODULE_PARTS:
                continue
            if "_hooks" in name:
                item = list(item.values()) if isinstance(item, dict) else []
            yield name
            yield self._digest(item, _at(at, name))
        for part in _MODULE_PARTS:
            for name, item in vars(network)[part].items():
                yield f"{part}.{name}"
                yield self._digest(item, _at(at, name))

    def _tensor(self, tensor: torch.Tensor, at: str) -> Iterator[str | bytes]:
        yield f"tensor {tensor.dtype} {tuple(tensor.shape)} {tensor.layout}"
        if not self._is_given:
            return
        try:
            if tensor.layout is not torch.strided:
                tensor = tensor.to_dense()
            plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
            yield plain.reshape(-1).view(torch.uint8).numpy().tobytes()
        except (NotImplementedError, RuntimeError, TypeError) as error:
            yield from self._unknown(tensor, at, error)

    @contextmanager
    def _leniently(self) -> Iterator[None]:
        before, self._is_strict = self._is_strict, False
        try:
            yield
        finally:
            self._is_strict = before


def _plain_bytes(value: object) -> bytes | None:
    """A number, a text or the like as bytes; None for all else."""
    if value is None or value is ... or type(value) in (bool, int, float, complex, str, bytes):
        return f"{type(value).__name__} {constant_text(value)}".encode()
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return f"scalar {value.dtype.str} ".encode() + value.tobytes()
    return None


def _slots_of(value: object) -> dict[str, object]:
    """What an object keeps in slots, by name."""
    state = object.__getstate__(value)
    return state[1] if isinstance(state, tuple) else {}


def _at(at: str, name: object) -> str:
    return f"{at}.{name}" if at else str(name)

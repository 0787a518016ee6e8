"""What decides an object's results: the source behind it, packages, files, and what it holds itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmark.compute.own_packages import OWN
from benchmark.identity.closure import closure_of, is_harness
from benchmark.identity.file_hashes import content_sha256, named_among
from benchmark.identity.values import Walk


@dataclass(frozen=True, slots=True)
class Identity:
    """An object as a key sees it.

    Args:
        source: sha256 of the modules that it consists of and imports, but for the harness's, hex.
        harness: sha256 of the harness's among them, hex.
        values: sha256 of what the object holds itself, hex.
        content: sha256 of that, of packages, files and folders, hex.
    """

    source: str
    harness: str
    values: str
    content: str

    def sha256(self) -> str:
        """sha256 of all of it, hex."""
        return sha256_of_words(self.own(), self.harness)

    def own(self) -> str:
        """sha256 of all of it but the harness's source, hex."""
        return sha256_of_words(self.source, self.content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a caller of `identity_of` knows besides the object.

    Args:
        is_given: Whether the object was made by the user's own code, so that no source says what is in it; what
            cannot be known of it is then refused.
        said: The user's word for what cannot be known (`identity="..."`), so that nothing is; empty for none.
        modules: Further modules that it consists of.
        files: sha256s of files that were opened while it was made.
        arguments: What it was made with, where it may name files and folders.
        objects: Digests of objects that are known already, by `id`.
    """

    is_given: bool = False
    said: str = ""
    modules: Sequence[str] = ()
    files: Sequence[str] = ()
    arguments: Iterable[object] = ()
    objects: Mapping[int, str] | None = None


def identity_of(value: object, *, what: str, known: Known | None = None) -> Identity:
    """What decides the results of an object: a defense, an attack, a classifier, a dataset, a victim, a recipe.

    Args:
        value: The object, or its class.
        what: What a message calls it.
        known: What the caller knows of it.

    Raises:
        BenchError: It was given from Python, and holds something that cannot be known.
    """
    known = known or Known()
    walk = Walk(what, is_given=known.is_given, said=known.said, known=known.objects)
    values = walk.sha256(value)
    kind = value if isinstance(value, type) else type(value)
    is_plugin = any(is_harness(base.__module__) for base in kind.__mro__)
    closure = closure_of(
        sorted({*walk.modules, *known.modules}), own=[kind.__module__] if is_plugin else []
    )
    packages = [f"{one.name} {one.version} {one.record}" for one in sorted(closure.packages)]
    is_own = kind.__module__.partition(".")[0] in OWN  # whose arguments name no files
    named = () if is_own else sorted({content_sha256(p) for p in named_among(known.arguments)})
    return Identity(
        source=closure.sha256(of_harness=False),
        harness=closure.sha256(of_harness=True),
        values=values,
        content=sha256_of_words(values, *packages, "", *named, "", *known.files, "", known.said),
    )


def sha256_of_words(*words: str) -> str:
    """sha256 of some texts in order, hex."""
    return hashlib.sha256("\0".join(words).encode()).hexdigest()

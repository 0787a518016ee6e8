"""Imports by text, `module:attribute`: whatever is wrong with one is one line that says what to do."""

from __future__ import annotations

import contextlib
import importlib
import logging
import pkgutil
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmark.compute.module_sources import classes_in, is_missing, lacks_name, source_file
from benchmark.compute.own_packages import OWN, hidden, imported_elsewhere
from benchmark.compute.sandbox import one_line, sandboxed
from benchmark.errors import BenchError, did_you_mean, near, quoted

log = logging.getLogger(__name__)

SLOW_SECONDS = 10.0
"""After so long an import of somebody else's plugin is mentioned."""
FORM = "module:Class"


def imported(path: str, *, what: str) -> Any:
    """What `module:attribute` names; whatever happens while the module is imported is one line.

    Args:
        path: `module:attribute`.
        what: What a message calls it ("defense").

    Raises:
        BenchError: It is not of that form, is not there, or its module cannot be imported.
    """
    module, attribute = parts_of(path, what=what)
    top = module.partition(".")[0]
    if imported_elsewhere(top):
        raise BenchError(
            f"{what} {path!r} cannot be imported: {imported_elsewhere(top)} was imported first under the name "
            f"{top!r} of this project's own package; give it another name, or import benchmark before it"
        )
    loaded = sys.modules.get(module)  # None also where an import of it is forbidden
    if loaded is not None and attribute in vars(loaded):
        return getattr(loaded, attribute)
    seconds = SLOW_SECONDS if top not in OWN else threading.TIMEOUT_MAX
    with sandboxed(f"importing {what} {path!r}"), _said_after(seconds, f"{what} {path!r}"):
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise _not_found(error, path, what=what) from error
        except SyntaxError as error:
            raise _not_python(error, path, what=what) from error
        except ImportError as error:
            raise BenchError(
                f"{what} {path!r} cannot be imported: {one_line(error)}{_where(error)}"
            ) from error
        if not hasattr(found, attribute):
            raise _no_attribute(path, [name for name in dir(found) if name[0] != "_"], what=what)
        return getattr(found, attribute)


def refuse_absent(path: str, *, what: str) -> None:
    """Refuses a `module:Class` that cannot be there; imports nothing, so that what passes may still not be.

    Raises:
        BenchError: It is not of that form, there is no such module, it is not Python, or has no such class.
    """
    module, attribute = parts_of(path, what=what)
    if is_missing(module):
        raise _no_module(path, what=what)
    try:
        if lacks_name(module, attribute):
            raise _no_attribute(path, classes_in(module), what=what)
        classes_in(module)
    except SyntaxError as error:
        raise _not_python(error, path, what=what) from error


def parts_of(path: str, *, what: str) -> tuple[str, str]:
    """Module and attribute out of `module:attribute`.

    Raises:
        BenchError: It is not of that form; what was probably meant is named.
    """
    module, colon, attribute = path.partition(":")
    names = [*module.split("."), attribute]
    if not colon or module.endswith(".py") or not all(name.isidentifier() for name in names):
        raise BenchError(f"{what} {quoted(path)} is not understood: expected {FORM}{meant(path)}")
    return module, attribute


def meant(text: str) -> str:
    """What somebody may have meant who named a file, or a module without its class; empty for other text.

    It begins with a semicolon, to be put behind a message.
    """
    name, _, attribute = text.partition(".py:") if ".py:" in text else (text, "", "")
    file = Path(f"{name}.py" if attribute or not name.endswith(".py") else name)
    if text.endswith(".py") or attribute:
        place = (
            "" if file.is_absolute() or ".." in file.parts else ".".join(file.with_suffix("").parts)
        )
        where = "" if place else f", in the folder {file.parent}"
        return f"; for a file write {_with_class(place or file.stem, attribute)}{where}"
    module, dot, last = text.rpartition(".")
    if not text.isidentifier() and not (dot and text.replace(".", "").isidentifier()):
        return ""
    if not is_missing(text) and source_file(text):
        return f"; for a class of the module {text} write {_with_class(text, '')}"
    if dot and not is_missing(module) and source_file(module):
        return f"; write {module}:{last}, with a colon before the class"
    return ""


def _with_class(module: str, attribute: str) -> str:
    """`module:Class`, with the class that is meant, if the module has but one."""
    found = []
    with contextlib.suppress(SyntaxError):
        found = [name for name in classes_in(module, are_derived=True) if name[0] != "_"]
    return f"{module}:{attribute or (found[0] if len(found) == 1 else 'Class')}"


def _not_found(error: ModuleNotFoundError, path: str, *, what: str) -> BenchError:
    """The error for a module that is missing: the plugin's own, or one that it imports."""
    where = _where(error)
    if not where:
        return _no_module(path, what=what)
    missing = error.name or str(error)
    top = missing.partition(".")[0]
    if top in OWN:
        return BenchError(
            f"{what} {path!r} needs {missing!r}, which this project does not have{where}{_is_ours(top)}"
        )
    return BenchError(
        f"{what} {path!r} needs the module {missing!r}, which is not installed{where}; install it, or run "
        f"where it can be imported"
    )


def _no_module(path: str, *, what: str) -> BenchError:
    module = path.partition(":")[0]
    top = module.partition(".")[0]
    if top in OWN:
        return BenchError(f"{what} {path!r}: this project has no module {module!r}{_is_ours(top)}")
    here = [one.name for one in pkgutil.iter_modules([str(Path.cwd())])]
    hint = did_you_mean(f"{name}{path[len(top) :]}" for name in near(top, here) if name != top)
    return BenchError(
        f"{what} {path!r} cannot be imported: no module is called {module!r}; expected {FORM}, with the "
        f"module installed or in the current folder.{hint}"
    )


def _no_attribute(path: str, names: list[str], *, what: str) -> BenchError:
    module, _, attribute = path.partition(":")
    top = module.partition(".")[0]
    hint = did_you_mean(f"{module}:{name}" for name in near(attribute, names))
    ours = _is_ours(top) if top in OWN else ""
    return BenchError(
        f"{what} {path!r}: module {module!r} has no {attribute!r}; expected {FORM}{ours}.{hint}"
    )


def _is_ours(top: str) -> str:
    """A remark where somebody else's file has the name of one of this project's packages."""
    other = hidden(top)
    return f"; {top!r} is this project's own: give {other} another name to use it" if other else ""


def _not_python(error: SyntaxError, path: str, *, what: str) -> BenchError:
    return BenchError(
        f"{what} {path!r} cannot be imported: {error.msg}, {error.filename}, line {error.lineno}"
    )


def _where(error: BaseException) -> str:
    """The line of a module at which an import failed; empty where no line of a module had been run."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = ("<frozen", __file__, importlib.__file__)
    outside = [frame for frame in frames if not frame.filename.startswith(ours)]
    return f" (imported by {outside[-1].filename}, line {outside[-1].lineno})" if outside else ""


@contextlib.contextmanager
def _said_after(seconds: float, what: str) -> Iterator[None]:
    """Says what is being imported where that takes long, so that nobody thinks that nothing happens."""
    timer = threading.Timer(seconds, log.warning, ["still importing %s", what])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()

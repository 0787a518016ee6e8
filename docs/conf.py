"""The documentation site: these pages, the README, and a reference made from the code; built without a network.

    python -m sphinx -W --keep-going -b html -c docs . build/docs

The sources are the pages as they lie in the repository, so that a link which works there works in the site too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from click import Context
from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

project = "PurifyBench"
author = "The PurifyBench developers"
project_copyright = "The PurifyBench developers, MIT license"
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "leaderboards/*/*/README.md",
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "data", "dist", "results", "runs", "site", "tests", "*.egg-info"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]

default_role = "code"  # what docstrings and help texts have in backticks
highlight_language = "none"  # a block that names no language is what a program prints, or a formula
smartquotes = False  # they would make dashes of the two hyphens of an option
myst_heading_anchors = 4  # the anchors that GitHub makes, too
suppress_warnings = ["myst.header"]
autodoc_default_options = {"exclude-members": "__new__, model_config"}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_class_signature = "separated"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 80

html_theme = "furo"
html_title = "PurifyBench"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
pygments_style = "tango"
pygments_dark_style = "native"

SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
BOARDS = "../leaderboards/*/*/README"
LINK = re.compile(r"\]\(([^):#]+\.md)\)")


def pages_of(index: str) -> dict[str, list[str]]:
    """The pages that each section of the index lists, by the section's heading, in order."""
    _, *parts = SECTION.split(index)
    return {
        heading: LINK.findall(text) for heading, text in zip(parts[::2], parts[1::2], strict=True)
    }


def with_toctrees(app: Sphinx, docname: str, source: list[str]) -> None:
    """Gives the index the tables of contents that its own lists are; the page itself stays plain Markdown."""
    del app
    if docname == root_doc:
        for heading, pages in pages_of(source[0]).items():
            listed = BOARDS if heading == "Leaderboards" else "\n".join(pages)
            options = f":hidden:\n:glob:\n:caption: {heading}"
            source[0] += f"\n```{{toctree}}\n{options}\n\n{listed}\n```\n"


def with_examples_as_typed(app: Sphinx, context: Context, lines: list[str]) -> None:
    """Shows as typed what a help text wants left as it is; sphinx-click would run its spaces together."""
    del app, context
    shown: list[str] = []
    for i, line in enumerate(lines):
        if not line.startswith("| "):
            shown.append(line)
        elif i and lines[i - 1].startswith("| "):
            shown.append(line.removeprefix("| "))
        else:  # the heading of the examples, which follow indented
            shown += [f"{line.removeprefix('| ')}:", ""]
    lines[:] = shown


class AttributesAsWritten:
    """Keeps what is said below an attribute from napoleon, for which all before a colon is a type."""

    def __init__(self) -> None:
        self.kept: dict[str, list[str]] = {}

    def keep(self, _: Sphinx, what: str, name: str, *rest: Any) -> None:
        """Before napoleon."""
        if what == "attribute":
            self.kept[name] = list(rest[-1])

    def give_back(self, _: Sphinx, what: str, name: str, *rest: Any) -> None:
        """After napoleon."""
        if what == "attribute":
            rest[-1][:] = self.kept.pop(name)


def with_front_door(app: Sphinx, failure: Exception | None) -> None:
    """Writes an `index.html` at the top of the site that leads to the index page."""
    if failure is None and app.builder.format == "html":
        target = f"{root_doc}.html"
        page = f'<!doctype html><meta charset="utf-8"><title>{project}</title>\n'
        page += f'<meta http-equiv="refresh" content="0; url={target}">\n'
        page += f'<a href="{target}">{project}</a>\n'
        (Path(app.outdir) / "index.html").write_text(page, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connects them to Sphinx."""
    app.connect("source-read", with_toctrees)
    for part in ("description", "epilog"):
        app.connect(f"sphinx-click-process-{part}", with_examples_as_typed)
    attributes = AttributesAsWritten()
    app.connect("autodoc-process-docstring", attributes.keep, priority=100)
    app.connect("autodoc-process-docstring", attributes.give_back, priority=900)
    app.connect("build-finished", with_front_door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""The pages of the documentation as the tests see them: blocks of code, what is marked, links, and anchors."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
"""The pages whose blocks are held."""
PARSER = MarkdownIt().enable("table")
PROGRAMS = ("bench ", "$ ", "python ", "python3 ", "pip ", "sh ")
"""What a line of a block without a language begins with, if it is a command."""
SHELLS = frozenset({"bash", "sh", "console"})
OUTPUTS = frozenset({"", "text"})
"""What a fence says that shows what a program prints."""
MARK = re.compile(r"<!-- (runs|run|test|not run: (?P<reason>.+)) -->")
NAMED = re.compile(r"# (\S+\.(?:py|yaml|json))\n")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code on a page.

    Args:
        page: The page's file.
        line: Its first line, from 1.
        language: What the fence says; `console` for an indented block of commands, empty for what is no code.
        text: What stands in it.
        mark: The word of the comment in the line before (`runs`, `not run`, ...); empty where there is none.
        reason: Why it cannot run, where it is marked so.
    """

    page: Path
    line: int
    language: str
    text: str
    mark: str
    reason: str

    @property
    def where(self) -> str:
        """The place, for a message."""
        return f"{self.page.name}:{self.line}"

    @property
    def name(self) -> str:
        """The file that it says it is (`# mine.yaml` in its first line); empty where it is none."""
        found = NAMED.match(self.text)
        return found.group(1) if found else ""

    def commands(self) -> Iterator[list[str]]:
        """The words of its commands, variables of the environment filled in, comments left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if any(
            line.startswith("$ ") for line in lines
        ):  # a session: commands, and what they printed
            lines = [line[2:] for line in lines if line.startswith("$ ")]
        for line in lines:
            words = shlex.split(os.path.expandvars(line), comments=True)
            while "&&" in words:
                yield words[: words.index("&&")]
                words = words[words.index("&&") + 1 :]
            if words:
                yield words


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, fenced and indented, wherever they stand."""
    text = page.read_text()
    lines = text.splitlines()
    found = []
    for token in PARSER.parse(text):
        if token.type in ("fence", "code_block") and token.map:
            start = token.map[0]
            mark = MARK.fullmatch(lines[start - 1].strip()) if start else None
            found.append(
                Block(
                    page=page,
                    line=start + 1,
                    language=_language(token),
                    text=token.content,
                    mark=mark.group(1).partition(":")[0] if mark else "",
                    reason=(mark.group("reason") or "") if mark else "",
                )
            )
    return found


def _language(token: Token) -> str:
    if token.type == "fence" and token.info not in OUTPUTS:
        return token.info.split()[0]
    holds_commands = any(line.startswith(PROGRAMS) for line in token.content.splitlines())
    return "console" if holds_commands else ""


def links_of(page: Path) -> list[str]:
    """The targets of all links and images of a page, code left out."""
    return [
        str(child.attrs["href" if child.type == "link_open" else "src"])
        for token in PARSER.parse(page.read_text())
        for child in token.children or []
        if child.type in ("link_open", "image")
    ]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    tokens = PARSER.parse(page.read_text())
    found: set[str] = set()
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            slug = _slug(token)
            taken = sum(one == slug or one.startswith(f"{slug}-") for one in found)
            found.add(f"{slug}-{taken}" if slug in found else slug)
    return found


def _slug(heading: Token) -> str:
    shown = "".join(
        child.content for child in heading.children or [] if child.type in ("text", "code_inline")
    )
    return re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")

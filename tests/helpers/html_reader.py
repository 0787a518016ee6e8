"""Pages of the site as a reader's program sees them: elements, links, ids, text."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

VOID = frozenset({"meta", "link", "input", "br", "img", "hr"})
DRAWN = frozenset({"line", "polyline", "circle", "rect", "path"})

CELLS = frozenset({"td", "th", "dt", "dd", "li", "text", "option"})


class Page(HTMLParser):
    """A page, read; closing tags must fit the opening ones."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(content.decode())
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), tag
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in DRAWN, tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in CELLS:
            self.texts.append(" ")

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    @property
    def ids(self) -> list[str]:
        return [str(of["id"]) for _, of in self.elements if "id" in of]

    @property
    def links(self) -> list[str]:
        return [str(of[name]) for _, of in self.elements for name in ("href", "src") if name in of]

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [of for name, of in self.elements if name == tag]


def pages(site: dict[str, bytes]) -> dict[str, Page]:
    return {path: Page(content) for path, content in site.items() if path.endswith(".html")}


def broken_links(site: dict[str, bytes]) -> list[tuple[str, str]]:
    """Links that lead to no file of the site, or to no place on its page."""
    read = pages(site)
    broken = []
    for path, page in read.items():
        for link in page.links:
            split = urlsplit(link)
            target = path if not split.path else _joined(path, unquote(split.path))
            is_there = not split.scheme and not split.netloc and target in site
            if is_there and split.fragment:
                is_there = unquote(split.fragment) in read[target].ids
            if not is_there:
                broken.append((path, link))
    return broken


def _joined(path: str, link: str) -> str:
    parts = list(PurePosixPath(path).parent.parts)
    for part in PurePosixPath(link).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)

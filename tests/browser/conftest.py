"""A real headless Chromium, where there is one, and sites for it to open."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmark.publishing.site.build import publish_site
from benchmark.publishing.site.folder import replace_folder
from benchmark.publishing.site.pages import render
from benchmark.records.entry_files import entry_text
from tests.helpers.entry_with_examples import pictured
from tests.helpers.sample_entries import toy
from tests.helpers.site_entries import GAPPED, RANDOM, TRACED

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

ROOT = Path(__file__).resolve().parents[2]
AXE = "axe-core@4.14.1"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LONG = "x" * 3_000
HOSTILE = (
    "<script>document.title = 'broken'; alert(1)</script>",
    '"><img src=x onerror="document.title=\'broken\'">',
    "javascript:document.title='broken'",
    LONG,
    "\u202eשלום <b>עולם</b> | a \\ b",
    "../../index",
)


def _program(*names: str) -> str:
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip(f"there is no {names[0]} here")
    return found


@pytest.fixture(scope="session")
def driver(tmp_path_factory) -> Iterator[Chrome]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = _program("chromium", "chromium-browser", "google-chrome")
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(_program("chromedriver"))
    found = webdriver.Chrome(options=options, service=service)
    yield found
    found.quit()


@pytest.fixture
def browser(driver) -> Chrome:
    """The browser on an empty page, as wide as a desk's, in the light, with nothing said yet."""
    driver.get("about:blank")
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    look(driver)
    driver.get_log("browser")
    return driver


def look(browser, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
    """Sets the width of the window and whether its user likes it dark."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    liked = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", liked)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The committed leaderboards."""
    out = tmp_path_factory.mktemp("browser") / "site"
    publish_site(ROOT / "leaderboards", out)
    return out


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """Entries with gaps, with flags, of random defenses; and one with pictures."""
    out = tmp_path_factory.mktemp("made") / "site"
    entries = [toy("plain"), toy("strong", pgd="1111"), toy("weak", pgd="0000", model="other")]
    holed = toy("holed").model_copy(update={"clean": None, "worst": None})
    shown, sheet = pictured(label="shown", model="other")
    found = {entry_text(shown): sheet}
    entries += [holed, TRACED.entry(), GAPPED.entry(), RANDOM.entry(), shown]
    replace_folder(out, render(entries, ["x.json"], sheets=found))
    return out


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Path:
    """Entries whose every name is an attack."""
    out = tmp_path_factory.mktemp("hostile") / "site"
    replace_folder(out, render([toy(t, model=t, dataset=t, weights=t) for t in HOSTILE], HOSTILE))
    return out


@pytest.fixture(scope="session")
def served(site) -> Iterator[str]:
    """The address of the committed leaderboards' site on a web host."""
    handler = partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *words):
        """Says nothing."""


@pytest.fixture(scope="session")
def axe(tmp_path_factory) -> str:
    """The source of axe-core, installed for this session alone."""
    npm = _program("npm")
    folder = tmp_path_factory.mktemp("axe")
    words = [npm, "install", "--prefix", str(folder), "--ignore-scripts", "--no-audit", AXE]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not bring {AXE} in time")
    if done.returncode != 0:
        pytest.skip(f"npm cannot bring {AXE}: {done.stderr.strip()[-200:]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()

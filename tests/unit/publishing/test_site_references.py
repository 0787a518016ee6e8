"""Numbers of others on the site: RobustBench's own and claims of papers, each marked as theirs."""

from __future__ import annotations

from benchmark.publishing.leaderboard.baselines import FILE, Baseline, baselines_text
from benchmark.publishing.leaderboard.claims import Claim
from benchmark.publishing.leaderboard.publish import entry_path
from benchmark.publishing.site.build import publish_site
from benchmark.publishing.site.pages import render
from benchmark.publishing.site.references import Beside
from benchmark.records.entry_files import write_entry
from tests.helpers.html_reader import Page, broken_links
from tests.helpers.sample_entries import toy

BOARD = "cifar10--linf-8-255"
THEIRS = Baseline(
    dataset="cifar10",
    threat="linf:8/255",
    model="Gowal2021",
    clean="87.50",
    autoattack="63.38",
    external="",
    unreliable="",
    architecture="WRN",
    venue="NeurIPS <2021>",
    title="Improving | it",
    link="javascript:alert(1)",
)
CLAIM = Claim(
    system="AdvAE",
    table="T1",
    dataset="mnist",
    classifier="CNN-X",
    defense="AdvAE",
    attack="pgd",
    norm="linf",
    eps="0.3",
    steps="40",
    threat="white-box",
    metric="acc%",
    value="91.3",
)


def test_robustbenchs_own_number_stands_below_the_rows_of_its_classifier_and_says_whose_it_is():
    entries = [toy("a", dataset="cifar10", model="Gowal2021"), toy("b", dataset="cifar10")]
    site = render(entries, beside=Beside(baselines=(THEIRS,)))
    text = Page(site[f"{BOARD}/index.html"]).text
    assert "Gowal2021, RobustBench’s own 87.50 – – – 10000 – 63.38" in text
    assert "NeurIPS <2021> (javascript:alert(1))" in text
    assert text.count("not measured here") == 1
    assert broken_links(site) == []
    assert "63.38" not in Page(render(entries)[f"{BOARD}/index.html"]).text


def test_a_claim_stands_on_the_page_of_the_entry_that_measured_the_same_and_on_no_other():
    same = toy("advae", dataset="mnist", model="mnist-x", threat="linf:0.3")
    others = [toy("advae", dataset="mnist", model="net", threat="linf:0.3")]
    site = render([same, *others], beside=Beside(claims=(CLAIM,)))
    text = Page(site["mnist--linf-0.3/advae--mnist-x.html"]).text
    assert "claimed 91.3 lowest of 1" in text
    assert "AdvAE, T1 AdvAE pgd linf 0.3 white-box 91.3" in text
    assert "claimed" not in Page(site["mnist--linf-0.3/advae--net.html"]).text


def test_what_lies_beside_the_entries_is_read_and_a_damaged_file_is_named(tmp_path):
    folder = tmp_path / "leaderboards"
    entry = toy("a", dataset="cifar10", model="Gowal2021")
    write_entry(entry, entry_path(folder, entry))
    (folder / FILE).write_text(baselines_text([THEIRS]))
    assert publish_site(folder, tmp_path / "site").damaged == ()
    board = tmp_path / "site" / BOARD / "index.html"
    assert "63.38" in board.read_text()
    (folder / FILE).write_text("damaged")
    (line,) = publish_site(folder, tmp_path / "site").damaged
    assert FILE in line
    assert f"{FILE}: not" in (tmp_path / "site" / "index.html").read_text()
    assert "63.38" not in board.read_text()

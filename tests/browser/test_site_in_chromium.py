"""The site in a browser: sorted, filtered, narrow, dark, without JavaScript, for everyone, unbroken."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("selenium", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.conftest import HOSTILE, look

pytestmark = pytest.mark.slow

BOARD = "digits--linf-0.15/index.html"
ENTRY = "digits--linf-0.15/atop[digits]--digits-cnn--n40.html"
GAPS = "cifar10--linf-8-255/gaussian--standard-r18--quick--n32.html"
MADE = "digits--linf-8-255/index.html"
SHOWN = "digits--linf-8-255/shown--other.html"
PAGES = ("index.html", BOARD, ENTRY, GAPS)


def open_page(browser, site: Path, page: str) -> None:
    browser.get((site / page).as_uri())


def column(browser, title: str, table: int = 0, group: int | None = None) -> list[str]:
    """What a column shows, from top to bottom; hidden rows and the classifiers' own lines left out.

    Args:
        browser: With the page open.
        title: How the column's begins.
        table: Which of those that can be sorted.
        group: Of one classifier alone; None for all.
    """
    return browser.execute_script(
        """
        const table = document.querySelectorAll("table[data-sortable]")[arguments[0]];
        const titles = [...table.tHead.rows[0].cells].map((cell) => cell.innerText.trim());
        const at = titles.findIndex((title) => title.startsWith(arguments[1]));
        const groups = [...table.tBodies].filter((body, i) => arguments[2] === null || i === arguments[2]);
        return groups.filter((body) => !body.hidden).flatMap((body) => [...body.rows])
          .filter((row) => !row.hidden && !("fixed" in row.dataset))
          .map((row) => row.cells[at].innerText.trim().split(/\\s/)[0]);
        """,
        table,
        title,
        group,
    )


def header(browser, title: str):
    """The button of a column of the first table that can be sorted."""
    table = browser.find_element(By.CSS_SELECTOR, "table[data-sortable]")
    buttons = table.find_elements(By.CSS_SELECTOR, "thead button")
    return next(button for button in buttons if button.text.startswith(title))


def said(browser) -> list[str]:
    return [line["message"] for line in browser.get_log("browser")]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_opens_from_a_folder_and_from_a_host_and_the_console_says_nothing(
    page, browser, site, served
):
    for address in (site.as_uri(), served):
        browser.get(f"{address}/{page}")
        assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
        styled = "return getComputedStyle(document.body).maxWidth"
        assert browser.execute_script(styled) == "1312px"
        loaded = "return performance.getEntriesByType('resource').map((one) => one.name)"
        assert all(name.startswith(address) for name in browser.execute_script(loaded))
        assert said(browser) == []


def test_a_column_is_sorted_best_first_then_worst_first_then_by_rank_again(browser, site):
    open_page(browser, site, BOARD)
    ranked = column(browser, "defense")
    for expected, direction in ((True, "descending"), (False, "ascending")):
        header(browser, "oblivious").click()
        numbers = [float(text) for text in column(browser, "oblivious")]
        assert numbers == sorted(numbers, reverse=expected)
        state = "document.querySelector('th[aria-sort]:not([aria-sort=none])')"
        found = browser.execute_script(
            f"return [{state}.getAttribute('aria-sort'), {state}.innerText]"
        )
        assert found == [direction, "oblivious"]
    header(browser, "oblivious").click()
    assert column(browser, "defense") == ranked
    assert browser.find_elements(By.CSS_SELECTOR, "th[aria-sort$=ending]") == []


def thousands(text):
    """What a cell such as 46.4k stands for."""
    return 1000 * float(text[:-1]) if text.endswith("k") else float(text)


def test_a_column_of_names_is_sorted_from_a_to_z_and_thousands_count(browser, site):
    open_page(browser, site, BOARD)
    header(browser, "defense").click()
    names = column(browser, "defense")
    assert names == sorted(names)
    header(browser, "passes").click()
    passes = [thousands(text) for text in column(browser, "passes")]
    assert passes == sorted(passes, reverse=True)
    assert passes[0] > 10_000 > passes[-1]
    assert column(browser, "defense")[0] == "atop[digits]"


def test_another_column_starts_afresh_and_other_tables_stay_as_they_are(browser, site):
    open_page(browser, site, BOARD)
    second = column(browser, "defense", table=1)
    header(browser, "clean").click()
    header(browser, "defense").click()
    header(browser, "clean").click()
    numbers = [float(text) for text in column(browser, "clean")]
    assert numbers == sorted(numbers, reverse=True)
    assert column(browser, "defense", table=1) == second


def test_a_classifiers_own_line_stays_above_the_defenses_before_it(browser, site):
    open_page(browser, site, "mnist--linf-0.3/index.html")
    lines = """
        return [...document.querySelector("table[data-sortable]").tBodies]
          .map((body) => [body.rows[0].innerText.trim().split(/\\s/)[0], "fixed" in body.rows[0].dataset]);
    """
    shown = browser.execute_script(lines)
    assert shown == [["mnist-a", True], ["mnist-x", True]]
    header(browser, "oblivious").click()
    assert browser.execute_script(lines) == shown
    for group in (0, 1):
        numbers = [float(text) for text in column(browser, "oblivious", group=group)]
        assert numbers == sorted(numbers, reverse=True)


def test_what_is_missing_stands_last_whichever_way_a_column_is_sorted(browser, made):
    open_page(browser, made, MADE)
    for _ in range(2):
        header(browser, "clean").click()
        assert column(browser, "clean", group=0)[-1] == "gap"


def test_the_keyboard_alone_sorts_and_filters(browser, site):
    open_page(browser, site, BOARD)
    field = browser.find_element(By.CSS_SELECTOR, "[data-filter]")
    field.send_keys("ADV", Keys.TAB)
    assert column(browser, "defense") == ["advae[digits]"]
    assert browser.switch_to.active_element.get_attribute("type") == "checkbox"
    browser.switch_to.active_element.send_keys(Keys.SPACE)
    assert column(browser, "defense") == []
    browser.switch_to.active_element.send_keys(Keys.SPACE, Keys.TAB)
    assert browser.switch_to.active_element.get_attribute("role") == "region"
    field.clear()
    for key in (Keys.ENTER, Keys.SPACE):
        button = header(browser, "transfer")
        browser.execute_script("arguments[0].focus()", button)
        button.send_keys(key)
        numbers = [float(text) for text in column(browser, "transfer")]
        assert numbers == sorted(numbers, reverse=key == Keys.ENTER)
    assert browser.switch_to.active_element == header(browser, "transfer")


def test_the_filter_says_how_many_rows_it_leaves_and_knows_the_classifier(browser, made):
    open_page(browser, made, MADE)
    section = browser.find_element(By.CSS_SELECTOR, "section")
    every = column(browser, "defense")
    field, status = (
        section.find_element(By.CSS_SELECTOR, f"[data-{x}]") for x in ("filter", "status")
    )
    assert status.text == ""
    field.send_keys("other weak")
    assert column(browser, "defense") == ["weak"]
    assert status.text == f"1 of {len(every)} rows"
    field.clear()
    field.send_keys("nothing is called so")
    assert status.text == f"0 of {len(every)} rows"
    field.clear()
    field.send_keys(" ")
    assert column(browser, "defense") == every
    section.find_element(By.CSS_SELECTOR, "[data-unflagged]").click()
    kept = column(browser, "flags")
    assert kept
    assert set(kept) == {"–"}
    assert len(kept) < len(every)


def test_without_javascript_a_board_is_a_table_in_rank_order_with_nothing_to_press(browser, site):
    open_page(browser, site, BOARD)
    ranked = column(browser, "defense")
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    open_page(browser, site, BOARD)
    table = browser.find_element(By.CSS_SELECTOR, "table")
    rows = table.find_elements(By.CSS_SELECTOR, "tbody tr:not([data-fixed]) th a")
    assert [row.text for row in rows] == ranked
    assert all(row.is_displayed() for row in rows)
    assert browser.find_elements(By.CSS_SELECTOR, "button") == []
    assert not browser.find_element(By.CSS_SELECTOR, "[data-controls]").is_displayed()
    assert browser.find_element(By.CSS_SELECTOR, "svg.chart").is_displayed()


@pytest.mark.parametrize("page", PAGES)
def test_on_a_phone_only_tables_and_charts_are_wider_than_the_page(page, browser, site):
    look(browser, width=360, height=740)
    open_page(browser, site, page)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360


def test_dark_and_light_are_as_the_reader_likes_it(browser, site):
    shades = {}
    for scheme in ("light", "dark"):
        look(browser, scheme=scheme)
        open_page(browser, site, "index.html")
        shade = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        shades[scheme] = [int(x) for x in shade.removeprefix("rgb(").rstrip(")").split(",")]
    assert min(shades["light"]) > 230
    assert max(shades["dark"]) < 40


def test_the_first_stop_of_the_keyboard_leads_to_the_content(browser, site):
    open_page(browser, site, BOARD)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.text == "Skip to the content"
    first.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "main"


def test_a_mark_leads_to_its_note_and_a_name_to_its_entry(browser, site):
    open_page(browser, site, BOARD)
    mark = browser.find_element(By.CSS_SELECTOR, ".flags a")
    name = mark.get_attribute("aria-label").partition(": ")[2]
    mark.click()
    assert name in browser.find_element(By.CSS_SELECTOR, "li:target").text
    browser.find_element(By.CSS_SELECTOR, "tbody tr:not([data-fixed]) th a").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "advae[digits]"
    browser.find_element(By.LINK_TEXT, "digits, linf:0.15").click()
    browser.find_element(By.CSS_SELECTOR, "svg a").click()
    assert browser.find_element(By.TAG_NAME, "h1").text == "advae[digits]"


@pytest.mark.parametrize(("width", "shown"), [(1280, 528), (360, 328)])
def test_example_images_load_and_fit_the_page_with_a_title_over_each_column(
    width, shown, browser, made
):
    look(browser, width=width, height=740)
    open_page(browser, made, SHOWN)
    sheet = browser.find_element(By.CSS_SELECTOR, ".sheet img")
    assert int(sheet.get_property("naturalWidth")) == 44
    assert sheet.size["width"] == shown
    assert sheet.size["height"] == pytest.approx(shown * 26 / 44, abs=1)
    titles = browser.find_elements(By.CSS_SELECTOR, ".titles span")
    assert [title.text for title in titles][:2] == ["clean", "adversarial"]
    for i, title in enumerate(titles):
        middle = title.rect["x"] + title.rect["width"] / 2 - sheet.rect["x"]
        assert 9 * i / 44 < middle / shown < (9 * i + 8) / 44
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert said(browser) == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_axe_finds_nothing_to_mend(width, scheme, browser, site, made, axe):
    look(browser, width=width, scheme=scheme)
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    pages = [(site, page) for page in PAGES] + [(made, p) for p in (MADE, SHOWN, "index.html")]
    for folder, page in pages:
        open_page(browser, folder, page)
        browser.execute_script(axe)
        found = browser.execute_async_script(
            "const done = arguments[1];"
            "axe.run(document, {runOnly: arguments[0]}).then((all) => done(all), (e) => done(String(e)));",
            tags,
        )
        wrong = [(x["id"], x["nodes"][0]["html"][:200]) for x in found["violations"]]
        assert wrong == [], page
        assert len(found["passes"]) > 15


def test_hostile_names_run_nothing_load_nothing_and_stretch_no_page(browser, hostile):
    look(browser, width=360, height=740)
    pages = sorted(hostile.rglob("*.html"))
    assert len(pages) > 2 * len(HOSTILE)
    for page in pages:
        browser.get(page.as_uri())
        assert not browser.title.startswith("broken"), page
        assert len(browser.find_elements(By.TAG_NAME, "script")) == 1
        assert browser.find_elements(By.CSS_SELECTOR, "img, b, a[href^='javascript:']") == []
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360, page
        assert said(browser) == []

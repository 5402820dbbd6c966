"""Snakemake's report of a finished study, opened in a browser without a network: everything in it can be seen."""

import json
import shutil
import zipfile

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from workflow_support import snakemake

from pipeline.config import read_study
from pipeline.plan import Plan

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs Chromium and its driver (Debian: chromium, chromium-driver)"
    ),
]

# What is shown, once it is what was chosen last.
SHOWN = """
const shown = document.querySelector("nav.h-screen + div img, nav.h-screen + div iframe");
return shown && shown.getAttribute("src") === app.state.contentPath ? shown : null;
"""

STILL = "* { transition: none !important }"

# The share of a canvas that something is drawn on.
DRAWN = """
const context = arguments[0].getContext("2d"), {width, height} = arguments[0];
const pixels = context.getImageData(0, 0, width, height).data;
let dark = 0;
for (let at = 0; at < pixels.length; at += 4) dark += pixels[at + 3] > 0 && pixels[at] < 250;
return dark / (width * height);
"""


@pytest.fixture(scope="module", params=["zip", "html"])
def report(request, small_study, tmp_path_factory):
    """The report in either form, as a file to open."""
    folder = tmp_path_factory.mktemp(f"report_{request.param}")
    made = folder / f"report.{request.param}"
    style = ("--report-stylesheet", "workflow/report/report.css")
    result = snakemake(small_study.finished, "--report", str(made), *style, "--configfile", "small.yaml")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "Missing metadata" not in result.stderr
    if request.param == "zip":
        with zipfile.ZipFile(made) as archive:
            archive.extractall(folder)
        return folder / "report" / "report.html"
    return made


class Browser:
    """Headless Chromium that resolves no name, and what one does in a report."""

    def __init__(self, page):
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for option in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1600,1000"):
            options.add_argument(f"--{option}")
        options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        # With its path, selenium does not look for a driver on the internet.
        self.driver = webdriver.Chrome(options, webdriver.ChromeService(executable_path=DRIVER))
        self.driver.get(page.as_uri())
        # A click on what still moves may miss it.
        self.driver.execute_script(
            "document.head.append(Object.assign(document.createElement('style'), {textContent: arguments[0]}))", STILL
        )

    def wait(self, condition):
        return WebDriverWait(self.driver, 20, 0.05).until(lambda driver: condition())

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, text: str) -> None:
        """Click the entry of the menu that says ``text``."""
        self.wait(lambda: [link for link in self.find("nav li a") if link.text.strip() == text])[0].click()

    def menu(self) -> None:
        self.find("nav nav li a")[0].click()
        self.wait(lambda: "Statistics" in [link.text.strip() for link in self.find("nav li a")])

    def rows(self, count: int | None = None):
        """The list's rows, once there are any, or ``count``: while it is drawn anew there are fewer."""
        return self.wait(lambda: (found := self.find("nav tbody tr")) and count in (None, len(found)) and found)

    def categories(self) -> dict[str, dict[str, list[str]]]:
        return self.driver.execute_script("return categories")

    def places(self):
        """Open each list of results in turn; yield its category and how many results it has."""
        for category, families in self.categories().items():
            for name, results in families.items():
                self.menu()
                self.click(category)
                if len(families) > 1:  # of a single one the list opens at once
                    self.click(name)
                yield category, len(results)

    def requests(self) -> set[str]:
        messages = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [message for message in messages if message["method"] == "Network.requestWillBeSent"]
        return {message["params"]["request"]["url"] for message in sent}


@pytest.fixture(scope="module")
def browser(report):
    browser = Browser(report)
    yield browser
    browser.driver.quit()


def test_the_first_page_says_what_the_study_is(browser):
    text = browser.wait(lambda: browser.find(".prose"))[0].text
    assert "3 methods on 1 dataset with 1 seed each, and 1 family of ablations" in " ".join(text.split())
    assert "The numbers of this report say nothing about the paper." in text
    assert "phantom images; a tiny backbone" in text


def test_everything_is_in_the_report(browser, small_study):
    """Each entry of the plan that `snakemake all` makes, in its category; files come in one form for the screen."""
    plan = Plan(read_study(small_study.finished / "config.yaml", small_study.finished / "small.yaml"))
    entries = [step for step in plan.steps.values() if step.entry and not step.on_request]
    expected = {step.entry.category: [] for step in entries}
    for step in entries:
        expected[step.entry.category] += [path for path in step.outputs.values() if not path.endswith(".pdf")]
    found = {
        category: [result for results in families.values() for result in results]
        for category, families in browser.categories().items()
    }
    assert {category: sorted(results) for category, results in found.items()} == {
        category: sorted(results) for category, results in expected.items()
    }
    everything = {result.removeprefix("results/small/") for results in found.values() for result in results}
    assert {"pages/paper.html", "pages/tables/main.html", "ablation_depth.png", "pareto.png"} <= everything
    assert all(result.endswith((".png", ".html")) for result in everything)
    assert list(browser.categories()["4 Ablations"]) == ["Depth"]


def test_every_result_shows(browser):
    driver, seen, results = browser.driver, set(), 0
    for category, count in browser.places():
        results += count
        assert len(browser.rows()) == count, category
        for at in range(count):
            row = browser.rows(count)[at]
            label = (category, row.text.strip())
            row.find_elements(By.TAG_NAME, "a")[0].click()
            shown = browser.wait(lambda: driver.execute_script(SHOWN))
            if shown.tag_name == "iframe":
                driver.switch_to.frame(shown)
                assert browser.wait(lambda: browser.find("table td")), label
                lines = browser.find("body")[0].text.splitlines()
                assert not any(line.startswith("|") for line in lines), label  # a table that is still Markdown
                images = browser.find("img")
                assert (len(images) > 3) == label[1].startswith("Paper and study"), label
            else:
                images = [shown]
            for image in images:
                assert browser.wait(lambda image=image: image.get_property("naturalWidth")) > 500, label
                # However tall a figure is, its top can be reached.
                assert driver.execute_script("return arguments[0].getBoundingClientRect().top", image) >= 0, label
            driver.switch_to.default_content()
            seen.add(label)
    assert len(seen) == results > 15


def test_every_result_is_described(browser):
    for category, count in browser.places():
        for at in range(count):
            row = browser.rows(count)[at]
            label = row.text.strip()
            row.find_elements(By.TAG_NAME, "a")[1].click()
            caption = browser.wait(lambda: browser.find("nav .prose"))[0]
            assert len(caption.text) > 60, f"{category}: {label}"
            assert not caption.find_elements(By.CSS_SELECTOR, ".system-message"), caption.text
            browser.driver.execute_script("app.setView({navbarMode: 'subcategory'})")


def test_a_table_shows_its_numbers(browser, small_study):
    browser.menu()
    browser.click("2 Tables")
    row = next(row for row in browser.rows() if row.text.strip() == "DSC by method and dataset")
    row.find_elements(By.TAG_NAME, "a")[0].click()
    browser.driver.switch_to.frame(browser.wait(lambda: browser.find("nav.h-screen + div iframe"))[0])
    rows = browser.wait(lambda: browser.find("tbody tr"))
    cells = {row.find_element(By.TAG_NAME, "td").text: row.text for row in rows}
    note = browser.find("blockquote")[0].text
    browser.driver.switch_to.default_content()
    markdown = (small_study.finished / small_study.results / "tables/main.md").read_text()
    line = next(line for line in markdown.splitlines() if line.startswith("| Telescopic"))
    assert line.split("|")[2].split()[0].strip("*<u>/") in cells["Telescopic"]
    assert note.startswith("Not comparable with the paper")


def test_statistics_are_drawn(browser):
    browser.menu()
    browser.click("Statistics")
    for chart in ("#runtimes canvas", "#timeline canvas"):
        canvas = browser.wait(lambda chart=chart: browser.find(chart))[0]
        assert browser.driver.execute_script(DRAWN, canvas) > 0.005
    rules = {row["rule"] for row in browser.driver.execute_script("return runtimes_spec.data.values")}
    assert {"train", "evaluate", "figure_pareto", "page_main"} <= rules


def test_nothing_is_asked_of_the_network(browser):
    """Whatever a reader opens: every result, every description, the statistics."""
    for _, count in browser.places():
        for at in range(count):
            browser.rows(count)[at].find_elements(By.TAG_NAME, "a")[0].click()
            browser.wait(lambda: browser.driver.execute_script(SHOWN))
    browser.menu()
    browser.click("Statistics")
    schemes = {url.split(":")[0] for url in browser.requests()}
    assert "file" in schemes
    assert schemes <= {"file", "data", "blob", "about"}
    severe = [entry["message"] for entry in browser.driver.get_log("browser") if entry["level"] == "SEVERE"]
    assert not severe

"""The page in a real Chromium, served and as a file."""

import random
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from autocompress.dashboard.report import write_report

from made_up_runs import FIVE, add_trial, made_up_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a Chromium")
WAIT_MS = 60_000


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as tool:
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "made up"
    return made_up_run(home, complete=24, stopped=2, derived=3)


@pytest.fixture(scope="module")
def address(run):
    with served(run.path) as address:
        yield address


class served:  # noqa: N801 (it reads as a verb)
    """The command line, serving a folder."""

    def __init__(self, folder):
        command = [sys.executable, "-m", "autocompress.cli", "dashboard", str(folder), "--no-open"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self.process.stdout.readline().strip()

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def opened(browser):
    """Open addresses; at the end, there was no error and nothing came from elsewhere."""
    contexts, errors, asked = [], [], []

    def open_page(where, **options):
        size = {"viewport": {"width": 1300, "height": 900}}
        context = browser.new_context(**size | options)
        context.set_default_timeout(WAIT_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(where)
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []
    foreign = re.compile(r"^(?!file:|data:|blob:|http://127\.0\.0\.1[:/])")
    assert [url for url in asked if foreign.match(url)] == []


def click_trial(page, number, home="#pareto"):
    """Click on a trial's point, where it is drawn."""
    where = page.evaluate(
        """([home, number]) => {
            const plot = document.querySelector(home), {xaxis, yaxis} = plot._fullLayout;
            const trace = plot.data.find((t) => t.meta?.rows && t.customdata?.includes(number));
            const i = trace.customdata.indexOf(number), box = plot.getBoundingClientRect();
            return [box.x + xaxis._offset + xaxis.d2p(trace.x[i]),
                    box.y + yaxis._offset + yaxis.d2p(trace.y[i])];
        }""",
        [home, number],
    )
    page.mouse.move(*where)
    page.wait_for_selector(f"{home} .hovertext", state="attached")
    page.mouse.click(*where)


def link_of(page):
    """The address that the page itself has now; `page.url` follows a little later."""
    return page.evaluate("location.href")


def close_dialog(page, dialog, name):
    """Close it by the keyboard; the page takes it out of its address once it is closed."""
    page.keyboard.press("Escape")
    page.wait_for_selector(dialog, state="hidden")
    page.wait_for_function(f"!new URLSearchParams(location.hash.slice(1)).has('{name}')")


def picks_on(page):
    cards = page.locator("#picks [data-pick]").all()
    return {c.get_attribute("data-pick"): int(c.get_attribute("data-trial")) for c in cards}


def bound_on(page, metric):
    """The bound of a budget, as the address has it."""
    return float(re.search(rf"{metric}(?::|%3A)([\d.e-]+)", link_of(page))[1])


def picked(run, budget=None):
    names = run.picks()
    return {how: run.pick(how, budget).number for how in names}


def move(page, metric, steps):
    slider = page.locator(f"#budget-{metric}")
    slider.focus()
    for _ in range(abs(steps)):
        slider.press("ArrowRight" if steps > 0 else "ArrowLeft")


def test_a_click_on_a_point_opens_its_model(opened, address, run):
    page = opened(address)
    number = run.pick("accurate").number
    click_trial(page, number)
    page.wait_for_selector("#model[open]")
    assert page.locator("#model-title").inner_text() == f"Trial {number}"
    assert f"--trial {number} " in page.locator("#model code").inner_text()
    page.wait_for_selector("#model [data-part=curve] .main-svg")
    assert f"trial={number}" in link_of(page)
    close_dialog(page, "#model", "trial")


def test_picks_are_those_of_the_command_line(opened, address, run):
    page = opened(address)
    assert picks_on(page) == picked(run)
    move(page, "latency_ms", -8)
    move(page, "accuracy", 6)
    slowest, least = bound_on(page, "latency_ms"), bound_on(page, "accuracy")
    budget = {"latency_ms": slowest, "accuracy": least}
    assert picks_on(page) == picked(run, budget)
    dimmed = page.evaluate(
        "document.querySelector('#pareto').data.filter((t) => t.meta?.rows && t.marker?.opacity)"
        ".flatMap((t) => t.customdata.filter((_, i) => t.marker.opacity[i] < 1))"
    )
    known = [t for t in run.trials() if t.state == "complete"]
    short = [
        t.number
        for t in known
        if t.metrics["latency_ms"].value > slowest or t.metrics["accuracy"].value < least
    ]
    stopped = {t.number for t in run.trials() if t.bound}
    assert sorted(set(dimmed) - stopped) == short
    rings = "document.querySelector('#pareto').data.find((t) => t.meta?.kind === 'picks')"
    ringed = page.evaluate(f"(({{customdata, text}}) => [customdata, text])({rings})")
    shown = {how: n for n, text in zip(*ringed, strict=True) for how in text.split(", ")}
    assert shown == picked(run, budget)
    page.click("#reset")
    assert picks_on(page) == picked(run)


def test_a_link_keeps_the_view(opened, address, run):
    page = opened(address)
    page.select_option("#x", "parameters")
    page.check("#relative")
    move(page, "parameters", -5)
    again = opened(link_of(page))
    read = "[...document.querySelector('#pareto').data.find((t) => t.name === 'front').x]"
    assert again.evaluate(read) == page.evaluate(read)
    whole = run.baseline["parameters"].value
    front = sorted(t.metrics["parameters"].value / whole for t in run.front())
    assert sorted(again.evaluate(read)) == pytest.approx(front, rel=1e-3)
    assert picks_on(again) == picks_on(page)
    assert again.locator("#x").input_value() == "parameters"


def test_a_metric_of_a_user_is_everywhere(opened, tmp_path):
    run = made_up_run(tmp_path / "five", complete=24, objectives=FIVE)
    write_report(run, tmp_path / "five.html")
    page = opened((tmp_path / "five.html").as_uri())
    assert picks_on(page) == picked(run)
    assert "frugal" in picks_on(page)
    assert "energy" in page.locator("#objectives").inner_text()
    page.select_option("#x", "energy_mj")
    trace = "document.querySelector('#pareto').data.find((t) => t.name === '{}')"
    shown = page.evaluate(f"[...{trace.format('front')}.x]")
    energies = [trial.metrics["energy_mj"].value for trial in run.front()]
    assert sorted(shown) == sorted(energies)
    bars = page.evaluate(f"[...{trace.format('front')}.error_x.array]")
    assert np.allclose(np.array(bars) / np.array(shown), 0.05)
    title = "document.querySelector('#pareto').layout.xaxis.title.text"
    assert page.evaluate(title) == "energy (mJ)"
    edge = "document.querySelector('#pareto').data.find((t) => t.meta?.kind === 'edge')"
    xs, ys = page.evaluate(f"[[...{edge}.x], [...{edge}.y]]")
    points = [(t.metrics["energy_mj"].value, t.metrics["accuracy"].value) for t in run.front()]
    best = [p for p in points if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)]
    assert list(zip(xs, ys, strict=True)) == sorted(best)
    move(page, "energy_mj", -12)
    budget = {"energy_mj": bound_on(page, "energy_mj")}
    assert picks_on(page) == picked(run, budget)
    assert page.locator("output[for=budget-energy_mj]").inner_text().endswith(" mJ")
    page.select_option("#third", "energy_mj")
    page.check("#relative")
    assert page.evaluate(title) == "energy (of the baseline)"


def test_models_are_compared_side_by_side(opened, address, run):
    page = opened(address)
    ticks = page.locator('[data-table="front"] input[type="checkbox"]')
    assert page.locator("#compare").is_disabled()
    ticks.nth(0).check()
    ticks.nth(1).check()
    page.click("#compare")
    page.wait_for_selector("#comparison[open] [data-part=stages] .main-svg")
    assert page.locator("#comparison .side > div").count() == 2
    fastest = [t.number for t in run.front()[:2]]
    titles = page.locator("#comparison thead th").all_inner_texts()
    assert titles[2:] == [f"Trial {number}" for number in fastest]
    again = opened(link_of(page))
    again.wait_for_selector("#comparison[open] [data-part=stages] .main-svg")
    close_dialog(again, "#comparison", "side")
    assert "compare=" in link_of(again)


def test_three_metrics_stand_in_space_and_dim_with_the_budget(opened, address, run):
    page = opened(f"{address}#three=1&relative=1")
    space = "document.querySelector('#space')"
    page.wait_for_function(f"{space}?.data?.length")
    front = f"{space}.data.find((t) => t.meta?.kind === 'front')"
    points = page.evaluate(f"[...{front}.x].map((x, i) => [x, {front}.y[i], {front}.z[i]])")
    base = {name: found.value for name, found in run.baseline.items()}
    known = [{name: t.metrics[name].value for name in base} for t in run.front()]
    expected = [
        (
            own["latency_ms"] / base["latency_ms"],
            own["parameters"] / base["parameters"],
            100 * (own["accuracy"] - base["accuracy"]),
        )
        for own in known
    ]
    assert np.allclose(sorted(points), sorted(expected))
    move(page, "latency_ms", -8)
    slowest = bound_on(page, "latency_ms")
    colours = page.evaluate(f"[...{front}.marker.color]")
    slow = sum(t.metrics["latency_ms"].value > slowest for t in run.front())
    most = max(set(colours), key=colours.count)
    assert len(set(colours)) == (2 if 0 < slow < len(colours) else 1)
    assert colours.count(most) in (slow, len(colours) - slow)


def test_the_plot_is_saved_as_a_picture(opened, address):
    page = opened(address)
    with page.expect_download() as got:
        page.click("#png")
    assert got.value.suggested_filename == "pareto.png"
    assert got.value.path().read_bytes().startswith(b"\x89PNG")


def test_no_button_sends_a_figure_elsewhere(opened, address):
    page = opened(address)
    page.hover("#pareto")
    titles = "[...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title)"
    found = page.evaluate(titles)
    assert "Download plot as a PNG" in found
    assert not [title for title in found if "hare" in title or "loud" in title]


def test_a_state_leads_to_its_trials_and_a_heading_sorts_them(opened, address, run):
    page = opened(f"{address}#view=study")
    page.click('[data-table="states"] button:text-is("failed")')
    rows = page.locator('[data-table="trials"] tbody tr')
    rows.nth(1).wait_for()
    assert rows.count() == 2
    page.fill("#filter", "")
    page.click('[data-table="trials"] th button:text-is("latency")')
    first = rows.first.locator("td").first.inner_text().strip()
    known = [t for t in run.trials() if "latency_ms" in t.metrics]
    assert int(first) == min(known, key=lambda t: t.metrics["latency_ms"].value).number


def test_a_model_is_reached_by_the_keyboard_alone(opened, address, run):
    page = opened(address)
    page.locator('[data-table="front"] .open').first.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#model[open] [data-part=stages] .main-svg")
    assert page.locator("#model-title").inner_text() == f"Trial {run.front()[0].number}"
    inside = "document.querySelector('#model').contains(document.activeElement)"
    assert page.evaluate(inside)
    close_dialog(page, "#model", "trial")


CONTRAST = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (colour) => channels(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if ((channels(colour)[3] ?? 1) === 1) return colour;
    }
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const drawn = element.offsetParent && !element.closest("svg, :disabled, noscript, script");
    if (!own || !drawn) continue;
    const [a, b] = [getComputedStyle(element).color, behind(element)].map(luminance);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName} ${element.className} ${ratio.toFixed(2)}`);
  }
  return low;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(opened, address, theme):
    page = opened(f"{address}#theme={theme}")
    for view in ("tradeoff", "study", "trials", "setup"):
        page.click(f"[data-view={view}]")
        assert page.evaluate(CONTRAST) == [], view
    page.goto(f"{link_of(page)}&trial=0")
    page.wait_for_selector("#model[open] .card")
    assert page.evaluate(CONTRAST) == []


def test_every_view_is_drawn_in_light_and_dark(opened, address):
    page = opened(address, color_scheme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('#pareto').layout.font.color"
    dark = page.evaluate(f"[{paper}, {ink}]")
    page.click("#theme")
    light = page.evaluate(f"[{paper}, {ink}]")
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    page.keyboard.press("Tab")
    page.click("[data-view=study]")
    for name in ("history", "timeline", "importance", "slices", "parallel", "samples"):
        page.wait_for_selector(f"[data-figure={name}] .main-svg", state="attached")
    page.keyboard.press("ArrowRight")
    assert page.locator("#trials-view").is_visible()
    page.fill("#filter", "failed")
    rows = page.locator('[data-table="trials"] tbody tr')
    rows.nth(1).wait_for()
    assert rows.count() == 2
    with page.expect_download() as got:
        page.click("#csv")
    assert got.value.suggested_filename == "made up.csv"


def test_a_running_study_shows_without_reload(opened, tmp_path):
    run = made_up_run(tmp_path / "running", complete=3, failed=0, pruned=0, finished=False)
    with served(run.path) as address:
        page = opened(address)
        page.evaluate("window.untouched = true")
        assert "3 of 30" in page.locator("#state").inner_text()
        add_trial(run.path, 3, "complete", random.Random(9))
        page.wait_for_function("document.querySelector('#state').textContent.includes('4 of 30')")
        read = (
            "document.querySelector('#pareto').data.filter((t) => t.meta?.rows && t.customdata"
            " && t.meta.kind !== 'picks').flatMap((t) => t.customdata).length"
        )
        assert page.evaluate(read) == 4
        assert page.evaluate("window.untouched")


def test_a_report_is_the_same_page_from_a_file(opened, run, tmp_path):
    write_report(run, tmp_path / "report.html")
    page = opened((tmp_path / "report.html").as_uri(), offline=True)
    number = run.pick("small").number
    click_trial(page, number)
    page.wait_for_selector("#model[open] [data-part=widths] .main-svg")
    assert page.locator("#export").count() == 0
    close_dialog(page, "#model", "trial")
    page.check("#three")
    page.wait_for_selector("#space .gl-container", state="attached")


def test_texts_of_a_user_stay_texts(opened, tmp_path):
    run = made_up_run(tmp_path / "odd", complete=2, failed=1)
    write_report(run, tmp_path / "odd.html")
    page = opened(f"{(tmp_path / 'odd.html').as_uri()}#view=trials")
    assert "<script>alert('x')</script>" in page.locator("#trials-view").inner_text()


def test_a_narrow_page_does_not_scroll_sideways(opened, address):
    page = opened(address, viewport={"width": 380, "height": 800})
    for view in ("tradeoff", "study", "trials", "setup"):
        page.click(f"[data-view={view}]")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 380, view

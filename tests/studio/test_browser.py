"""The page in a real browser: Chromium, headless."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vergence.store.table import Store

pytest.importorskip("starlette")
api = pytest.importorskip("playwright.sync_api")

from vergence.studio.session import Session  # noqa: E402

EVIL = "<img src=x onerror=alert(1)>"  # an id of conftest's store
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium on this machine", allow_module_level=True)


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"] if os.geteuid() == 0 else ["--disable-gpu"]
        result = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield result
        result.close()


@pytest.fixture
def opened(browser, served):
    """Return a function that opens the page of a session; in the end nothing may have gone wrong on it."""
    trouble, contexts = [], []

    def show(session, *, width=1280):
        url, stop = served(session)
        context = browser.new_context(viewport={"width": width, "height": 900}, accept_downloads=True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: (trouble.append(dialog.message), dialog.dismiss()))
        own = (url, "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(own) or trouble.append(request.url))
        page.goto(url)
        page.wait_for_selector(".studio-map[data-ready]")
        page.stop = stop
        return page

    yield show
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.fixture
def session(store):
    result = Session(store)
    result.groups.find(3)
    result.projection.final = True  # no better map is waited for
    return result


def place_of(page, row):
    """Return where a row is drawn, in pixels of the window."""
    x, y, ratio = page.evaluate(f"(m => [...m.place({row}), m.ratio])(window.studio.parts.map.map)")
    box = page.locator(".studio-canvas").bounding_box()
    return box["x"] + x / ratio, box["y"] + y / ratio


def wait(page, expression, seconds=60):
    """Wait until a JavaScript expression is true; Playwright's own way is to eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(20)


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def chosen(page):
    return page.locator(".studio-chosen dd").first.text_content()


def test_the_map_draws_its_points_and_a_click_opens_the_neighbours(opened, session):
    page = opened(session)
    colours = page.evaluate("new Set(window.studio.parts.map.map.pixels).size")
    assert colours > 10  # three classes, their edges and the paper
    row = session.store.find(EVIL)
    page.mouse.click(*place_of(page, row))
    page.wait_for_selector(".studio-chosen")
    assert chosen(page) in (EVIL, session.store.names[10])  # they lie on one another
    assert page.locator(".studio-side .studio-tile").count() == 18
    page.locator(".studio-side .studio-tile").first.click()
    page.get_by_role("button", name="Back").wait_for()
    assert {chosen(page)} <= {EVIL, session.store.names[10]}
    page.get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Back").wait_for(state="detached")


def test_the_map_is_used_with_keys_alone(opened, session):
    page = opened(session)
    page.locator(".studio-canvas").focus()
    before = page.evaluate("window.studio.parts.map.map.centre()")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    after = page.evaluate("window.studio.parts.map.map.centre()")
    assert page.evaluate("window.studio.parts.map.map.zoom") == pytest.approx(1.6) and after[0] > before[0]
    page.keyboard.press("0")
    assert page.evaluate("window.studio.parts.map.map.zoom") == 1
    page.keyboard.press("n")
    wait(page, "document.querySelector('.studio-live').textContent !== ''")
    first = page.evaluate("window.studio.parts.map.map.focused")
    xy = session.projection.now[0].astype(float)
    page.keyboard.press("Shift+ArrowUp")
    wait(page, f"window.studio.parts.map.map.focused !== {first}")
    above = page.evaluate("window.studio.parts.map.map.focused")
    assert xy[above, 1] > xy[first, 1]
    page.keyboard.press("Enter")
    page.wait_for_selector(".studio-chosen")
    assert chosen(page) == session.store.names[above]
    page.keyboard.press("n")  # the nearest on the map to what is open
    wait(page, f"![-1, {above}].includes(window.studio.parts.map.map.focused)")
    page.keyboard.press("Escape")
    page.wait_for_selector(".studio-chosen", state="detached")
    by = page.get_by_label("Colour by")
    by.focus()
    by.select_option("light")
    page.wait_for_selector(".studio-ramp")


def test_a_picture_is_seen_at_full_size_and_folders_are_called_folders(opened, session):
    page = opened(session)
    name = session.store.names[3]
    page.evaluate("window.studio.parts.map.open(3)")
    page.wait_for_selector(".studio-chosen")
    assert page.get_by_label("Colour by").locator("option").first.text_content() == "folder"
    words = page.locator(".studio-chosen dt").all_text_contents()
    assert "folder" in words and "class" not in words
    page.get_by_role("button", name="Full size").click()
    wait(page, "document.querySelector('.studio-full img')?.naturalWidth === 16")
    head = page.locator(".studio-full-head").text_content()
    assert name in head and "16 × 16 pixels" in head
    page.keyboard.press("Escape")
    page.wait_for_selector(".studio-full", state="detached")
    assert page.locator(".studio-chosen").is_visible()


def test_near_duplicates_are_reviewed_with_keys_and_exported(opened, session):
    page = opened(session)
    tab(page, "Duplicates")
    page.get_by_role("button", name="Find near-duplicates").click()
    page.wait_for_selector(".studio-twin")
    groups = len(session.review.groups)
    assert groups >= 3
    page.locator(".studio-work").focus()
    first = [session.store.names[row] for row in session.review.groups[0]]
    page.keyboard.press("k")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector(".studio-twin.keep")
    page.keyboard.press("d")
    wait(page, "document.querySelector('.studio-lead').textContent.includes('1 samples to drop')")
    page.locator(".studio-work").focus()
    page.keyboard.press("f")
    page.get_by_role("button", name="The same in all groups").click()
    wait(page, "document.querySelector('.studio-told').textContent.includes('decided')")
    with page.expect_download() as download:
        page.get_by_role("link", name="ids to drop").click()
    text = Path(download.value.path()).read_text()
    assert first[1] in text.splitlines() and first[0] not in text.splitlines()
    assert text == session.review.text() and session.review.decided >= groups - 1
    assert Session(Store.open(session.store.path)).review.text() == text


def test_a_cluster_s_name_is_seen_again_after_a_restart(opened, session):
    page = opened(session)
    tab(page, "Clusters")
    field = page.get_by_label("Name of cluster 2")
    field.fill("<b>rings</b>")
    field.press("Enter")
    wait(page, "document.querySelector('.studio-told').textContent.includes('rings')")
    page.stop()
    again = Session(Store.open(session.store.path))
    again.projection.final = True
    page = opened(again)
    page.get_by_label("Colour by").select_option("cluster")
    wait(page, "document.querySelector('.studio-legend').textContent.includes('<b>rings</b>')")
    page.get_by_role("button", name="<b>rings</b>").click()
    assert page.evaluate("window.studio.parts.map.map.only") == 1


def test_a_picture_is_looked_for_two_are_explained_and_two_sides_compared(opened, session, filled, tmp_path):
    page = opened(session, width=400)
    name = session.store.names[7]
    page.locator("#studio-file").set_input_files(filled / "photos" / name)
    page.wait_for_selector(".studio-search .studio-tile")
    assert page.locator(".studio-search .studio-tile").first.get_attribute("title").startswith(name)
    (tmp_path / "fake.png").write_text("no picture")
    page.locator("#studio-file").set_input_files(tmp_path / "fake.png")
    wait(page, "document.querySelector('.studio-told').textContent.includes('not a picture')")
    page.set_viewport_size({"width": 1280, "height": 900})
    tab(page, "Why alike")
    page.get_by_label("First id").fill(name)
    page.get_by_label("Second id").fill(session.store.names[8])
    page.get_by_label("Second id").press("Enter")
    page.wait_for_selector(".studio-four img")
    assert page.locator(".studio-four img").count() == 4
    tab(page, "Compare")
    page.get_by_role("button", name="Compare").click()
    page.wait_for_selector(".studio-table")
    assert page.locator(".studio-table tbody tr").count() == 3
    page.locator(".studio-mini").first.click()
    page.wait_for_selector(".studio-chosen")


def test_it_says_what_it_is_doing_and_shows_the_better_map_when_it_is_there(opened, store):
    session = Session(store)
    page = opened(session)  # clusters and the better map are still to be found
    with session.busy("Counting to ten"):
        tab(page, "Duplicates")
        page.get_by_role("button", name="Find near-duplicates").click()
        wait(page, "document.querySelector('.studio-doing').textContent.includes('Counting to ten')")
        assert page.locator(".studio-doing").is_visible()
    tab(page, "Map")
    page.wait_for_selector(".studio-map[data-stage='1']", timeout=240_000)
    assert page.locator(".studio-how").text_content().startswith("t-SNE")
    page.wait_for_selector(".studio-doing", state="hidden")
    drawn = page.evaluate("Array.from(window.studio.parts.map.map.xy.slice(0, 20))")
    assert drawn == session.projection.now[0][:10].ravel().tolist()
    assert np.ptp(session.projection.now[0].astype(int), axis=0).min() > 60_000
    assert session.groups.of is not None and page.get_by_label("Colour by").locator("option").count() >= 3


def test_the_picture_of_a_row_is_that_of_its_file(session, filled):
    from vergence.studio.encoder_session import picture

    own = np.asarray(Image.open(filled / "photos" / session.store.names[3]).convert("RGB"))
    assert (picture(session.picture_of(3)) == own).all()


def test_a_selection_is_named_compared_deleted_after_a_review_and_brought_back(opened, session):
    page, n = opened(session), len(session.store)
    names = session.store.names
    page.get_by_label("Find samples by").fill("camera = 'B'")
    page.keyboard.press("Enter")
    wait(page, "window.studio.parts.map.selection.size > 0")
    rows = page.evaluate("window.studio.parts.map.selection.rows")
    page.get_by_label("Name of the selection").fill(EVIL)
    page.keyboard.press("Enter")
    page.locator(".studio-chip").wait_for()
    page.get_by_role("button", name="Compare with the rest").press("Enter")
    wait(page, "document.querySelector('.studio-beside')?.textContent.includes('Beside the rest')")
    assert "camera" in page.locator(".studio-beside").text_content()
    page.get_by_role("button", name="Clear").press("Enter")
    page.get_by_title(f"Select {EVIL}").press("Enter")
    wait(page, f"window.studio.parts.map.selection.size === {len(rows)}")
    page.get_by_role("button", name="Delete …").press("Enter")
    sheet = page.get_by_role("dialog", name="Delete the selection")
    wait(page, f"document.querySelectorAll('.studio-sheet .studio-near > *').length === {min(48, len(rows))}")
    page.keyboard.press("Escape")  # the first look changes nothing
    sheet.wait_for(state="detached")
    assert len(Store.open(session.store.path)) == n
    page.get_by_role("button", name="Delete …").press("Enter")
    with page.expect_event("load"):
        sheet.get_by_role("button", name=f"Delete {len(rows)} samples").press("Enter")
    wait(page, f"window.studio?.parts?.map?.map.rows === {n - len(rows)}")
    assert Store.open(session.store.path).names == [name for i, name in enumerate(names) if i not in rows]
    back = page.get_by_role("button", name="deleted samples back")
    back.wait_for()
    with page.expect_event("load"):
        back.press("Enter")
    wait(page, f"window.studio?.parts?.map?.map.rows === {n}")
    assert Store.open(session.store.path).names == names


SELECTED = "window.studio.parts.map.selection.size"
PRESSED = "document.querySelectorAll('.studio-bin[aria-pressed=true]')"


def test_bars_select_narrow_each_other_and_the_table_follows_with_keys_alone(opened, session):
    page = opened(session)
    page.locator("summary", has_text="Columns").press("Enter")
    page.get_by_label("camera <i>A</i>: ").wait_for()
    values = session.store.read(["camera", "light"]).to_pydict()
    mine = [i for i, value in enumerate(values["camera"]) if value == "<i>A</i>"]
    page.get_by_label("camera <i>A</i>: ").press("Enter")
    wait(page, f"{SELECTED} === {len(mine)}")
    assert page.evaluate("window.studio.parts.map.selection.rows") == mine
    wait(page, "location.hash.includes('q=')")
    page.locator("summary", has_text="Table").press("Enter")
    page.get_by_role("button", name="Order by light").press("Enter")
    page.locator(".studio-lines th[aria-sort=ascending]").wait_for()
    first = page.locator(".studio-lines tbody th").first.text_content()
    assert first == session.store.names[min(mine, key=lambda i: values["light"][i])]
    bar = page.locator(".studio-tall .studio-bin").first
    bar.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")  # the second and third bins of the light
    wait(page, f"{SELECTED} < {len(mine)} && {PRESSED}.length === 3")
    narrowed = page.evaluate("window.studio.parts.map.selection.rows")
    assert set(narrowed) < set(mine)
    page.get_by_role("button", name="Take back").first.press("Enter")
    wait(page, f"{PRESSED}.length < 3")
    page.evaluate("window.studio.parts.map.selection.clear()")  # anything else takes the bars back
    wait(page, f"{PRESSED}.length === 0")
    page.locator(".studio-lines .studio-mini").first.press("Enter")
    page.wait_for_selector(".studio-chosen")


LABELS = "window.studio.parts.map.map.labels"
CROWD = """n => {
  const { map } = window.studio.parts.map, xy = new Uint16Array(2 * n);
  const far = i => [49000 + 40 * (i % 97), 32767 + 40 * (i % 89)];
  const place = i => i % 100 ? [16000 + i % 300, 32767 + i % 200] : far(i);
  for (let i = 0; i < n; i++) [xy[2 * i], xy[2 * i + 1]] = place(i);
  map.names = [];
  map.setColours(new Uint8Array(n), new Uint32Array(256).fill(0xff000000));
  map.setPoints(xy);
  map.drawNow();
  map.drawNow();
  const { kx, ky, ox, oy } = map.scales();
  const row = y => Math.round(oy - y * ky) * map.canvas.width;
  const ink = (x, y) => map.pixels[row(y) + Math.round(x * kx + ox)] & 255;
  return [map.crowd, map.inSight, ink(16100, 32800), ink(...place(300)), ink(33000, 5000)];
}"""


def test_a_double_click_renames_a_cluster_on_the_map(opened, session):
    page = opened(session)
    wait(page, f"{LABELS}.length > 0")
    box = page.locator(".studio-canvas").bounding_box()
    first = page.evaluate(
        f"(({{ one, box }}, r) => [one.cluster, ...box.map(v => v / r)])({LABELS}[0], "
        "window.studio.parts.map.map.ratio)"
    )
    cluster, (left, top, right, bottom) = first[0], first[1:]
    page.mouse.dblclick(box["x"] + (left + right) / 2, box["y"] + (top + bottom) / 2)
    field = page.locator(".studio-name")
    field.fill(EVIL)
    field.press("Enter")
    wait(page, "window.studio.parts.map.map.names.some(one => one.shown.startsWith('<img'))")
    assert session.groups.names == {cluster: EVIL}
    page.get_by_role("button", name="Names").press("Enter")
    assert page.evaluate(f"{LABELS}.length") == 0


def test_a_crowd_is_drawn_by_how_many_lie_in_a_place(opened, session):
    page = opened(session)
    crowd, in_sight, dense, sparse, empty = page.evaluate(CROWD, 90_000)
    assert crowd and in_sight == 90_000
    assert dense < sparse < empty  # black points on light paper: the more, the darker
    page.evaluate("window.studio.parts.map.map.zoomBy(60)")
    wait(page, "!window.studio.parts.map.map.waiting && !window.studio.parts.map.map.crowd")

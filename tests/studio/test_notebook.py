"""``vg.studio``: the widget as Python sees it, and its script in a real browser."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

import vergence as vg
from vergence.core.errors import BadInput, MissingExtra
from vergence.studio.colours import codes
from vergence.studio.session import Session
from vergence.use.maps import NoSpread

pytest.importorskip("anywidget")
EVIL = "<img src=x onerror=alert(1)>"
SYNCED = ("points", "how", "columns", "by", "codes", "legend", "selection")


@pytest.fixture
def widget(store):
    return vg.studio(store)


def test_it_holds_the_map_the_colours_and_no_selection(store, widget):
    session = Session(store)
    places = np.frombuffer(widget.points, np.uint16).reshape(-1, 2)
    np.testing.assert_array_equal(places, session.projection.now[0])
    of, legend = codes(store, "class")
    assert widget.by == "class" and widget.codes == of.tobytes() and widget.legend == legend.plain()
    assert widget.columns[0] == ["class", store.label_name] and widget.how == "PCA"
    assert widget.selected == [] and len(widget.rows) == 0


def test_selected_can_be_set_and_is_read_in_the_stores_order(store, widget):
    names = [EVIL, store.names[7], store.names[3], EVIL]
    changes = []
    widget.observe(changes.append, "selection")
    widget.selected = names
    assert widget.selected == [store.names[3], store.names[7], EVIL] and len(changes) == 1
    assert [store.names[row] for row in widget.rows] == widget.selected
    widget.selected = []
    assert widget.selected == []
    for wrong, line in (("an id", "list of ids"), ([EVIL, "nobody"], "no row 'nobody'")):
        with pytest.raises(BadInput, match=line):
            widget.selected = wrong


@pytest.mark.parametrize(
    "mask", ["x", "AAAA", "!", "é", "153:AAAA", f"153:{base64.b64encode(bytes([255] * 20)).decode()}"]
)
def test_a_mask_that_is_none_of_these_rows_is_refused(widget, mask):
    with pytest.raises(BadInput):
        widget.selection = mask
    assert widget.selected == []


def test_colour_axes_and_vectors_are_chosen(store):
    widget = vg.studio(store, by="light", axes=("light", "label"))
    assert widget.legend["scale"] and "light" in widget.how
    widget.by = "camera"
    assert widget.legend["names"] == ["<i>A</i>", "B"]
    for wrong in ({"by": "lihgt"}, {"column": "vectr"}, {"axes": ("light", "camera")}):
        with pytest.raises(BadInput):
            vg.studio(store, **wrong)


def test_improve_lays_out_once_and_the_next_widget_begins_with_it(store, widget):
    first = widget.points
    widget.improve()
    assert widget.how == "t-SNE" and widget.points != first
    second = vg.studio(store)
    assert second.points == widget.points and second.how == "t-SNE"


def test_rows_that_are_all_alike_lie_nowhere(tmp_path):
    store = vg.Store.create(
        tmp_path / "s.lance", None, np.ones((12, 3), np.float32), ids=list("abcdefghijkl")
    )
    widget = vg.studio(store)
    assert set(np.frombuffer(widget.points, np.uint16)) == {65_535} and widget.how == ""
    assert widget.by == "" and widget.codes == bytes(12) and widget.legend is None
    with pytest.raises(NoSpread):
        widget.improve()


def test_its_script_is_one_file_that_imports_nothing(widget):
    script = widget.get_state()["_esm"]
    assert [line for line in script.splitlines() if line.startswith("import ")] == []
    assert script.count("export default") == 1 and "body {" not in widget.get_state()["_css"]


def answers(widget, monkeypatch, *questions):
    said = []
    monkeypatch.setattr(widget, "send", lambda content, buffers=None: said.append(content))
    for question in questions:
        widget._handle_custom_msg(question, [])  # noqa: SLF001 - as a notebook calls it
    return said


def test_what_the_map_asks_is_answered(store, widget, monkeypatch):
    point, sheet, wrong = answers(
        widget, monkeypatch, {"open": 10}, {"sheet": list(range(30))}, {"open": 10**9}
    )
    assert point["point"]["point"]["id"] == store.names[10] and point["point"]["near"][0]["id"] == EVIL
    assert [card["row"] for card in sheet["sheet"]] == list(range(12))
    assert sheet["sheet"][0]["picture"].startswith("data:image/")
    assert "rows 0 to" in wrong["wrong"]


def test_without_anywidget_it_says_which_extra_is_missing(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(MissingExtra, match="notebook"):
        vg.studio(store)


def test_the_package_stays_a_package():
    code = (
        "import vergence as vg, vergence.studio.app; from vergence import studio; "
        "assert callable(vg.studio) and studio is vg.studio and vg.studio.app.launch"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
STUB = """async ([script, state]) => {
  const acts = {}, seen = structuredClone(state);
  const raw = text => new DataView(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const changed = now => {
    const names = Object.keys(now).filter(name => !same(now[name], seen[name]));
    Object.assign(seen, structuredClone(now));
    for (const name of names) for (const act of acts[`change:${name}`] ?? []) act();
  };
  let sent = {};
  const model = {
    get: name => seen[name]?.bytes === undefined ? seen[name] : raw(seen[name].bytes),
    set: (name, value) => { sent[name] = value; changed({ [name]: value }); },
    save_changes: async () => { const now = sent; sent = {}; changed(await window.saved(now)); },
    send: async content => {
      for (const about of await window.asked(content)) for (const act of acts["msg:custom"]) act(about);
    },
    on: (name, act) => (acts[name] ??= []).push(act),
    off: () => {},
  };
  const file = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const { default: { render } } = await import(file);
  render({ model, el: document.getElementById("cell") });
  window.map = document.querySelector(".studio-notebook").map;
}"""


@pytest.fixture
def page(widget, monkeypatch):
    """The widget in a page that is no notebook, with a model as notebooks have one."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")

    def state():
        values = {name: getattr(widget, name) for name in SYNCED}
        as_text = {
            n: {"bytes": base64.b64encode(v).decode()} for n, v in values.items() if isinstance(v, bytes)
        }
        return {**values, **as_text}

    def saved(changes):
        widget.set_state(changes)
        return state()

    trouble, browser_files = [], widget.get_state()
    with api.sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu"] if os.geteuid() == 0 else ["--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on(
            "request",
            lambda request: request.url.startswith(("data:", "blob:")) or trouble.append(request.url),
        )
        page.expose_function("saved", saved)
        page.expose_function("asked", lambda question: answers(widget, monkeypatch, question))
        page.set_content(f"<style>{browser_files['_css']}</style><div id=cell></div>")
        page.evaluate(STUB, [browser_files["_esm"], state()])
        page.wait_for_selector(".studio-notebook h4")
        yield page
        browser.close()
    assert trouble == []


def drag(page, start, end, key=None):
    """Drag over a part of the map, in shares of its width and height, and return the rows that lie in it."""
    box = page.locator("canvas.map").bounding_box()
    at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    if key:
        page.keyboard.down(key)
    page.mouse.move(*at[0])
    page.mouse.down()
    page.mouse.move(*at[1], steps=4)
    page.mouse.up()
    if key:
        page.keyboard.up(key)
    places = np.array(page.evaluate("Array.from({ length: map.rows }, (_, row) => map.place(row))"))
    share = places / page.evaluate("[map.canvas.width, map.canvas.height]")
    return set(np.flatnonzero(((share > start) & (share < end)).all(1)).tolist())


def wait_for(page, rows, of):
    line = f"{len(rows)} of {of} selected" if rows else "Drag over the map to select."
    page.wait_for_function("line => document.querySelector('h4').textContent === line", arg=line)


def test_what_is_drawn_on_the_map_is_read_in_python(page, widget, store):
    n = len(store)
    wait_for(page, [], n)
    left = drag(page, (0.03, 0.03), (0.5, 0.97))
    wait_for(page, left, n)
    assert set(widget.rows) == left and 0 < len(left) < n
    page.wait_for_selector("aside > .studio-near .studio-tile")
    assert page.locator("aside > .studio-near .studio-tile").count() == 12
    both = left | drag(page, (0.45, 0.03), (0.9, 0.5), "Shift")
    wait_for(page, both, n)
    assert set(widget.rows) == both > left
    fewer = both - drag(page, (0.2, 0.2), (0.7, 0.4), "Alt")
    wait_for(page, fewer, n)
    assert [store.names[row] for row in sorted(fewer)] == widget.selected and fewer < both
    page.get_by_role("button", name="Clear").click()
    wait_for(page, [], n)
    assert widget.selected == []


def test_ids_and_kinds_reach_the_cell_as_text_and_colours_change(page, widget, store):
    row = store.find(EVIL)
    x, y, ratio = page.evaluate(f"(m => [...m.place({row}), m.ratio])(map)")
    box = page.locator("canvas.map").bounding_box()
    page.mouse.click(box["x"] + x / ratio, box["y"] + y / ratio)
    page.wait_for_selector("aside h4 >> nth=1")
    assert page.locator("aside h4").nth(1).text_content() in (EVIL, store.names[10])
    assert page.locator("aside div[aria-live] .studio-tile").count() == 12
    page.select_option("select", "camera")
    page.wait_for_function("document.querySelector('.legend').textContent.includes('<i>A</i>')")
    assert widget.by == "camera" and page.locator(".legend i i, .legend b").count() == 0

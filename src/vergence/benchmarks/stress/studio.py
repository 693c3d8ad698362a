"""Measure the studio on generated points in headless Chromium: first paint, how soon it answers, and memory.

    python -m vergence.benchmarks.stress.studio [--rows 100000,1000000,2000000] [--width 64] [--loads 5]

Builds stores of generated points (small pictures up to 100,000 rows, 12 classes, three further columns),
serves each as ``vergence studio`` does, and times what a person waits for: from the command, with the browser
open, and from asking for the page to the first picture of the map, from a click to the neighbours, from a
choice of colour to the picture in it, from a lasso to the count, the turns of the wheel drawn in three
seconds, and from a bar of a column to the counts of all columns. The first load is that of a store nobody has
looked at: the map is by PCA and the better one is being worked out meanwhile; the others come when that is
there. Screenshots go beside ``--shots``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from playwright.sync_api import Page, sync_playwright

from vergence.benchmarks import RESULTS
from vergence.data.source import Skipped
from vergence.engine.files import write_json
from vergence.store.table import Store

CLASSES = 12
CLICKS, FRAMES = 20, 60
BARS_OF = {
    "start_to_first_paint": {"100000": 4.0, "1000000": 6.0, "2000000": 12.0},
    "click": 0.3,
    "colour": 0.5,
    "lasso": 0.5,
    "wheel_in_3_s": 40,
    "memory": {"1000000": 4.0, "2000000": 8.0},
}
PICTURES = 100_000  # rows up to which the store has pictures


class Made:
    """Pictures of as many classes, one colour each, with two lines that tell samples apart."""

    uri, modality, root, label_name = "generated", "image", None, "class"

    def __init__(self, of: np.ndarray) -> None:
        self.labels, self.skipped = of.astype(np.int64), Skipped(0.5)
        self.classes = [f"kind {chr(97 + i)}" for i in range(CLASSES)]
        self.names = [f"photos/{i:06d}.png" for i in range(len(of))]
        self.colours = np.random.default_rng(1).integers(40, 220, (CLASSES, 3)).astype(np.uint8)

    def __len__(self) -> int:
        return len(self.labels)

    def store_columns(self, index: np.ndarray) -> dict[str, Any]:
        return {}

    def small_sample(self, i: int) -> np.ndarray:
        picture = np.empty((24, 24, 3), np.uint8)
        picture[...] = self.colours[self.labels[i]]
        picture[i % 24], picture[:, i // 24 % 24] = 250, 20
        return picture


def build(path: Path, rows: int, width: int, *, pictures: bool = True) -> Store:
    """Write the store: classes of uneven size around overlapping centres, one row in fifty twice."""
    random = np.random.default_rng(0)
    shares = random.dirichlet(np.full(CLASSES, 4.0))
    of = random.choice(CLASSES, rows, p=shares)
    parts = random.integers(0, 6, rows)  # of a class
    centres = random.standard_normal((CLASSES, 1, width)) + 0.7 * random.standard_normal((CLASSES, 6, width))
    x = (0.2 * centres[of, parts] + 0.5 * random.standard_normal((rows, width))).astype(np.float32)
    twins = np.arange(1, rows, 50)
    x[twins] = x[twins - 1] + 0.003 * random.standard_normal((len(twins), width)).astype(np.float32)
    metadata = {
        "year": (2012 + of % 5 + random.integers(0, 8, rows)).tolist(),
        "brightness": x[:, 0].tolist(),
        "camera": np.array(["north", "south", "harbour"])[random.integers(0, 3, rows)].tolist(),
    }
    made = Made(of)
    if not pictures:
        return Store.create(path, None, x, ids=made.names, labels=made.labels, metadata=metadata)
    return Store.create(path, made, x, metadata=metadata)  # type: ignore[arg-type]


class Served:
    """``vergence studio`` in a process of its own."""

    def __init__(self, store: Path) -> None:
        words = [sys.executable, "-m", "vergence.cli", "studio", str(store), "--no-browser", "--port", "0"]
        began = self.began = time.perf_counter()
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env={**os.environ})
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[0]
        self.started = time.perf_counter() - began

    def state(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/studio/state") as answer:
            return json.load(answer)

    def cpu(self) -> float:
        """Return the seconds of processor that the server has used, which other work does not lengthen."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def load(browser: Any, url: str, **options: Any) -> tuple[Page, float]:
    """Open the page as a newcomer does, and return it with the seconds to its first paint."""
    page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options}).new_page()
    page.goto(url, wait_until="commit")
    page.wait_for_selector(".studio-map[data-ready]", timeout=120_000)
    return page, page.evaluate("window.studio.parts.map.painted") / 1000


ONE_CLICK = """() => {
  const canvas = document.querySelector(".studio-canvas"), part = window.studio.parts.map;
  part.opened = null;
  window.seen = new Promise((done, fail) => {
    canvas.addEventListener("pointerup", async () => {
      const began = performance.now();
      while (part.opened === null) {
        if (performance.now() - began > 20000) return fail(new Error("a click opened nothing in 20 s"));
        await new Promise(next => setTimeout(next, 1));
      }
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - began)));
    }, { once: true, capture: true });
  });
}"""
ONE_COLOUR = """async column => {
  const by = document.querySelector(".studio-bar select"), part = window.studio.parts.map;
  const began = performance.now();
  part.coloured = null;
  by.value = column;
  by.dispatchEvent(new Event("change"));
  while (part.coloured === null) await new Promise(next => setTimeout(next, 1));
  return performance.now() - began;
}"""
ZOOM = """async n => {
  const map = window.studio.parts.map.map, found = [], frame = () => new Promise(requestAnimationFrame);
  await frame();
  for (let i = 0; i < n; i++) {
    const began = performance.now();
    map.zoomBy(i < n / 2 ? 1.12 : 1 / 1.12);
    await frame();
    await frame();
    found.push((performance.now() - began) / 2);
  }
  map.whole();
  return found;
}"""


WHEEL = """async limit => {
  const canvas = document.querySelector(".studio-canvas"), map = window.studio.parts.map.map;
  const { left, top, width, height } = canvas.getBoundingClientRect();
  const middle = { clientX: left + width / 2, clientY: top + height / 2, bubbles: true, cancelable: true };
  const began = performance.now(), frame = () => new Promise(requestAnimationFrame);
  let turns = 0;
  while (performance.now() - began < limit) {
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: turns % 20 < 10 ? -100 : 100, ...middle }));
    do await frame(); while (map.waiting);
    turns++;
  }
  map.whole();
  return turns;
}"""
BARS = """async () => {
  const linked = window.studio.parts.map.linked, found = [];
  document.querySelector(".studio-linked summary").click();
  while (!linked.took) await new Promise(next => setTimeout(next, 5));
  for (const bins of [[0], [1], [0, 1], [2], [0, 1, 2]]) {
    const began = performance.now();
    linked.took = null;
    await linked.choose("camera", bins);
    while (!linked.took) await new Promise(next => setTimeout(next, 1));
    found.push(performance.now() - began);
  }
  window.studio.parts.map.selection.clear();
  document.querySelector(".studio-linked summary").click();
  return found;
}"""
LASSO = """() => {
  const part = window.studio.parts.map, corners = [];
  const at = turn => Math.round(32767 + 30000 * turn);
  for (let a = 0; a < 6.28; a += 0.1) corners.push([at(Math.cos(a)), at(Math.sin(a))]);
  const began = performance.now();
  part.selection.shape("=", corners);
  const seconds = (performance.now() - began) / 1000, rows = part.selection.size;
  part.selection.clear();
  return [seconds, rows];
}"""


def lassos(page: Page) -> dict[str, Any]:
    """Draw a lasso around most points, and return seconds until they are counted, and how many they are."""
    drawn = [page.evaluate(LASSO) for _ in range(5)]
    return {**summary([seconds for seconds, _ in drawn]), "rows": drawn[0][1]}


def walk(page: Page) -> None:
    """Go through what a person does with a selection, with keys alone, and assert what comes of it.

    A frame selects, a condition selects, a tag is put and taken back, an export is saved, and the address of
    the view brings all of it back.
    """

    def until(expression: str) -> None:
        end = time.monotonic() + 60
        while not page.evaluate(expression):  # Playwright's own way to wait evals, which the page forbids
            assert time.monotonic() < end, expression
            page.wait_for_timeout(20)

    size = "window.studio.parts.map.selection.size"
    page.locator(".studio-canvas").focus()
    for key in ("s", "ArrowLeft", "ArrowUp", "Shift+ArrowRight", "Enter"):
        page.keyboard.press(key)
    framed = page.evaluate(size)
    assert framed > 0
    until("location.hash.includes('sel=')")
    address = page.url
    page.keyboard.press("Control+z")
    assert page.evaluate(size) == 0
    page.get_by_label("Find samples by").fill("year > 2015 AND camera = 'north'")
    page.keyboard.press("Enter")
    until(f"{size} > 0")
    selected = page.evaluate(size)
    page.get_by_label("Tag; empty takes the tags away").fill("<b>seen</b>")
    page.keyboard.press("Enter")
    until("document.querySelector('.studio-legend').textContent.includes('<b>seen</b>')")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export the ids as csv").press("Enter")
    assert len(Path(download.value.path()).read_text().splitlines()) == selected + 1
    page.get_by_role("button", name="Take the last tag back").press("Enter")
    until("!document.querySelector('.studio-legend').textContent.includes('<b>seen</b>')")
    page.goto("about:blank")
    page.goto(address)
    until(f"window.studio?.parts?.map && {size} === {framed}")


def clicks(page: Page, rows: int) -> list[float]:
    """Click on points and return seconds until the neighbours of each are drawn."""
    box, random = page.locator(".studio-canvas").bounding_box(), np.random.default_rng(0)
    seconds: list[float] = []
    assert box is not None
    while len(seconds) < CLICKS:
        row = int(random.integers(rows))
        x, y, ratio = page.evaluate(f"(m => [...m.place({row}), m.ratio])(window.studio.parts.map.map)")
        page.evaluate(ONE_CLICK)
        page.mouse.click(box["x"] + x / ratio, box["y"] + y / ratio)
        seconds.append(page.evaluate("window.seen") / 1000)
    return seconds


def colours(page: Page) -> list[float]:
    """Choose colours and return seconds until the map is drawn in each."""
    columns = ("year", "brightness", "camera", "cluster", "class") * 2
    return [page.evaluate(ONE_COLOUR, column) / 1000 for column in columns]


def frames(page: Page) -> list[float]:
    """Zoom in and out again, and return seconds from frame to frame."""
    return [time / 1000 for time in page.evaluate(ZOOM, FRAMES)]


def wheel(page: Page) -> int:
    """Return how many turns of the wheel are drawn in three seconds, each after the one before."""
    return page.evaluate(WHEEL, 3000)


def bars(page: Page) -> list[float]:
    """Press bars of a column and return seconds until the rows are selected and all columns counted anew."""
    return [time / 1000 for time in page.evaluate(BARS)]


def memory(served: Served) -> dict[str, float]:
    """Return the gigabytes of the server, at most so far and now, and those of the browser now."""
    server = psutil.Process(served.process.pid)
    status = Path(f"/proc/{server.pid}/status").read_text()
    most = int(status.split("VmHWM:")[1].split()[0]) * 1024
    browsers = [p for p in psutil.Process().children(recursive=True) if "chrom" in p.name()]
    browser = sum(process.memory_full_info().pss for process in browsers)
    sizes = {"server": server.memory_info().rss, "server_at_most": most, "browser": browser}
    return {name: round(size / 1e9, 2) for name, size in sizes.items()}


def summary(seconds: list[float]) -> dict[str, float]:
    middle, worst = statistics.median(seconds), max(seconds)
    return {"median": round(middle, 4), "worst": round(worst, 4), "times": len(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="100000,1000000", help="of each store, with a comma between")
    parser.add_argument("--width", type=int, default=64, help="values of a vector")
    parser.add_argument("--loads", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "studio.json")
    parser.add_argument("--shots", type=Path, help="folder for screenshots")
    parser.add_argument("--stores", type=Path, help="folder to keep the stores in, or to take them from")
    args = parser.parse_args()
    result: dict[str, Any] = {
        "what": "vergence studio in headless Chromium, seconds and GB",
        "width": args.width,
        "cores": os.cpu_count(),
        "bars": BARS_OF,
        "stores": [],
    }
    with tempfile.TemporaryDirectory(prefix="studio-") as temporary:
        for rows in map(int, args.rows.split(",")):
            path = (args.stores or Path(temporary)) / f"{rows}.lance"
            if not path.exists():
                build(path, rows, args.width, pictures=rows <= PICTURES)
            shutil.rmtree(path / "_studio", ignore_errors=True)
            load_average = [round(value, 1) for value in os.getloadavg()]
            with sync_playwright() as playwright:
                measured = measure(playwright.chromium, path, rows, args)
            result["stores"].append({"rows": rows, "load_average": load_average, **measured})
            write_json(args.out, result)
    print(json.dumps(result, indent=2))


def measure(chromium: Any, path: Path, rows: int, args: argparse.Namespace) -> dict[str, Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next(place for name in names if (place := shutil.which(name)))
    browser = chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
    browser.new_page().goto("about:blank")  # a person's browser is open before
    served = Served(path)
    try:
        return measure_served(browser, served, rows, args)
    finally:
        served.close()
        browser.close()


def measure_served(browser: Any, served: Served, rows: int, args: argparse.Namespace) -> dict[str, Any]:
    page, first = load(browser, served.url)
    start = {
        "server_start": round(served.started, 2),
        "start_to_first_paint": round(time.perf_counter() - served.began, 2),
        "server_processor": round(served.cpu(), 2),
    }
    early = {"first_paint": round(first, 3), "click": summary(clicks(page, rows))}
    shot(page, args.shots, f"{rows}-pca")
    page.context.close()
    began = time.perf_counter()
    while served.state()["doing"]:
        time.sleep(0.5)
    early["until_better"] = round(time.perf_counter() - began, 1)
    paints: list[float] = []
    settled: dict[str, Any] = {}
    for i in range(args.loads):
        page, seconds = load(browser, served.url)
        paints.append(seconds)
        if i == 0:
            settled["click"] = summary(clicks(page, rows))
            settled["colour"] = summary(colours(page))
            settled["lasso"] = lassos(page)
            walk(page)
            settled["bars"] = summary(bars(page))
            settled["zoom_frame"] = summary(frames(page))
            settled["wheel_in_3_s"] = wheel(page)
            settled["memory"] = memory(served)
        page.context.close()
    for scheme in ("light", "dark") if args.shots else ():
        for width in (1280, 400):
            view = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
            page, _ = load(browser, served.url, **view)
            page.evaluate("window.studio.parts.map.open(4321)")
            page.wait_for_selector(".studio-near .studio-tile")
            shot(page, args.shots, f"{rows}-{scheme}-{width}")
            page.context.close()
    return {**start, "first_paint": summary(paints), **settled, "while_the_map_is_worked_out": early}


def shot(page: Page, folder: Path | None, name: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(300)
        page.screenshot(path=folder / f"{name}.png", full_page=True)


if __name__ == "__main__":
    main()

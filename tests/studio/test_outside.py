"""What comes from outside: pictures, addresses, words; nothing of it reaches the disk or the page as HTML."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from vergence.core.errors import BadInput
from vergence.store.table import Store
from vergence.studio.encoder_session import LARGEST, EncoderSession, picture

pytest.importorskip("starlette")
from starlette.testclient import TestClient  # noqa: E402

from vergence.studio.app import serving  # noqa: E402
from vergence.studio.guard import Guard, refusal
from vergence.studio.session import Session  # noqa: E402
from vergence.studio.web import comparison, routes  # noqa: E402

HERE = "http://127.0.0.1:7860"
EVIL = "<img src=x onerror=alert(1)>"  # an id of conftest's store
BYTES = {"content-type": "application/octet-stream"}
DROP = {"rows": [0], "verdict": "drop"}


def encoded(kind="PNG", size=(16, 16)):
    file = io.BytesIO()
    Image.fromarray(np.full((*size, 3), 90, np.uint8)).save(file, kind)
    return file.getvalue()


def bomb():
    """A PNG whose header promises 30,000 x 30,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    )


@pytest.fixture(scope="module")
def session(filled, tmp_path_factory):
    store = Store.open(shutil.copytree(filled / "s.lance", tmp_path_factory.mktemp("outside") / "s.lance"))
    result = Session(store)
    result.groups.find(3)
    result.start = lambda patience: None  # type: ignore[method-assign]
    return result


@pytest.fixture(scope="module")
def client(session):
    with TestClient(serving(session), base_url=HERE) as result:
        yield result


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_pictures_of_the_kinds_that_are_named_are_read(kind):
    assert picture(encoded(kind)).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("raw", "line"),
    [
        (b"", "not a picture"),
        (b"#!/bin/sh\nrm -rf /", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%PDF-1.7", "not a picture"),
        (encoded()[:60], "broken"),
        (bomb(), "million"),
        (encoded(size=(8_000, 8_000)), "million"),
        (b"\xff\xd8\xff" + bytes(LARGEST), "20 MB"),
    ],
)
def test_anything_else_is_refused_in_one_line(raw, line):
    with pytest.raises(BadInput, match=line) as error:
        picture(raw)
    assert "\n" not in str(error.value)


def test_a_picture_finds_itself_and_leaves_nothing_behind(client, session, filled, monkeypatch):
    name = session.store.names[5]
    raw = (filled / "photos" / name).read_bytes()
    written = []
    monkeypatch.setattr("pathlib.Path.write_bytes", lambda *a: written.append(a))
    result = client.post("/studio/search", headers=BYTES, content=raw).json()["near"]
    assert result[0]["id"] == name and result[0]["score"] == pytest.approx(1, abs=1e-3)
    assert written == []


def test_pictures_that_are_no_pictures_or_too_large_are_answered_with_a_line(client):
    wrong = client.post("/studio/search", headers=BYTES, content=b"MZ\x90\x00")
    assert wrong.status_code == 400 and "not a picture" in wrong.json()["error"]
    assert client.post("/studio/search", headers=BYTES, content=bytes(LARGEST + 1)).status_code == 413
    assert client.post("/studio/name", headers=BYTES, content=bytes(70_000)).status_code == 413


def test_a_body_without_end_is_cut_off():
    read, sent = [], []

    async def receive():
        read.append(1)
        assert len(read) < 50, "it reads on and on"
        return {"type": "http.request", "body": bytes(2**20), "more_body": True}

    async def send(message):
        sent.append(message)

    async def app(*args):
        raise AssertionError("it came through")

    head = [(b"host", b"localhost"), (b"content-type", b"application/octet-stream")]
    scope = {"type": "http", "method": "POST", "path": "/studio/search", "headers": head}
    asyncio.run(Guard(app, largest=10 * 2**20)(scope, receive, send))
    assert sent[0]["status"] == 413 and len(read) == 11


@pytest.mark.parametrize(
    "path",
    [
        "/studio/static/../app.py",
        "/studio/static/..%2fapp.py",
        "/studio/static/%2e%2e/%2e%2e/cli/main.py",
        "/studio/static//etc/passwd",
        "/studio/static/app.py",
        "/assets/../../../../../../etc/passwd",
        "/assets/..%2f..%2findex.html",
        "/static/..%5c..%5cx",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=s.lance/_studio/review.json",
        "/gradio_api/file/etc/passwd",
        "/gradio_api/proxy=http://example.org/",
        "/gradio_api/stream/a/b/c/playlist-file",
        "/gradio_api/info",
        "/gradio_api/runs",
        "/monitoring",
        "/docs",
        "/openapi.json",
    ],
)
def test_no_path_reaches_a_file_that_is_not_the_page_s_own(client, path):
    result = client.get(path)
    assert result.status_code in (403, 404), result.text[:200]
    assert "root:" not in result.text and "import" not in result.text


def test_nothing_can_be_sent_but_what_the_page_sends(client):
    for path in ("/gradio_api/upload", "/gradio_api/queue/join", "/login", "/", "/studio"):
        assert client.post(path, json={"data": []}).status_code == 404
    for path in ("/studio/nothing", "/studio/static/map.js/", "/studio/name/1"):
        assert client.post(path, json={}).status_code in (404, 405)
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
        assert client.request(method, "/studio/name", json={}).status_code == 404


def addresses(session):
    """Return every address that the page's server answers, by the way it is asked."""
    return [
        (method, route.path.replace("{row}", "0").replace("{name}", "map.js"))
        for route in routes(session)
        for method in route.methods - {"HEAD"}
    ]


def test_every_address_stands_behind_the_guard(client, session):
    """Whoever adds a route need not think of it: hosts, pages and bodies from elsewhere reach none."""
    known = addresses(session)
    assert len(known) >= 23 and {"GET", "POST"} == {method for method, _ in known}
    for method, path in known:
        post = {"json": {}} if method == "POST" else {}
        for headers, status in (
            ({"host": "evil.example:7860"}, 403),
            ({"host": "127.0.0.1.evil.example"}, 403),
            ({"origin": "http://evil.example"}, 403),
            ({"origin": "http://127.0.0.1:9999"}, 403),
            ({"origin": "null"}, 403),
        ):
            assert client.request(method, path, headers=headers, **post).status_code == status, path
        if path != "/":  # a link may lead to the page itself
            for site in ("cross-site", "same-site", "what"):
                answer = client.request(method, path, headers={"sec-fetch-site": site}, **post)
                assert answer.status_code == 403, path
        if method == "POST":
            for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
                answer = client.post(path, content=b"{}", headers={"content-type": kind})
                assert answer.status_code == 415, (path, kind)
            assert client.get(path).status_code in (404, 405)
            if path != "/studio/search":
                assert client.post(path, content=b"{}", headers=BYTES).status_code == 415
                for body in (b"", b"[]", b"null", b"{", b'{"else": 1}', b'{"rows": NaN}', b"[" * 60_000):
                    answer = client.post(path, content=body, headers={"content-type": "application/json"})
                    assert answer.status_code == 422 and "error" in answer.json(), (path, body)


def test_every_answer_is_sealed(client, session):
    for path in ("/", "/studio/state", "/studio/static/map.js", "/studio/drop.txt", "/studio/point/-1"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_other_pages_and_other_names_are_refused(client):
    assert client.get("/studio/state").status_code == 200
    assert client.get("/studio/state", headers={"host": "evil.example:7860"}).status_code == 403
    for origin in ("http://evil.example", "http://127.0.0.1:9999", "null"):
        answer = client.post(
            "/studio/decide", json={"rows": [0], "verdict": "drop"}, headers={"origin": origin}
        )
        assert answer.status_code == 403
    assert client.get("/studio/map", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert refusal("GET", "/", {"host": "localhost:1", "sec-fetch-site": "cross-site"}) is None  # a link
    own = client.post("/studio/decide", json=DROP, headers={"origin": HERE})
    assert own.json()["dropped"] == 1


def test_the_page_may_load_nothing_from_elsewhere(client):
    result = client.get("/?<script>alert(1)</script>")
    assert result.status_code == 200 and "studio/static/studio.js" in result.text
    assert "alert" not in result.text and "http" not in result.text and "<script>" not in result.text
    policy = result.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert client.get("/studio/static/map.js").headers["content-type"].startswith("text/javascript")


def test_the_name_of_a_store_is_escaped(tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.lance"
    store = Store.create(path, None, np.eye(4, dtype=np.float32), ids=list("abcd"))
    page = TestClient(serving(Session(store)), base_url=HERE).get("/").text
    assert "<img" not in page and page.count("&lt;img src=x onerror=alert(1)&gt;.lance") == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/studio/point/100000", 400),
        ("/studio/point/-1", 400),
        ("/studio/point/x", 422),
        ("/studio/find?id=1", 405),
        ("/studio/colour?by=vector", 400),
        ("/studio/colour?by=thumbnail", 400),
        ("/studio/why?first=no&second=no", 400),
        ("/studio/groups?number=3", 200),
    ],
)
def test_what_is_not_there_is_a_line(client, path, status):
    result = client.get(path)
    assert result.status_code == status
    if status == 400:
        assert "\n" not in result.json()["error"]


def test_a_point_comes_with_its_neighbours_and_facts(client, session):
    row = session.store.find(EVIL)
    result = client.get(f"/studio/point/{row}").json()
    assert result["point"]["id"] == EVIL and result["point"]["picture"] is None
    assert result["near"][0]["row"] == 10 and result["near"][0]["score"] == pytest.approx(1, abs=1e-4)
    assert result["near"][0]["picture"].startswith("data:image/png;base64,")
    assert {"light"} <= {name for name, _ in result["point"]["facts"]}


def test_map_and_colours_come_as_words_and_numbers(client, session):
    raw = client.get("/studio/map").content
    words = struct.unpack("<I", raw[:4])[0]
    assert json.loads(raw[4 : 4 + words])["how"] == "PCA" and words % 4 == 0
    assert len(raw) == 4 + words + 4 * len(session.store)
    for column in ("class", "cluster", "camera", "light"):
        raw = client.get("/studio/colour", params={"by": column}).content
        words = struct.unpack("<I", raw[:4])[0]
        legend = json.loads(raw[4 : 4 + words])["legend"]
        assert legend["column"] == column and len(raw) == 4 + words + len(session.store)
        assert legend["scale"] or sum(legend["counts"]) + legend["other"] + legend["none"] == len(
            session.store
        )


def test_a_picture_at_full_size_is_sent_as_a_picture_and_nothing_else_is(client, session):
    row = session.store.find(session.store.names[0])
    about = client.get(f"/studio/original/{row}").json()
    assert about["path"].endswith(session.store.names[0]) and (about["width"], about["height"]) == (16, 16)
    answer = client.get(f"/studio/pixels/{row}")
    assert answer.headers["content-type"] == "image/png" and answer.content.startswith(b"\x89PNG")
    assert answer.headers["x-content-type-options"] == "nosniff"
    without = session.store.find(EVIL)
    for path in (f"original/{without}", f"pixels/{without}", "pixels/999999", "pixels/-1"):
        answer = client.get(f"/studio/{path}")
        assert answer.status_code == 400 and "error" in answer.json()


def test_two_sides_are_compared_and_names_stay_text(client, session):
    session.groups.rename(int(session.groups.of[session.store.find(EVIL)]), "<script>alert(1)</script>")
    params = {"column": "camera", "first": "<i>A</i>", "second": "B"}
    answer = client.get("/studio/compare", params=params)
    result = answer.json()
    assert answer.headers["content-type"] == "application/json" and result == comparison(session, **params)
    assert result["sides"] == ["<i>A</i>", "B"] and len(result["lines"]) == result["clusters"] == 3
    assert "<script>alert(1)</script>" in [line["name"] for line in result["lines"]]
    for side in (0, 1):
        assert sum(line["counts"][side] for line in result["lines"]) == result["rows"][side]
        assert sum(line["shares"][side] for line in result["lines"]) == pytest.approx(1, abs=1e-3)
    offered = client.get("/studio/sides", params={"column": "camera"}).json()
    assert offered["sides"] == ["<i>A</i>", "B"] and ["class", "folder"] in offered["columns"]
    assert client.get("/studio/sides").json()["column"] == "class"
    assert client.get("/studio/compare", params={**params, "column": "id) --"}).status_code == 400
    assert client.get("/studio/compare", params={"column": "camera"}).status_code == 422


def test_near_duplicates_are_looked_for_and_clusters_found_again(client, session):
    result = client.post("/studio/duplicates", json={"by": "cosine", "threshold": 0.99999}).json()
    assert "3 pairs" in result["line"] and "3 groups" in result["line"]
    assert client.post("/studio/duplicates", json={"by": "no such"}).status_code == 400
    assert client.post("/studio/duplicates", json={"by": "cosine", "threshold": "x"}).status_code == 422
    assert client.get("/studio/groups?number=0").json()["group"]["size"] == 2
    assert client.post("/studio/divide", json={"k": 4}).json()["line"] == "4 clusters."
    for k in (-1, 10**9):
        assert client.post("/studio/divide", json={"k": k}).status_code == 400
    assert client.post("/studio/divide", json={"k": True}).status_code == 422
    session.groups.find(3)


def test_why_shares_out_the_cosine(session):
    names = session.store.names
    rows = [session.store.find(names[i]) for i in (0, 5)]
    score, first, second = session.encoder.why(*(picture(session.picture_of(row)) for row in rows))
    assert first.sum() == pytest.approx(score, abs=2e-3) == second.sum()
    unit = session.store.directions()[rows]
    assert score == pytest.approx(float(unit[0] @ unit[1]), abs=0.02)


def test_a_missing_encoder_is_one_line(client, session, monkeypatch):
    monkeypatch.setattr(session, "encoder", EncoderSession(session.store, "vector"))
    monkeypatch.setattr(session.encoder, "model", "runs/gone")
    assert "runs/gone" in client.get("/studio/state").json()["blind"]
    assert "runs/gone" in client.post("/studio/search", headers=BYTES, content=encoded()).json()["error"]
    names = session.store.names
    answer = client.get("/studio/why", params={"first": names[0], "second": names[1]})
    assert answer.status_code == 400 and "runs/gone" in answer.json()["error"]
    nobody = EncoderSession(session.store, "vector")
    nobody.model = ""
    assert "does not say" in nobody.missing


def test_an_encoder_of_something_else_is_one_line(session, filled, tmp_path):
    run = shutil.copytree(filled / "run", tmp_path / "run")
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("modality: image", "modality: events"))
    encoder = EncoderSession(session.store, "vector")
    encoder.model = str(run)
    assert "did not learn from pictures" in encoder.missing


def test_nothing_heavy_is_loaded_before_the_first_paint(filled):
    code = (
        "import sys; from vergence.store.table import Store; from vergence.studio.session import Session; "
        "from vergence.studio.app import serving; from starlette.testclient import TestClient; "
        f"session = Session(Store.open({str(filled / 's.lance')!r})); session.start = lambda patience: None; "
        f"client = TestClient(serving(session), base_url={HERE!r}); "
        "assert {client.get(path).status_code for path in ('/', '/studio/state', '/studio/map', "
        "'/studio/colour', '/studio/point/3')} == {200}; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "sklearn", "scipy", "matplotlib"} & set(done.stdout.split())


def test_the_library_does_not_load_the_server():
    code = "import sys, vergence, vergence.cli, vergence.studio; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"starlette", "uvicorn", "torch", "numpy"} & set(done.stdout.split())


@pytest.mark.parametrize("name", ["host", "origin"])
@pytest.mark.parametrize("value", ["[", "http://[", "[::1", "localhost]["])
def test_addresses_that_are_none_are_refused(client, name, value):
    answer = client.get("/studio/state", headers={name: value})
    assert answer.status_code == 403 and "error" in answer.json()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("decide", rb'{"rows": [1], "verdict": "\ud800"}', 422),
        ("decide", b'{"rows": [NaN], "verdict": "drop"}', 422),
        ("decide", b'{"rows": [1e400], "verdict": "drop"}', 422),
        ("decide", rb'{"rows": ["\ud800"], "verdict": "drop"}', 422),
        ("decide", b"\xff\xfe", 422),
        ("decide", b"[" * 60_000, 422),
        ("decide", b'{"rows": [true], "verdict": "drop"}', 422),
        ("decide", b'{"rows": [1], "verdict": "drop", "more": 1}', 422),
        ("name", rb'{"cluster": 0, "name": "\ud800"}', 422),
        ("name", b'{"cluster": 99999999999999999999999, "name": "x"}', 400),
        ("keep-first", b'{"number": Infinity}', 422),
    ],
)
def test_bodies_that_are_not_what_is_asked_for_are_answered_with_a_line(client, path, body, status):
    answer = client.post(f"/studio/{path}", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text

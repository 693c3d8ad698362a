"""``vergence mcp``: every tool through the SDK's own client, and what a hostile one cannot do."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from agents import Agent, everything

pytest.importorskip("mcp.server")
from mcp import Client, StdioServerParameters  # noqa: E402
from starlette.testclient import TestClient  # noqa: E402

from vergence.cli import main  # noqa: E402
from vergence.core.errors import install_command  # noqa: E402
from vergence.mcp.changes import WritingTools  # noqa: E402
from vergence.mcp.server import READING, WRITING, application, server  # noqa: E402
from vergence.mcp.tools import ReadingTools  # noqa: E402
from vergence.store.table import Store  # noqa: E402
from vergence.use.nearest import search  # noqa: E402

EVIL = "<img src=x onerror=alert(1)>"  # an id of the store


@pytest.fixture(scope="module")
def agent(filled):
    return Agent(ReadingTools(Store.open(filled / "s.lance"), pictures=filled / "photos"))


@pytest.fixture(scope="module")
def reading(filled):
    return Store.open(filled / "s.lance")


def test_tools_are_listed_with_what_they_do_and_those_that_change_only_with_write(store):
    async def listed(tools):
        async with Client(server(tools)) as client:
            return (await client.list_tools()).tools

    read = asyncio.run(listed(ReadingTools(store)))
    assert tuple(tool.name for tool in read) == READING
    assert all(tool.annotations.read_only_hint and len(tool.description) > 60 for tool in read)
    written = {tool.name: tool for tool in asyncio.run(listed(WritingTools(store)))}
    assert tuple(written) == (*READING, *WRITING)
    assert [written[name].annotations.read_only_hint for name in WRITING] == [False, False]
    assert written["delete"].annotations.destructive_hint
    assert written["search"].input_schema["properties"]["k"]["default"] == 10


def test_describe_says_what_there_is(agent, reading):
    said = agent("describe")
    assert said["rows"] == len(reading) and said["version"] == reading.version
    assert said["columns"]["camera"] == "string" and "thumbnail" not in said["columns"]
    assert said["vectors"] == {"vector": reading.width()} and said["encoder"].endswith("run")
    assert said["classes"] == reading.classes and said["pictures"] and said["can_search_pictures"]


def test_where_is_the_stores_own_condition_page_by_page(agent, reading):
    rows = reading.where("label = 1 AND camera IS NULL")
    said = agent("where", condition="label = 1 AND camera IS NULL", columns=["light", "camera"], limit=3)
    assert said["total"] == len(rows) > 6 and len(said["rows"]) == 3
    more = agent("where", condition="label = 1 AND camera IS NULL", limit=200, offset=3)["rows"]
    names = [row["id"] for row in (*said["rows"], *more)]
    assert names == [reading.names[row] for row in rows]
    assert said["rows"][0]["camera"] is None and isinstance(said["rows"][0]["light"], float)


def test_search_finds_by_id_by_words_and_by_picture(agent, reading, filled):
    name = reading.names[10]
    hits = search(reading, reading.find(name), k=4, where="camera = 'B'")
    said = agent("search", id=name, k=4, where="camera = 'B'", columns=["camera"])["rows"]
    assert [row["id"] for row in said] == hits.ids[0]
    assert [row["score"] for row in said] == pytest.approx(hits.scores[0].tolist(), abs=1e-4)
    assert {row["camera"] for row in said} == {"B"}
    words = agent("search", text="ONERROR")
    assert words == {"total": 1, "rows": [{"id": EVIL}]}
    seen = agent("search", picture=os.path.relpath(filled / "photos" / name, filled / "photos"), k=3)
    assert name in [row["id"] for row in seen["rows"]] and seen["rows"][0]["score"] > 0.99


def test_neighbours_are_those_of_search_for_each(agent, reading):
    names = [reading.names[10], EVIL]
    said = agent("neighbours", ids=names, k=3)["neighbours"]
    assert [one["id"] for one in said] == names
    for name, one in zip(names, said, strict=True):
        assert [row["id"] for row in one["rows"]] == search(reading, reading.find(name), k=3).ids[0]
    assert said[0]["rows"][0]["id"] == EVIL  # its twin


def test_duplicates_are_the_librarys(agent, reading):
    said = agent("duplicates", by="cosine", threshold=0.9999)
    groups = [set(group["ids"]) for group in said["shown"]]
    assert {reading.names[10], EVIL} <= next(group for group in groups if EVIL in group)
    assert said["could_go"] >= 3 and said["groups"] == len(said["shown"])
    assert len(agent("duplicates", by="cosine", threshold=0.9999, limit=1)["shown"]) == 1


def test_clusters_hold_every_row_and_name_their_usual_class(agent, reading):
    said = agent("clusters", k=3, examples=2)["clusters"]
    sizes = [one["size"] for one in said]
    assert sum(sizes) == len(reading) and sizes == sorted(sizes, reverse=True)
    assert all(len(one["typical"]) == 2 and 0 < one["class"]["share"] <= 1 for one in said)


def test_compare_finds_where_two_groups_differ(agent, reading):
    said = agent("compare", first="label = 0", k=4)
    ones = len(reading.where("label = 0"))
    assert said["rows"] == [ones, len(reading) - ones] and -1 <= said["cosine_of_means"] <= 1
    assert said["uneven"]
    for one in said["uneven"]:
        more = ("first", "second").index(one["more_in"])
        assert one["shares"][more] > one["shares"][1 - more]
        wanted = {reading.names[row] for row in reading.where(("label = 0", "label <> 0")[more])}
        assert set(one["examples"]) <= wanted and one["examples"]
    assert "both groups" in agent.refused("compare", first="label = 0", second="label < 2")


def test_sample_shows_small_pictures(agent, reading):
    (result,) = agent.results(("sample", {"ids": [reading.names[10], EVIL], "side": 16}))
    assert [part.type for part in result.content] == ["text", "image", "text"]
    image = Image.open(io.BytesIO(base64.b64decode(result.content[1].data)))
    assert result.content[1].mime_type == "image/png" and max(image.size) <= 16
    assert json.loads(result.content[2].text) == {"id": EVIL, "picture": None}
    (first,), (again,) = (agent.results(("sample", {"where": "label = 1", "n": 3, "seed": 7})) for _ in "ab")
    assert first.content == again.content
    drawn = {json.loads(part.text)["id"] for part in first.content if part.type == "text"}
    assert len(drawn) == 3 and drawn <= {reading.names[row] for row in reading.where("label = 1")}


HOSTILE = [
    ("where", {"condition": "1 = 1; DROP TABLE x"}),
    ("where", {"condition": "id = '' OR (SELECT 1)"}),
    ("where", {"condition": "x" * 100_000}),
    ("where", {"condition": "(" * 5_000 + "1 = 1"}),
    ("where", {"condition": "label = 1", "columns": ["vector"]}),
    ("where", {"condition": "label = 1", "columns": ["id`; DROP"]}),
    ("where", {"condition": "label = 1", "limit": 10**12}),
    ("where", {"condition": "label = 1", "offset": -1}),
    ("where", {"condition": "label = 1", "offset": 10**30}),
    ("search", {"id": "x' OR '1'='1"}),
    ("search", {"id": "two\nlines\x00\x1b[31m"}),
    ("search", {"id": "/etc/passwd"}),
    ("search", {"id": EVIL, "text": "a"}),
    ("search", {}),
    ("search", {"id": EVIL, "k": 10**15}),
    ("search", {"id": EVIL, "k": 0}),
    ("search", {"id": EVIL, "where": "id IN (SELECT id)"}),
    ("search", {"id": EVIL, "wher": "1 = 1"}),
    ("search", {"text": "x" * 5_000}),
    ("search", {"text": ""}),
    ("search", {"picture": "/etc/passwd"}),
    ("search", {"picture": "../run/config.yaml"}),
    ("search", {"picture": "."}),
    ("search", {"picture": "a\x00b"}),
    ("search", {"picture": "x" * 10_000}),
    ("search", {"picture": "outside.png"}),
    ("search", {"picture": "text.png"}),
    ("search", {"picture": "pipe.png"}),
    ("neighbours", {"ids": []}),
    ("neighbours", {"ids": [EVIL] * 21}),
    ("neighbours", {"ids": [EVIL, EVIL], "k": 101}),
    ("neighbours", {"ids": "' OR 1=1 --"}),
    ("duplicates", {"by": "everything"}),
    ("duplicates", {"by": "cosine", "threshold": 10**400}),
    ("duplicates", {"by": "cosine", "threshold": -1}),
    ("duplicates", {"limit": 0}),
    ("clusters", {"k": 10**9}),
    ("clusters", {"k": 0}),
    ("clusters", {"examples": 10**9}),
    ("compare", {"first": "label = 0", "second": "label = 0"}),
    ("compare", {"first": "label = 99"}),
    ("compare", {"first": ["label = 0"]}),
    ("sample", {"n": 10**9}),
    ("sample", {"side": 10**9}),
    ("sample", {"seed": -1}),
    ("sample", {"ids": [EVIL], "where": "label = 0"}),
    ("sample", {"ids": ["\u202e", "x"]}),
    ("describe", {"path": "/etc"}),
    ("delete", {"rows": 1, "ids": [EVIL]}),
    ("tag", {"column": "camera", "tag": "x", "where": "label = 0"}),
    ("__init__", {}),
    ("_look_at", {"path": "x"}),
    ("store", {}),
]


def test_without_write_hostile_questions_get_one_line_and_nothing_changes(store, filled, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "outside.png").symlink_to(next((filled / "photos").rglob("*.png")))
    (pictures / "text.png").write_text("#!/bin/sh")
    os.mkfifo(pictures / "pipe.png")
    before, version = everything(tmp_path), store.version
    agent = Agent(ReadingTools(store, pictures=pictures))
    for (name, arguments), result in zip(HOSTILE, agent.results(*HOSTILE), strict=True):
        line = result.content[0].text
        assert result.is_error and len(result.content) == 1, (name, arguments)
        assert line and line.isprintable() and len(line) <= 600, (name, line[:600])
        assert "root:" not in line and "failed" not in line and "Traceback" not in line, (name, line)
    friendly = [
        ("describe", {}), ("where", {"condition": "label = 0"}), ("search", {"id": EVIL}),
        ("search", {"text": "onerror"}), ("neighbours", {"ids": [EVIL]}), ("duplicates", {}),
        ("clusters", {}), ("compare", {"first": "label = 0"}), ("sample", {}),
    ]  # fmt: skip
    assert [result.is_error for result in agent.results(*friendly)] == [False] * len(friendly)
    assert {name for name, _ in friendly} == set(READING)
    assert everything(tmp_path) == before and Store.open(store.path).version == version


def test_pictures_are_looked_for_only_where_a_folder_was_given(store):
    assert "no pictures" in Agent(ReadingTools(store)).refused("search", picture="a.png")


def test_tag_writes_a_column_and_refuses_what_is_no_tag(store):
    agent, rows = Agent(WritingTools(store)), len(store.where("label = 1"))
    assert f"{rows} samples" in agent("tag", column="note", tag="look", where="label = 1")["done"]
    now = Store.open(store.path)
    assert len(now.where("note = 'look'")) == rows
    assert agent("where", condition="note = 'look'")["total"] == rows  # it sees its own change
    for arguments in (
        {"column": "id", "tag": "x", "ids": [EVIL]},
        {"column": "light", "tag": "x", "ids": [EVIL]},
        {"column": "a`; DROP", "tag": "x", "ids": [EVIL]},
        {"column": "note", "tag": "x" * 61, "ids": [EVIL]},
        {"column": "note", "tag": "a\x00b", "ids": [EVIL]},
        {"column": "note", "tag": "x", "ids": ["nobody"]},
        {"column": "note", "tag": "x", "ids": [EVIL], "where": "label = 1"},
        {"column": "note", "tag": "x"},
    ):
        agent.refused("tag", **arguments)
    assert Store.open(store.path).version == now.version


def test_delete_needs_the_right_number_and_takes_a_quarter_at_most(store):
    agent, n, version = Agent(WritingTools(store)), len(store), store.version
    assert "nothing was deleted" in agent.refused("delete", rows=2, ids=[EVIL])
    assert "quarter" in agent.refused("delete", rows=n, where="id IS NOT NULL")
    assert "No row" in agent.refused("delete", rows=0, where="id = 'nobody'")
    assert Store.open(store.path).version == version
    said = agent("delete", rows=1, ids=[EVIL, EVIL])
    assert said["deleted"] == 1 and said["left"] == n - 1 and said["version_before"] == version
    assert EVIL not in Store.open(store.path).names
    some = ", ".join(f"'{name}'" for name in store.names[: n // 4 - 1])
    assert agent("delete", rows=n // 4 - 1, where=f"id IN ({some})")["left"] == n - n // 4
    assert "quarter" in agent.refused("delete", rows=1, ids=["=1+1"])  # also by little and little
    assert Store.open(store.path, version=version).names[-3] == EVIL


def test_a_store_that_somebody_changes_is_seen_as_it_is(store):
    agent = Agent(ReadingTools(store))
    n = agent("describe")["rows"]
    agent("clusters", k=3)
    Store.open(store.path).delete(ids=[EVIL])
    assert agent("describe")["rows"] == n - 1
    assert sum(one["size"] for one in agent("clusters", k=3)["clusters"]) == n - 1
    assert "no row" in agent.refused("search", id=EVIL)


ASK = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
HEADERS = {
    "accept": "application/json, text/event-stream",
    "content-type": "application/json",
    "mcp-protocol-version": "2025-11-25",
}


def test_over_http_only_this_machine_is_answered(store):
    with TestClient(application(ReadingTools(store), 8123), base_url="http://127.0.0.1:8123") as client:
        assert len(client.post("/mcp", json=ASK, headers=HEADERS).json()["result"]["tools"]) == len(READING)
        for headers, status in (
            ({"host": "evil.example"}, 403),  # a name that was made to point here
            ({"host": "127.0.0.1:9999"}, 403),
            ({"host": "127.0.0.1:8123.evil.example"}, 403),
            ({"origin": "http://evil.example"}, 403),
            ({"origin": "null"}, 403),
            ({"origin": "http://127.0.0.1:9999"}, 403),
            ({"origin": "https://127.0.0.1:8123"}, 403),
            ({"sec-fetch-site": "cross-site"}, 403),
            ({"sec-fetch-site": "same-site"}, 403),
            ({"content-type": "text/plain"}, 400),
        ):
            answer = client.post("/mcp", content=json.dumps(ASK), headers={**HEADERS, **headers})
            assert answer.status_code == status, headers
            assert not {"access-control-allow-origin"} & set(answer.headers)
        assert client.post("/mcp", content=b"x" * 300_000, headers=HEADERS).status_code == 413
        assert client.get("/mcp", headers=HEADERS).status_code == 405  # an image of another page, say
        assert client.options("/mcp", headers=HEADERS).status_code == 405
        for path in ("/", "/mcp/", "/mcp/../x", "/studio/state", "//mcp"):
            assert client.post(path, json=ASK, headers=HEADERS).status_code in (404, 405)
        own = {**HEADERS, "origin": "http://127.0.0.1:8123"}
        assert client.post("/mcp", json=ASK, headers=own).status_code == 200


def test_over_stdio_a_program_is_answered(store):
    words = ["-m", "vergence.cli", "mcp", str(store.path)]

    async def talk():
        command = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
        async with Client(command) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            return tools, (await client.call_tool("describe", {})).structured_content

    tools, said = asyncio.run(asyncio.wait_for(talk(), 60))
    assert tuple(tools) == READING and said["rows"] == len(store)


def test_it_says_where_it_listens_and_ends_at_ctrl_c(store):
    words = [sys.executable, "-m", "vergence.cli", "mcp", str(store.path), "--port", "0", "--json"]
    running = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        said = json.loads("".join(iter(running.stdout.readline, "}\n")) + "}")
        assert said["url"].startswith("http://127.0.0.1:") and said["write"] is False

        async def talk():
            async with Client(said["url"]) as client:
                return (await client.call_tool("describe", {})).structured_content["rows"]

        assert asyncio.run(asyncio.wait_for(talk(), 60)) == len(store)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 128 + signal.SIGINT and out == ""
    assert err.splitlines()[-1] == "Stopped."


def test_mistakes_are_one_line(store, tmp_path, capsys, monkeypatch):
    path = str(store.path)
    for words, line in (
        (["nowhere.lance"], "no store"),
        ([path, "--port", "70000"], "65535"),
        ([path, "--column", "vectr"], "did you mean 'vector'"),
        ([path, "--pictures", str(tmp_path / "none")], "is not a folder"),
    ):
        assert main(["mcp", *words]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and line in said
    monkeypatch.setitem(sys.modules, "mcp.server", None)
    assert main(["mcp", path]) == 2
    assert install_command("mcp") in capsys.readouterr().err


def test_rows_without_a_vector_have_no_neighbours_and_no_cluster(store):
    store.add_vectors("other", np.random.default_rng(0).standard_normal((20, 4)), ids=store.names[:20])
    agent = Agent(ReadingTools(store, column="other"))
    assert sum(one["size"] for one in agent("clusters", k=2)["clusters"]) == 20
    assert "no other" in agent.refused("search", id=EVIL)
    assert len(agent("search", id=store.names[0], k=50)["rows"]) == 19


def test_the_first_answers_load_nothing_heavy(store):
    code = """
import sys
from vergence.mcp.server import server
from vergence.mcp.tools import ReadingTools
from vergence.store.table import Store
tools = ReadingTools(Store.open(sys.argv[1]))
server(tools)
tools.describe(), tools.search(text="p")
name = tools.where("TRUE")["rows"][0]["id"]
assert len(tools.search(id=name, where="label = 1")["rows"]) == 10
tools.neighbours([name])
print(*{"torch", "sklearn", "scipy"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(store.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


def test_an_index_answers_as_the_library_does(store):
    store.index()
    agent, name = Agent(ReadingTools(store)), store.names[10]
    said = agent("search", id=name, k=5)["rows"]
    assert [row["id"] for row in said] == search(store, store.find(name), k=5).ids[0]

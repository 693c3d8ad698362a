"""The code in docs/videos.md runs, from the page's own text."""

import json
import re
import shlex
from pathlib import Path

import pytest

import vergence
from numbered_videos import write
from vergence.cli import main

pytest.importorskip("av", reason="needs the extra video")

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "videos.md").read_text()


def test_the_lines_of_the_page_run_in_their_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("cats/a", "cats/b", "dogs/c", "dogs/d"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "videos" / f"{name}.mp4", 130, options={"preset": "ultrafast", "g": "25"})
    write(tmp_path / "other.mp4", 130, options={"preset": "ultrafast", "g": "25"})
    names = {}
    for language, code in re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.DOTALL):
        if language == "python":
            exec(code, names)
            continue
        for line in code.splitlines():
            program, *words = shlex.split(line.replace("--epochs 40", "--epochs 1"))
            assert program == "vergence" and main(words) == 0, line
    assert (tmp_path / "runs" / "videos" / "report.html").is_file()
    assert len(vergence.open("videos/", seconds=1)) == 20
    capsys.readouterr()
    assert main(["search", "videos.lance", "other.mp4", "--k", "2", "--json"]) == 0
    queries = json.loads(capsys.readouterr().out)["queries"]
    assert [query["id"] for query in queries] == ["other.mp4#t=0,2", "other.mp4#t=2,4"]
    assert [len(query["hits"]) for query in queries] == [2, 2]
    assert (tmp_path / "found.html").read_text().count("Asked for") == 2

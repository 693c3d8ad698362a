from __future__ import annotations

import json
import os
import subprocess
import sys

from vergence.cli import catalog as module
from vergence.cli import main


def test_json_lists_every_row_with_its_status(capsys):
    assert main(["papers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len([row for row in rows if row["number"]]) == 203
    assert {row["status"] for row in rows} == {"in", "planned", "reference"}


def test_a_family_alone_is_listed_and_counted(capsys):
    main(["papers", "--family", "volume"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["lvmmed", "alice", "jointssl", "mrm", "globallocalcl"]
    assert lines[-1].startswith("5 papers")


def test_a_run_of_record_stands_beside_its_paper(capsys, monkeypatch, tmp_path):
    result = {"arms": {"paper": {"mean": 0.633}}, "untrained": {"mean": 0.41}}
    (tmp_path / "alice.json").write_text(json.dumps(result))
    monkeypatch.setattr(module, "PUBLISHED", tmp_path)
    main(["papers", "--family", "volume"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("alice"))
    assert "63.3 (untrained 41.0)" in line


def test_papers_and_help_start_within_half_a_second_of_work():
    for words in (["papers"], ["--help"]):
        took = []
        for _ in range(5):
            before = os.times()
            program = "import sys; from vergence.cli import main; sys.exit(main())"
            subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=True)
            took.append(sum(os.times()[2:4]) - sum(before[2:4]))  # of the children
        assert min(took) < 0.5

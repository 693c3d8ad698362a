from __future__ import annotations

import json
import os
import subprocess
import sys

from vergence.benchmarks import published as module_of_results
from vergence.catalog import papers
from vergence.cli import catalog as module
from vergence.cli import main


def test_json_lists_every_row_with_its_status(capsys):
    assert main(["papers", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert len([row for row in rows if row["number"]]) == 203
    assert all(row["status"] == ("available" if row["code"] else "planned") for row in rows)


def test_a_family_alone_is_listed_and_counted(capsys):
    main(["papers", "--family", "volume"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:6]] == ["lvmmed", "alice", "jointssl", "mrm", "globallocalcl"]
    assert lines[-1].startswith("5 papers")


def test_what_is_available_comes_first_and_planned_papers_are_named_so(capsys):
    main(["papers", "--family", "image"])
    rows = [tuple(line.split()[:2]) for line in capsys.readouterr().out.splitlines()[1:-2]]
    has_code = {paper.key: bool(paper.code) for paper in papers("image")}
    assert dict(rows) == {key: "available" if code else "planned" for key, code in has_code.items()}
    order = [has_code[key] for key, _ in rows]
    assert order == sorted(order, reverse=True)


def test_a_run_of_record_stands_beside_its_paper(capsys, monkeypatch, tmp_path):
    arms = {"arms": {"paper": {"mean": 0.633}}, "untrained": {"mean": 0.41}}
    (tmp_path / "alice.json").write_text(json.dumps({"source": "brain", **arms}))
    monkeypatch.setattr(module_of_results, "PUBLISHED", tmp_path)
    main(["papers", "--family", "volume"])
    head, *lines = capsys.readouterr().out.splitlines()
    line = next(line for line in lines if line.startswith("alice"))
    assert "brain 63.3 (untrained 41.0)" in line
    assert "real data" in head and "parity" not in head and "mechanism" not in head


MECHANISM = {
    "less_is_better": False,
    "margins": {
        "far": {"mean": 0.3, "low": 0.2, "high": 0.4},
        "near": {"mean": 0.042, "low": 0.021, "high": 0.06},
    },
}


def test_three_marks_stand_beside_a_paper_each_with_its_number(capsys, monkeypatch, tmp_path):
    arms = {"arms": {"paper": {"mean": 0.58}}, "untrained": None}
    result = {
        "source": "generated",
        **arms,
        "parity": {"kind": "official", "max_abs": 1e-3, "max_rel": 3e-7},
        "mechanism": MECHANISM,
        "also": [{"source": "planetoid:planetoid/cora", **arms, "less_is_better": True, "metric": "error"}],
    }
    (tmp_path / "alice.json").write_text(json.dumps(result))
    monkeypatch.setattr(module_of_results, "PUBLISHED", tmp_path)
    main(["papers", "--family", "volume"])
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("alice"))
    assert "3e-07" in line and "+4.2 [2.1, 6.0]" in line and "cora 0.58" in line
    main(["papers", "--family", "volume", "--json"])
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["alice"]["parity"] == result["parity"] and rows["alice"]["mechanism"] == MECHANISM
    assert rows["alice"]["real_data"] == {
        "source": "planetoid:planetoid/cora",
        "metric": "error",
        "less_is_better": True,
        **arms,
    }
    assert [rows["mrm"][name] for name in ("parity", "mechanism", "real_data")] == [None] * 3


def test_marks_are_empty_where_there_is_nothing_and_for_results_of_before():
    empty = {"parity": "", "mechanism": "", "real data": ""}
    assert module.marks(None) == empty == module.marks({"mechanism": None})
    assert module.marks({"source": "generated", "arms": {"paper": {"mean": 0.5}}, "untrained": None}) == empty
    error = {"less_is_better": True, "margins": {"near": {"mean": 0.042, "low": -0.021, "high": 0.06}}}
    assert module.marks({"mechanism": error, "parity": {"max_abs": 2e-9}}) == {
        "parity": "2e-09",
        "mechanism": "+0.042 [-0.021, 0.06]",
        "real data": "",
    }


def test_papers_and_help_start_within_half_a_second_of_work():
    for words in (["papers"], ["--help"]):
        took = []
        for _ in range(5):
            before = os.times()
            program = "import sys; from vergence.cli import main; sys.exit(main())"
            subprocess.run([sys.executable, "-c", program, *words], capture_output=True, check=True)
            took.append(sum(os.times()[2:4]) - sum(before[2:4]))  # of the children
        assert min(took) < 0.5

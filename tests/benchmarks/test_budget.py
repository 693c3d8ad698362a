import json

from vergence.benchmarks import budget
from vergence.benchmarks.runner import bench
from vergence.cli import main


def test_every_record_is_listed_once_with_what_it_took(tmp_path):
    (tmp_path / "rotnet.json").write_text(
        json.dumps(
            {"seconds": 90, "date": "2026-01-02", "mechanism": {"seconds": 30.0, "date": "2026-03-04"}}
        )
    )
    listed = {entry.key: entry for entry in budget.entries(tmp_path)}
    assert list(listed) == ["rotnet", *sorted(set(budget.keys()) - {"rotnet"})]
    assert listed["rotnet"] == budget.Entry("rotnet", 120.0, "2026-03-04", "unknown")
    assert listed["grace"].state == "missing"


def test_a_result_is_current_until_its_own_code_changes(tmp_path, monkeypatch):
    (tmp_path / "byol.json").write_text(json.dumps({"seconds": 1, "code": {"data": budget.code_of("byol")}}))

    def state():
        return next(entry.state for entry in budget.entries(tmp_path) if entry.key == "byol")

    assert state() == "current"
    original = budget._file  # noqa: SLF001
    for module, expected in (("methods.pairs.byol", "changed"), ("losses.predict", "changed"),
                             ("methods.graph.grace", "current"), ("engine.loop", "current")):  # fmt: skip
        other = tmp_path / "other.py"
        other.write_bytes(original(module).read_bytes() + b"\n# changed\n")
        monkeypatch.setattr(
            budget, "_file", lambda m, module=module, other=other: other if m == module else original(m)
        )
        assert state() == expected, module


def test_every_part_of_a_result_has_the_code_that_it_was_run_with(tmp_path):
    now = budget.code_of("byol")
    parts = {"parity": {}, "mechanism": {}, "seconds": 1}
    for code, expected in (
        ({"parity": now, "mechanism": now, "data": now}, "current"),
        ({"parity": now, "mechanism": "before", "data": now}, "changed"),
        ({"parity": now, "mechanism": now}, "unknown"),
        ({"mechanism": "before"}, "changed"),
        ({}, "unknown"),
    ):
        (tmp_path / "byol.json").write_text(json.dumps({**parts, "code": code}))
        assert {e.key: e.state for e in budget.entries(tmp_path)}["byol"] == expected, code


def test_a_part_that_is_repeated_brings_its_code_and_leaves_the_others(tmp_path):
    path = tmp_path / "npid.json"
    path.write_text(json.dumps({"seconds": 1, "code": {"data": "before"}}))
    bench("npid", only="parity", out=path, quiet=True)
    assert json.loads(path.read_text())["code"] == {"data": "before", "parity": budget.code_of("npid")}


def test_the_command_lists_and_refuses_what_it_cannot_do(capsys):
    main(["bench", "--all", "--list", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert {"key", "seconds", "date", "state"} == set(listed[0]) and len(listed) == len(budget.keys())
    for argv, line in (
        (["bench", "--changed"], "Unknown option --changed"),
        (["bench", "rotnet", "--all"], "rotnet"),
    ):
        assert main(argv) == 2 and line in capsys.readouterr().err

"""Mistakes are answered in one line, with the nearest right word, and exit code 2."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest

from vergence import catalog
from vergence.cli import main as cli_main
from vergence.cli.main import COMMANDS
from vergence.core.errors import Interrupted

MISTAKES = {
    "papres": "Unknown command 'papres'; did you mean 'papers'",
    "--versoin": "Unknown option '--versoin'; did you mean '--version'?",
    "papers --famly graph": "Unknown option --famly; did you mean --family?",
    "papers --family grpah": "Unknown family 'grpah'; did you mean 'graph'?",
    "papers --family": "--family needs a value",
    "papers graph": "'graph' is one word too many",
    "learn": "METHOD is missing",
    "learn simcrl digits": "did you mean 'simclr' or",
    "learn autoclip digits": "is planned: there is no code for it yet",
    "learn autoclip --help": "is planned: there is no code for it yet",
    "learn hkmeans digits": "is not something to train; it lives in vergence.use.hkmeans",
    "learn autoclp digits": "list them with: vergence learn --help",
    "learn grace digits": "'grace' learns from graphs, but digits holds images",
    "learn simclr": "SOURCE is missing",
    "learn simclr digits --temprature 1": "Unknown option --temprature; did you mean --temperature?",
    "learn simclr digits --batch-sise 9": "did you mean --batch-size?",
    "learn simclr digits --epochs ten": "--epochs needs a whole number; got 'ten'.",
    "learn simclr digits --optimizer sgdd": "--optimizer needs sgd, lars, adam or adamw; got 'sgdd'.",
    "learn simclr digits --views 3": "--views needs names with values",
    "learn simclr no/such/folder": "no/such/folder",
    "learn simclr digits --encoder resnet-tyni --out {tmp}/r": "resnet-tiny",
    "learn --config no.yaml": "--config no.yaml: no such file or directory.",
    "learn --resume no/run": "no/run",
    "embed no/run digits": "no/run",
    "measure no/run": "SOURCE is missing",
    "search": "STORE and QUERY are missing",
    "search no.lance 7": "There is no store at no.lance",
    "search no.lance 7 --k many": "--k needs a whole number above 0; got 'many'.",
    "search no.lance 7 --metric cosin": "--metric needs cosine, dot or euclidean",
    "duplicates no.lance --treshold 1": "did you mean --threshold?",
    "clusters no.lance --k 0": "--k needs a whole number above 0; got '0'.",
    "demo --epochs 0": "--epochs needs a whole number above 0; got '0'.",
    "clusters no.lance --k": "--k needs a value",
    "compare a b": "compare needs --run RUN",
    "explain no/run a.jpg": "SECOND is missing",
    "track": "VIDEO is missing",
    "report": "RUN is missing",
    "bench simcrl": "Unknown run of record 'simcrl'; did you mean 'simclr' or",
    "demo --data no/such/folder": "no/such/folder",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line_that_says_what_to_do(words, capsys, tmp_path):
    assert cli_main(words.format(tmp=tmp_path).split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert MISTAKES[words] in err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command, capsys):
    assert cli_main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"vergence {command}" in out.partition("example:")[2]
    assert "--json" in out


def _failing(monkeypatch, error: BaseException) -> int:
    def command(argv: list[str]) -> None:
        raise error

    monkeypatch.setattr("vergence.cli.catalog.papers", command)
    return cli_main(["papers"])


def test_a_fault_of_the_program_is_one_line_and_its_traceback_is_a_variable_away(monkeypatch, capsys):
    assert _failing(monkeypatch, RuntimeError("two\nlines")) == 1
    err = capsys.readouterr().err
    assert "RuntimeError: two lines" in err and "VERGENCE_DEBUG=1" in err and err.count("\n") == 1
    monkeypatch.setenv("VERGENCE_DEBUG", "1")
    with pytest.raises(RuntimeError):
        _failing(monkeypatch, RuntimeError("two\nlines"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (KeyboardInterrupt(), 130),
        (Interrupted("Stopped by SIGINT at step 3 of 9; saved."), 130),
        (Interrupted("Stopped by SIGTERM at step 3 of 9; saved."), 143),
    ],
)
def test_being_stopped_has_the_exit_code_of_its_signal(monkeypatch, capsys, error, code):
    assert _failing(monkeypatch, error) == code
    assert capsys.readouterr().err.startswith("Stopped")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_real_signal_stops_a_command_without_a_traceback(number, code):
    program = (
        "import os, signal, sys; import vergence.cli.catalog as p; from vergence.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        f"p.papers = lambda argv: os.kill(os.getpid(), {int(number)})\n"
        "sys.exit(main(['papers']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "Stopped.\n")


def test_a_reader_that_leaves_early_is_no_fault():
    done = subprocess.run(
        f"{sys.executable} -c 'import sys; from vergence.cli import main; sys.exit(main())' papers | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith("key") and done.stderr == ""


@pytest.mark.parametrize("key", [p.key for p in catalog.PAPERS if p.code and p.kind == "learner"])
def test_every_method_says_what_it_learns_from(key, capsys):
    assert cli_main(["learn", key, "--help"]) == 0
    assert f"vergence learn {key} " in capsys.readouterr().out


def test_help_of_learn_groups_the_methods_by_data_and_recommends_one_of_each(capsys):
    assert cli_main(["learn", "--help"]) == 0
    text = capsys.readouterr().out
    blocks = {block.splitlines()[0]: block for block in text.split("\n\n")}
    for noun, recommended, other in (
        ("images", "vergence learn simclr photos/", "rotnet"),
        ("graphs", "vergence learn grace planetoid:data/cora", "node2vec"),
        ("event sequences", "vergence learn coles events.parquet --id user --time ts", "mlem"),
        ("tables", "vergence learn vicreg 'table:people.csv?label=sick'", "tldr"),
    ):
        assert recommended in blocks[noun] and other in blocks[noun]
    listed = set(re.sub("[,;]", " ", text).split())
    trained = {paper.key for paper in catalog.PAPERS if paper.trained}
    assert trained <= listed and not {p.key for p in catalog.PAPERS if not p.code} & listed


@pytest.mark.parametrize(
    "words", [*[[command] for command in COMMANDS], ["learn", "simclr"], ["learn", "grace"]]
)
def test_help_has_no_paragraph_of_hundreds_of_characters_nor_a_template(words, capsys):
    assert cli_main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    entries = re.split(r"\n\n|\n  (?=\S)", text)
    methods = ("METHOD ", "METHOD\n")  # as many as there are
    messages = [" ".join(entry.split()) for entry in entries if not entry.startswith(methods)]
    assert max(map(len, messages)) < 300
    assert "{key}" not in text


def test_what_is_not_there_is_said_before_anything_heavy_is_loaded(tmp_path):
    script = (
        "import sys\n"
        "from vergence.cli import main\n"
        "for words in sys.argv[1:]:\n"
        "    print(main(words.split()), 'torch' in sys.modules)\n"
    )
    commands = [
        *("learn simclr nope/", "learn autoclip nope/", "learn simcrl nope/", "learn --resume nope"),
        *("embed nope digits", "embed timm:resnet18 nope/", "measure nope digits", "report nope"),
    ]
    done = subprocess.run(
        [sys.executable, "-c", script, *commands], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["2 False"] * len(commands)
    assert done.stderr.count("\n") == len(commands) and done.stderr.count("nope") >= len(commands) - 2

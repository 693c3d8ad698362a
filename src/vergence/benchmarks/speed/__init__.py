"""How fast vergence works beside its peers, measured in the same run.

One module a subject: ``views.py``, ``photos.py`` ... To add one, write a module here with a function

    def contests(quick: bool) -> Iterator[Contest]

and ``vergence bench speed --only NAME`` finds it by its file's name. It yields a ``Contest`` for each
comparison; ``quick`` asks for as little work as still runs every contestant, for tests. The module's
docstring says in a sentence what is compared; it is printed over the table. A contest names what is
done, how much of it one round does and in which unit, and its contestants, ours first. A contestant
is a name and ``prepare``, a function that does what is not timed (load, build, compile, start workers)
and returns the round: a function without arguments that does the work once and has finished it when
it returns (on a GPU, after ``synchronize()``). A round may return further numbers of itself by name,
such as ``{"peak_mb": 812.0}``; their median is kept. One that has parts which do not count, such as
setting up a run, times itself and returns ``seconds`` and ``cpu``. All rounds are seeded by their own
code, and no contestant may change global settings, such as the number of threads, without putting
them back. ::

    def contests(quick: bool) -> Iterator[Contest]:
        rows = 256 if quick else 8192
        yield Contest(
            name="nt-xent",
            what=f"NT-Xent of 2 x {rows:,} rows of 128, forward and backward",
            amount=2 * rows,
            unit="rows",
            contestants=(
                Contestant("vergence", lambda: partial(_ours, rows)),
                Contestant("dense", lambda: partial(_dense, rows), bar=3.0),
                Contestant("lightly", lambda: partial(_lightly, rows), needs=("lightly",)),
            ),
            least=1e5,
        )

``yield`` inside ``with tempfile.TemporaryDirectory()`` keeps a folder for as long as the contest runs.
"""

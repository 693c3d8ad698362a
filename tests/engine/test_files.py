"""Files are whole, and may be read by whom the user's umask lets."""

import os
import stat

import pytest
import torch
from safetensors.torch import save_file

from vergence.engine.files import write_text, write_whole


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_weights_get_the_mode_that_other_files_get(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "w.safetensors", lambda aside: save_file({"w": torch.zeros(2)}, aside))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == mode


def test_a_failed_write_leaves_the_old_content_and_nothing_beside_it(tmp_path):
    path = tmp_path / "text"
    path.write_text("old")

    def fail(aside):
        aside.write_text("half")
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError):
        write_whole(path, fail)
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["text"]


def test_text_is_written_in_utf8_and_what_that_cannot_hold_is_escaped(tmp_path):
    write_text(tmp_path / "page.html", "café, " + os.fsdecode(b"caf\xe9"))
    assert (tmp_path / "page.html").read_bytes() == "café, ".encode() + rb"caf\udce9"

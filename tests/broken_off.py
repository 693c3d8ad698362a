"""A run that is broken off and gone on with, beside one that was not."""

import pytest
import torch

from vergence.engine.files import load_checkpoint
from vergence.engine.fitting import fit


def assert_goes_on_to_the_same(whole, estimator, source, config, out, monkeypatch, place, here, stages):
    """Hold a run that is broken off at ``place`` and gone on with to ``whole``, bit for bit.

    Args:
        whole: The run that was not broken off.
        estimator: What fits.
        source: What it fits.
        config: Of both runs.
        out: Folder of the one that is broken off.
        monkeypatch: Of the test.
        place: Class and name of the method in which it breaks off.
        here: (self) -> whether this is the call.
        stages: Names of those whose ends are compared.
    """
    cls, name = place
    goes_on = getattr(cls, name)

    def stop(self, *args):
        if here(self):
            raise KeyboardInterrupt
        return goes_on(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(cls, name, stop)
        with pytest.raises(KeyboardInterrupt):
            fit(estimator, source, config, out=out, quiet=True)
    torch.manual_seed(99)
    again = fit(estimator, source, config, out=out, resume=True, quiet=True)
    first, second = ((run.path / "encoder.safetensors").read_bytes() for run in (whole, again))
    assert first == second and whole.config.encoder == again.config.encoder
    for stage in stages:
        one, other = (
            load_checkpoint(run.path / "checkpoint" / f"{stage}.pt")["method"] for run in (whole, again)
        )
        assert [key for key in one if not torch.equal(one[key], other[key])] == []

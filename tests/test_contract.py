"""The contract, asked of every method of the catalog; ``contract.py`` says what it is."""

import dataclasses

import numpy as np
import pytest
import torch

import contract
from two_processes import assert_same, in_two_processes, learn_a_little, variants
from vergence.catalog import PAPERS
from vergence.core import Estimator
from vergence.engine.devices import make_fabric
from vergence.methods.pairs.vicreg import VICReg
from vergence.methods.tables.views import Corrupted

CASES = contract.cases()
ASKED = [
    pytest.param(case, check, id=f"{name}-{case}")
    for case in CASES
    for name, check in contract.checks(case).items()
    if not case.exempt(name)
]
PAIRS = [(case, variant) for case in CASES for variant in variants(case)]


def test_every_method_that_is_in_is_asked_and_every_exemption_has_a_reason():
    classes = {p.key: cls for p in PAPERS if (cls := contract.class_of(p)) is not None}
    assert {case.key for case in CASES} == set(classes)
    assert len(classes) >= 40
    for key in classes:
        own = [case for case in CASES if case.key == key]
        known = {*contract.checks(own[0]), "labels", "two"}
        names = known | {f"{name} {case.data}" for name in known for case in own}
        reasons = contract.contract_of(key).get("exempt", {})
        assert reasons.keys() <= names, key
        assert all(len(reason) > 20 for reason in reasons.values()), key
    learners = sum(not issubclass(case.cls, Estimator) for case in CASES)
    assert len(ASKED) >= 0.9 * (5 * learners + 2 * (len(CASES) - learners))
    assert len(PAIRS) >= 18


@pytest.mark.parametrize(("case", "check"), ASKED)
def test_contract(case, check, tmp_path):
    check(case, tmp_path)


@pytest.fixture(scope="module")
def two(tmp_path_factory, request):
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if hasattr(request.config, "workerinput") else folder
    return in_two_processes(PAIRS, shared)


@pytest.mark.parametrize(
    "number", range(len(PAIRS)), ids=["-".join(filter(None, map(str, p))) for p in PAIRS]
)
def test_two_processes_give_the_numbers_of_one(number, two):
    one = learn_a_little(*PAIRS[number], make_fabric("fp32", devices=1))
    for result in two:
        assert_same(result[number], one)
    first, second = (result[number] for result in two)
    assert [name for name in first if "then " in name and not torch.equal(first[name], second[name])] == []


def detached(self, views, loss=VICReg.loss):
    return {name: value.detach().requires_grad_() for name, value in loss(self, views).items()}


def among_others(self, batch, embed=VICReg.embed):
    vectors = embed(self, batch)
    return vectors - vectors.mean(0)


def unseeded(self, batch, generator=None, corrupted=Corrupted.__call__):
    generator = torch.Generator()
    generator.seed()
    return corrupted(self, batch, generator)


def forgetful(self, views, loss=VICReg.loss):
    self.steps = getattr(self, "steps", 0) + 1
    return {name: value * self.steps for name, value in loss(self, views).items()}


def useless(self, views, loss=VICReg.loss):
    return {name: 0 * value for name, value in loss(self, views).items()}


@pytest.mark.parametrize(
    ("check", "cls", "name", "fault", "message"),
    [
        (contract.gradients, VICReg, "loss", detached, "encoder"),
        (contract.alone, VICReg, "embed", among_others, "not close"),
        (contract.resume, Corrupted, "__call__", unseeded, r"\['.*weight"),
        (contract.resume, VICReg, "loss", forgetful, r"\['.*weight"),
        (contract.learns, VICReg, "loss", useless, "accuracy"),
    ],
    ids=[
        "no gradient",
        "a batch that matters",
        "views without a seed",
        "a state that is lost",
        "nothing learned",
    ],
)
def test_the_contract_finds_a_fault(check, cls, name, fault, message, tmp_path, monkeypatch):
    monkeypatch.setattr(cls, name, fault)
    with pytest.raises(AssertionError, match=message):
        check(contract.Case("vicreg", "tables"), tmp_path)


class Shuffled(contract.Case):
    """A case whose labels say nothing."""

    def source(self):
        source = super().source()
        labels = np.random.default_rng(0).permutation(source.labels)
        return type(source)(dataclasses.replace(source.values, labels=labels), source.uri)


def test_the_contract_finds_that_nothing_was_learned_of_labels_that_say_nothing(tmp_path):
    with pytest.raises(AssertionError, match="accuracy"):
        contract.learns(Shuffled("vicreg", "tables"), tmp_path)


class ByLoss(contract.Case):
    """A case that labels are said not to judge."""

    def exempt(self, check):
        return "labels do not judge it" if check == "labels" else None


def test_the_contract_finds_by_the_loss_that_only_the_head_was_trained(tmp_path, monkeypatch):
    encode = VICReg.encode
    monkeypatch.setattr(VICReg, "encode", lambda self, views: encode(self, views).detach())
    with pytest.raises(AssertionError, match="loss"):
        contract.learns(ByLoss("vicreg", "tables"), tmp_path)

"""The contract, asked of every method of the catalog; ``contract.py`` says what it is."""

import os

import pytest
import torch
import torch.multiprocessing as mp
from lightning_fabric.plugins.environments.lightning import find_free_network_port

import contract
from two_processes import assert_same, take_steps
from vergence.catalog import PAPERS
from vergence.core import Estimator
from vergence.engine.devices import make_fabric

CASES = contract.cases()
ASKED = [
    pytest.param(case, check, id=f"{name}-{case}")
    for case in CASES
    for name, check in contract.checks(case).items()
    if not case.exempt(name)
]
PAIRS = [
    (case, variant)
    for case in CASES
    if contract.divided(case) and not case.exempt("two")
    for variant in case.asks.get("two", {"": {}})
]


def test_every_method_that_is_in_is_asked_and_every_exemption_has_a_reason():
    classes = {p.key: cls for p in PAPERS if (cls := contract.class_of(p)) is not None}
    assert {case.key for case in CASES} == set(classes) and len(classes) >= 41
    exempt = {key: contract.contract_of(key).get("exempt", {}) for key in classes}
    for key, reasons in exempt.items():
        known = {*contract.checks(next(c for c in CASES if c.key == key)), "two"}
        assert {name.partition(" ")[0] for name in reasons} <= known, key
        assert all(len(reason) > 20 for reason in reasons.values()), key
    learners = sum(not issubclass(case.cls, Estimator) for case in CASES)
    whole = 5 * learners + 2 * (len(CASES) - learners)
    assert len(ASKED) >= 0.85 * whole
    assert len(PAIRS) >= 18


@pytest.mark.parametrize(("case", "check"), ASKED)
def test_contract(case, check, tmp_path):
    check(case, tmp_path)


def learn_a_little(case, variant, fabric):
    """Return the losses and gradients of two steps, and what the method is then."""
    method, batches = contract.shares(case, variant, fabric.global_rank, fabric.world_size)
    return take_steps(method, batches, fabric)


def one_of_two(rank, port, out):
    os.environ.update(LOCAL_RANK=str(rank), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), NODE_RANK="0")
    torch.set_num_threads(1)
    fabric = make_fabric("fp32", devices=2, find_unused_parameters=True)
    torch.save([learn_a_little(*pair, fabric) for pair in PAIRS], out / f"{rank}.pt")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    out = tmp_path_factory.mktemp("two")
    mp.spawn(one_of_two, args=(find_free_network_port(), out), nprocs=2)
    return [torch.load(out / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=[f"{case}-{variant}" for case, variant in PAIRS])
def test_two_processes_give_the_numbers_of_one(number, two):
    one = learn_a_little(*PAIRS[number], make_fabric("fp32", devices=1))
    for found in two:
        assert_same(found[number], one)
    first, second = (found[number] for found in two)
    assert [what for what in first if "then " in what and not torch.equal(first[what], second[what])] == []

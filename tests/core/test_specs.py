"""Encoders by the place of their class: in vergence if a file names it, anywhere if a person does."""

import sys
import types

import pytest
import torch
from torch import nn

from vergence.core import BadInput
from vergence.core.specs import class_at, innermost, is_place, own_class, place_of, wrapping
from vergence.nets.descriptor import Descriptor


def test_a_class_is_found_by_its_place():
    assert place_of(Descriptor) == "vergence.nets.descriptor:Descriptor"
    assert class_at(place_of(Descriptor)) is Descriptor
    assert not any(
        is_place(name) for name in (None, "gcn", "timm:resnet18", "run:runs/a.b", "vergence:small")
    )


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (
            "torch.nn:Linear",
            "your own torch.nn:Linear: .*; a folder does not choose what code is loaded",
        ),
        ("vergencelike.nets:Net", "your own vergencelike.nets:Net: import vergencelike.nets first"),
        ("vergence.nets.nothing:Net", "There is no encoder at .* No module named 'vergence.nets.nothing'"),
        ("vergence.nets.descriptor:Nothing", "has no network of that name"),
        ("vergence.core.specs:class_at", "has no network of that name"),
        ("vergence.core.recipe:Recipe", "has no network of that name"),
        ("vergence.nets.heads:nn.Linear", "has no network of that name"),
    ],
)
def test_anything_else_is_one_line(place, line):
    with pytest.raises(BadInput, match=line):
        class_at(place)


def test_a_place_outside_is_not_even_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "elsewhere.nets", None)  # importing it would raise
    with pytest.raises(BadInput, match="import elsewhere.nets first"):
        class_at("elsewhere.nets:Net")


def test_a_module_of_the_users_own_is_no_way_to_what_it_imports(monkeypatch):
    module = types.ModuleType("elsewhere.nets")
    module.nn, module.Linear = torch.nn, torch.nn.Linear
    monkeypatch.setitem(sys.modules, "elsewhere.nets", module)
    for name in ("Linear", "nn.Linear"):
        with pytest.raises(BadInput, match="does not choose what code is loaded"):
            own_class(f"elsewhere.nets:{name}")
    net = type("Net", (torch.nn.Module,), {"__module__": "elsewhere.nets"})
    module.Net = net
    assert own_class("elsewhere.nets:Net") is net


def test_what_a_person_names_may_lie_anywhere(monkeypatch):
    module = types.ModuleType("elsewhere.nets")
    module.Net = type("Net", (nn.Module,), {})
    monkeypatch.setitem(sys.modules, "elsewhere", types.ModuleType("elsewhere"))
    monkeypatch.setitem(sys.modules, "elsewhere.nets", module)
    assert class_at("elsewhere.nets:Net", anywhere=True) is module.Net


def test_a_wrapper_names_itself_and_what_it_wraps():
    inner = nn.Identity()
    wrapper = nn.Sequential(inner)
    assert wrapping(wrapper, inner, dim=3) == {}, "what cannot be made again wraps into what cannot"
    inner.spec = {"name": "gcn", "in_dim": 4}
    wrapper.spec = wrapping(wrapper, inner, dim=3)
    assert wrapper.spec["name"].endswith(":Sequential") and wrapper.spec["encoder"] == inner.spec
    assert innermost(wrapping(nn.Sequential(wrapper), wrapper)) == inner.spec == innermost(inner.spec)

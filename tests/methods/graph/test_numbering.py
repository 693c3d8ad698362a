"""Whatever numbers the nodes of a graph have, a method gives them the same vectors."""

import pytest
import torch

import contract
from vergence.core import Method

CASES = [
    case
    for case in contract.cases()
    if (case.modality, case.kind) == ("graph", "")
    and issubclass(case.cls, Method)
    and "source" not in case.asks
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_embedding_does_not_depend_on_the_numbers_of_the_nodes(case):
    method, source = case.method().eval(), case.source()
    batch = source.whole_graph()
    turn = torch.randperm(len(source), generator=torch.Generator().manual_seed(0))
    place = torch.argsort(turn)
    other = batch.clone()
    other.x, other.edge_index = batch.x[turn], place[batch.edge_index]
    torch.testing.assert_close(method.embed(other), method.embed(batch)[turn], rtol=1e-4, atol=1e-5)


def test_every_method_on_one_graph_is_asked():
    assert len(CASES) >= 11

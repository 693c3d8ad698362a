import torch
from torch.nn.functional import cosine_similarity

from vergence.core import Features
from vergence.nets import PrototypeHead


def test_scores_are_cosines_with_the_prototypes():
    head, x = PrototypeHead(6, 5, hidden=16, bottleneck=4), torch.randn(3, 6)
    inside = head.project(x)
    wanted = torch.stack([cosine_similarity(inside, p[None], dim=1) for p in head.prototypes.weight], dim=1)
    torch.testing.assert_close(head(x), wanted, atol=1e-5, rtol=1e-4)
    assert head(x).abs().max() <= 1 + 1e-6


def test_length_of_a_prototype_does_not_matter():
    head, x = PrototypeHead(6, 5, hidden=16, bottleneck=4), torch.randn(3, 6)
    before = head(x)
    with torch.no_grad():
        head.prototypes.weight.mul_(torch.rand(5, 1) * 10 + 0.1)
    torch.testing.assert_close(head(x), before)


def test_gains_start_at_1_multiply_the_cosines_and_wait_with_the_prototypes():
    head, x = PrototypeHead(6, 5, hidden=16, bottleneck=4, gain=True), torch.randn(3, 6)
    before = head(x)
    assert before.abs().max() <= 1 + 1e-6
    gain = torch.tensor([1.0, 2.0, 0.5, 3.0, 1.0])
    with torch.no_grad():
        head.gain.copy_(gain[:, None])
    torch.testing.assert_close(head(x), before * gain)
    head(x).sum().backward()
    assert head.gain.grad.all()
    head.zero_grad()
    head.frozen = True
    torch.testing.assert_close(head(x), before * gain)
    head(x).sum().backward()
    assert not head.gain.grad.any() and not head.prototypes.weight.grad.any()


def test_tokens_features_and_vectors_give_the_same_rows():
    head, tokens = PrototypeHead(6, 5, hidden=16, bottleneck=4), torch.randn(2, 7, 6)
    torch.testing.assert_close(head(tokens)[1, 3], head(tokens[1, 3:4])[0])
    assert torch.equal(head(Features(pooled=tokens[:, 0])), head(tokens[:, 0]))


def test_layers_have_the_widths_of_the_paper_and_all_learn():
    head = PrototypeHead(384, 100)
    assert [tuple(p.shape) for p in head.parameters() if p.ndim == 2] == [
        (2048, 384), (2048, 2048), (256, 2048), (100, 256),
    ]  # fmt: skip
    head(torch.randn(4, 384))[:, 0].sum().backward()
    assert all(p.grad is not None for p in head.parameters())

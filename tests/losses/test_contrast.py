import math
from itertools import product

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy, normalize
from torch.utils._python_dispatch import TorchDispatchMode

from vergence.losses import contrast, info_nce, node_info_nce, nt_xent, queue_nce


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setitem(contrast.SCORES_AT_ONCE, "cpu", 40)
    monkeypatch.setitem(contrast.SIDE, "cpu", 7)


def dense_info_nce(queries, keys, temperature):
    scores = normalize(queries, dim=1) @ normalize(keys, dim=1).T / temperature
    return cross_entropy(scores, torch.arange(len(queries)))


def dense_nt_xent(first, second, temperature):
    rows = normalize(torch.cat([first, second]), dim=1)
    scores = (rows @ rows.T / temperature).fill_diagonal_(-torch.inf)
    return cross_entropy(scores, torch.arange(len(rows)).roll(len(first)))


def node_across(first, second, *, temperature):
    return node_info_nce(first, second, temperature=temperature, intra=False)


def dense_across(first, second, temperature):
    return (dense_info_nce(first, second, temperature) + dense_info_nce(second, first, temperature)) / 2


def test_info_nce_equals_the_formula_written_as_a_loop():
    queries, keys, temperature = torch.randn(4, 3), torch.randn(6, 3), 0.5
    total = 0.0
    for i, q in enumerate(queries):
        scores = [math.exp(cosine_similarity(q, k, dim=0).item() / temperature) for k in keys]
        total -= math.log(scores[i] / sum(scores))
    assert info_nce(queries, keys, temperature=temperature).item() == pytest.approx(total / 4)


def test_several_queries_may_own_one_key(small_blocks):
    queries, keys, own = torch.randn(20, 3, requires_grad=True), torch.randn(6, 3), torch.randint(6, (20,))
    scores = normalize(queries, dim=1) @ normalize(keys, dim=1).T / 0.5
    expected = cross_entropy(scores, own)
    result = info_nce(queries, keys, temperature=0.5, own=own)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(*(torch.autograd.grad(cost, queries)[0] for cost in (result, expected)))


def test_nt_xent_equals_the_formula_written_as_a_loop():
    first, second, temperature = torch.randn(3, 4), torch.randn(3, 4), 0.3
    everyone = [*first, *second]
    total = 0.0
    for i, asking in enumerate(everyone):
        scores = {
            j: math.exp(cosine_similarity(asking, other, dim=0).item() / temperature)
            for j, other in enumerate(everyone)
            if j != i
        }
        total -= math.log(scores[(i + 3) % 6] / sum(scores.values()))
    assert nt_xent(first, second, temperature=temperature).item() == pytest.approx(total / 6)


def test_node_info_nce_equals_the_formula_written_as_a_loop():
    u, v, temperature = torch.randn(4, 3), torch.randn(4, 3), 0.4

    def asks(views, i, intra):
        mine, other = views
        e = [math.exp(cosine_similarity(mine[i], x, dim=0).item() / temperature) for x in other]
        own = [math.exp(cosine_similarity(mine[i], x, dim=0).item() / temperature) for x in mine]
        return -math.log(e[i] / (sum(e) + intra * (sum(own) - own[i])))

    for intra in (True, False):
        wanted = sum(asks(views, i, intra) for views in ((u, v), (v, u)) for i in range(4)) / 8
        got = node_info_nce(u, v, temperature=temperature, intra=intra)
        assert got.item() == pytest.approx(wanted)


def test_values_by_hand():
    eye = torch.eye(2)
    assert info_nce(eye, eye, temperature=1.0).item() == pytest.approx(math.log(1 + math.exp(-1)))
    # Each vector sees its twin (e^1) and two orthogonal ones (e^0 each), never itself.
    assert nt_xent(eye, eye, temperature=1.0).item() == pytest.approx(math.log((math.e + 2) / math.e))
    same = torch.ones(5, 3)
    assert info_nce(same[:2], same, temperature=0.1).item() == pytest.approx(math.log(5))
    assert nt_xent(same, same, temperature=0.1).item() == pytest.approx(math.log(9))


def test_aligned_beats_random_and_random_beats_swapped():
    x = torch.randn(32, 16)
    for loss in (info_nce, nt_xent):
        aligned, random, opposed = (loss(x, y, temperature=0.5) for y in (x, torch.randn(32, 16), -x))
        assert aligned < random < opposed


@pytest.mark.parametrize("loss", [info_nce, nt_xent, node_info_nce, node_across])
def test_scale_of_a_row_and_order_of_the_samples_do_not_matter(loss):
    x, y = torch.randn(9, 4), torch.randn(9, 4)
    order, scale = torch.randperm(9), torch.rand(9, 1) * 10 + 0.1
    plain = loss(x, y, temperature=0.2)
    torch.testing.assert_close(loss(x[order], y[order], temperature=0.2), plain)
    torch.testing.assert_close(loss(x * scale, y / scale, temperature=0.2), plain)


def test_nt_xent_is_symmetric_in_the_views():
    x, y = torch.randn(9, 4), torch.randn(9, 4)
    torch.testing.assert_close(nt_xent(x, y, temperature=0.2), nt_xent(y, x, temperature=0.2))


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.035, 0.01, 0.005])
def test_blocks_give_the_loss_and_gradients_of_the_dense_formula(small_blocks, temperature):
    for ours, dense, (b, m) in [
        (info_nce, dense_info_nce, (50, 70)),
        (nt_xent, dense_nt_xent, (33, 33)),
        (node_info_nce, dense_nt_xent, (33, 33)),
        (node_across, dense_across, (33, 33)),
    ]:
        x, y = torch.randn(b, 16, requires_grad=True), torch.randn(m, 16, requires_grad=True)
        loss, wanted = ours(x, y, temperature=temperature), dense(x, y, temperature)
        torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-6)
        for got, grad in zip(
            torch.autograd.grad(3 * loss, (x, y)), torch.autograd.grad(3 * wanted, (x, y)), strict=True
        ):
            assert (got - grad).norm() <= 1e-5 * grad.norm()


@pytest.mark.parametrize("temperature", [0.5, 0.01])
@pytest.mark.parametrize("anchors", [None, 15, 9])
def test_decoupled_the_partner_is_not_among_what_it_is_chosen_from(small_blocks, temperature, anchors):
    views = [torch.randn(15, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    rows = normalize(torch.cat(views), dim=1)
    scores = rows @ rows.T / temperature
    costs = []
    for i in range(30):
        partner = (i + 15) % 30
        negatives = [scores[i, j] for j in range(30) if j not in (i, partner)]
        costs.append(torch.stack(negatives).logsumexp(0) - scores[i, partner])
    costs = torch.stack(costs).view(2, 15)
    expected = costs[:, : anchors or 15].mean()
    result = nt_xent(*views, temperature=temperature, anchors=anchors, decoupled=True)
    torch.testing.assert_close(result, expected)
    for ours, theirs in zip(*(torch.autograd.grad(cost, views) for cost in (result, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_decoupled_a_partner_that_is_found_is_drawn_on():
    result = torch.eye(4, requires_grad=True)
    apart = torch.eye(4) + 0.05 * torch.roll(torch.eye(4), 1, 1)
    pulls = []
    for decoupled in (False, True):
        (pull,) = torch.autograd.grad(nt_xent(result, apart, temperature=0.05, decoupled=decoupled), result)
        pulls.append(pull.norm().item())
    assert pulls[1] > 1000 * pulls[0]
    assert nt_xent(
        torch.ones(5, 2), torch.ones(5, 2), temperature=1.0, decoupled=True
    ).item() == pytest.approx(math.log(8))


@pytest.mark.parametrize("temperature", [1.0, 0.1, 0.01])
def test_gradients_are_those_of_finite_differences(small_blocks, monkeypatch, temperature):
    monkeypatch.setitem(contrast.SIDE, "cpu", 2)
    x, y = (torch.randn(n, 3, dtype=torch.float64, requires_grad=True) for n in (5, 8))
    assert torch.autograd.gradcheck(lambda a, b: node_across(a, b[:5], temperature=temperature), (x, y))
    assert torch.autograd.gradcheck(lambda q, k: info_nce(q, k, temperature=temperature), (x, y))
    assert torch.autograd.gradcheck(lambda a, b: nt_xent(a, b[:5], temperature=temperature), (x, y))
    assert torch.autograd.gradcheck(
        lambda a, b: nt_xent(a, b[:5], temperature=temperature, anchors=2), (x, y)
    )


def test_a_side_without_gradient_gets_none_and_the_other_its_own():
    x, y = torch.randn(6, 3, requires_grad=True), torch.randn(9, 3)
    info_nce(x, y, temperature=0.2).backward()
    alone = x.grad.clone()
    x.grad, wide = None, y.clone().requires_grad_()
    info_nce(x, wide, temperature=0.2).backward()
    torch.testing.assert_close(alone, x.grad)
    assert y.grad is None
    assert not info_nce(y, y, temperature=0.2).requires_grad
    with torch.no_grad():
        assert not info_nce(x, y, temperature=0.2).requires_grad


@pytest.mark.parametrize("loss", [nt_xent, node_across])
def test_one_view_may_be_a_constant(loss):
    x, y = torch.randn(6, 3, requires_grad=True), torch.randn(6, 3)
    loss(x, y, temperature=0.2).backward()
    both = x.detach().clone().requires_grad_()
    loss(both, y.clone().requires_grad_(), temperature=0.2).backward()
    torch.testing.assert_close(x.grad, both.grad)
    assert not loss(y, y, temperature=0.2).requires_grad


@pytest.mark.parametrize("temperature", [0.5, 0.01])
def test_all_rows_as_anchors_is_what_no_anchors_is(small_blocks, temperature):
    x, y = torch.randn(20, 4), torch.randn(20, 4)
    parts = [nt_xent(x.roll(-i, 0), y.roll(-i, 0), temperature=temperature, anchors=1) for i in range(20)]
    torch.testing.assert_close(sum(parts) / 20, nt_xent(x, y, temperature=temperature))


@pytest.mark.parametrize("temperature", [0.5, 0.05, 0.01])
def test_twins_share_the_mass_and_their_gradient(temperature):
    x, y = torch.randn(4, 8), torch.randn(4, 8)
    x, y = torch.cat([x, x]).requires_grad_(), torch.cat([y, y])  # every node is there twice
    loss = node_info_nce(x, y, temperature=temperature)
    torch.testing.assert_close(loss, dense_nt_xent(x, y, temperature), rtol=1e-5, atol=1e-6)
    loss.backward()
    torch.testing.assert_close(x.grad[:4], x.grad[4:])


def test_the_processes_mean_of_nt_xent_is_the_loss_of_one_process():
    first, second = torch.randn(10, 4), torch.randn(10, 4)
    own_first = [(first, second), (first.roll(-6, 0), second.roll(-6, 0))]  # ranks with 6 and 4 samples
    shares = [
        nt_xent(a, b, temperature=0.2, anchors=n) * n / 10
        for (a, b), n in zip(own_first, (6, 4), strict=True)
    ]
    torch.testing.assert_close(sum(shares), nt_xent(first, second, temperature=0.2))


class Largest(TorchDispatchMode):
    """Remember the size of the largest tensor that any operation returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for value in out if isinstance(out, tuple | list) else [out]:
            if isinstance(value, torch.Tensor):
                self.numel = max(self.numel, value.numel())
        return out


@pytest.mark.parametrize("loss", [info_nce, nt_xent, node_info_nce, node_across])
def test_no_tensor_grows_with_the_square_of_the_batch(monkeypatch, loss):
    monkeypatch.setitem(contrast.SCORES_AT_ONCE, "cpu", 2**14)
    monkeypatch.setitem(contrast.SIDE, "cpu", 2**7)
    x, y = (torch.randn(1000, 8, requires_grad=True) for _ in range(2))
    with Largest() as seen:
        loss(x, y, temperature=0.2).backward()
    assert seen.numel <= max(2**14, 2 * 1000 * 8)


def test_a_queue_is_asked_block_by_block_with_the_same_cost_and_gradient(monkeypatch):
    queries, keys = (torch.randn(1000, 8, requires_grad=True) for _ in range(2))
    queue = torch.randn(500, 8)
    whole = queue_nce(queries, keys, queue, temperature=0.2)
    wanted = torch.autograd.grad(whole, (queries, keys))
    monkeypatch.setitem(contrast.SCORES_AT_ONCE, "cpu", 2**14)
    with Largest() as seen:
        loss = queue_nce(queries, keys, queue, temperature=0.2)
        gradients = torch.autograd.grad(loss, (queries, keys))
    assert seen.numel <= 2**14
    torch.testing.assert_close(loss, whole)
    for gradient, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("loss", [info_nce, nt_xent, node_across])
def test_autocast_and_half_precision_leave_the_arithmetic_in_float32(loss):
    x, y = torch.randn(64, 32).bfloat16().requires_grad_(), torch.randn(64, 32).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        low = loss(x, y, temperature=0.05)
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, loss(x.float(), y.float(), temperature=0.05))
    low.backward()
    assert x.grad.isfinite().all()


def test_the_limits_stay_finite():
    x = torch.randn(8, 4)
    x[0] = 0  # a dead vector
    for loss, temperature in product((info_nce, nt_xent), (1e-4, 1e4)):
        leaf = x.clone().requires_grad_()
        value = loss(leaf, x.flip(1), temperature=temperature)
        value.backward()
        assert value.isfinite() and leaf.grad.isfinite().all()
    for loss in (nt_xent, node_info_nce, node_across):
        for temperature in (1.0, 0.01):  # the partner is all there is
            leaf = x[1:2].clone().requires_grad_()
            alone = loss(leaf, x[2:3], temperature=temperature)
            alone.backward()
            assert alone.item() == 0 and leaf.grad.abs().max() < 1e-6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: info_nce(x, x[:2], temperature=1.0), r"M >= B >= 1; got \(4, 3\) and \(2, 3\)"),
        (lambda x: info_nce(x, x, temperature=0.0), "info_nce needs temperature > 0; got 0.0"),
        (lambda x: nt_xent(x, x[:, :2], temperature=1.0), "one shape"),
        (lambda x: nt_xent(x, x, temperature=1.0, anchors=5), "anchors=5"),
        (lambda x: nt_xent(x, x, temperature=-1.0), "nt_xent needs temperature > 0"),
        (lambda x: node_info_nce(x, x[:2], temperature=1.0), r"one shape .* got \(4, 3\) and \(2, 3\)"),
        (lambda x: node_info_nce(x[:0], x[:0], temperature=1.0), "N >= 1"),
        (lambda x: node_info_nce(x, x, temperature=0.0), "node_info_nce needs temperature > 0"),
    ],
)
def test_what_cannot_be_is_said(call, message):
    with pytest.raises(ValueError, match=message):
        call(torch.randn(4, 3))


def test_a_small_cost_keeps_its_digits():
    x = torch.eye(64)
    for temperature in (0.1, 0.05, 0.02):
        exact = math.log1p(63 * math.exp(-1 / temperature))
        for loss in (info_nce, node_across):
            assert loss(x, x, temperature=temperature).item() == pytest.approx(exact, rel=1e-3, abs=1e-7)
    exact = math.log1p(126 * math.exp(-20))
    assert nt_xent(x, x, temperature=0.05).item() == pytest.approx(exact, rel=1e-5)

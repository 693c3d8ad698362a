"""Parzen search against random search on functions whose minimum is known."""

import numpy as np

from vergence.methods.image.tpe import ParzenSearch, parzen_density, parzen_kernels


def searched(space, loss, trials, seed, start):
    search = ParzenSearch(space, seed=seed, start=start)
    for _ in range(trials):
        x = search.ask()
        search.tell(x, loss(x))
    return search


def test_it_finds_numbers_and_choices_better_than_chance():
    def loss(x):
        return (x[0] - 0.8) ** 2 + (x[1] - 0.1) ** 2 + (x[2] != 3)

    best = [
        [searched([0, 0, 6], loss, 60, seed, start) for seed in range(8)] for start in (15, 60)
    ]  # the second never stops drawing at random
    guided, random = (np.array([min(s.losses) for s in kind]) for kind in best)
    assert np.median(guided) < 0.5 * np.median(random)
    assert sum(int(s.best(1)[0, 2]) == 3 for s in best[0]) >= 7


def test_trials_stay_in_the_space_and_repeat_with_the_seed():
    first, second = (searched([4, 0], lambda x: x[1], 40, 3, 10) for _ in range(2))
    tried = np.stack(first.trials)
    assert (tried == np.stack(second.trials)).all()
    assert set(tried[:, 0]) <= {0.0, 1.0, 2.0, 3.0} and (tried[:, 1] >= 0).all() and (tried[:, 1] <= 1).all()
    order = first.best(40)
    assert (np.diff(order[:, 1]) >= 0).all() and len(order) == 40


def test_a_density_integrates_to_1():
    seen = np.array([0.02, 0.5, 0.51, 0.97])
    at = np.linspace(0, 1, 2001)
    assert abs(np.trapezoid(parzen_density(at, seen), at) - 1) < 1e-3
    centres, widths = parzen_kernels(seen)
    assert len(centres) == 5 and widths.max() == 1 and (widths > 0).all()

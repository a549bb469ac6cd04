"""The suggested rate, against the best of a sweep of full trainings, on the tasks of the lab.

The rates are peaks of a cosine: what a range test finds is the largest rate that still helps, which
at the end of a training with minibatches is too large for Adam and Lion.
"""

import pytest

from funcopt.lab import find_lr, get_task, sweep
from funcopt.lab.compare import LRS
from funcopt.lab.grid import parse_rates

TASKS = ["digits", "linear_regression", "logistic_digits"]
OPTIMIZERS = ["sgd(momentum=0.9)", "adam", "lion"]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", TASKS)
def test_the_suggestion_trains_within_half_of_the_best(name, optimizer):
    task = get_task(name)
    found = find_lr(task.loss, task.init, task.sample, optimizer, seeds=3)
    assert found.suggestion is not None
    rates = [*parse_rates(LRS).tolist(), found.suggestion]
    trained = sweep(optimizer, rates, task=task, seeds=3, steps=300, schedule="cosine")
    loss = dict(zip(trained.points.ravel().tolist(), trained.losses.tolist(), strict=True))
    best = min(loss[rate] for rate in rates[:-1])
    assert loss[found.suggestion] <= 1.5 * best, (found.by_convention, trained.best)

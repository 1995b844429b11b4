"""Hyperparameters by the evidence lower bound of a stochastic variational Gaussian process.

Hensman, Fusi & Lawrence (2013), "Gaussian processes for big data", with GPyTorch's whitened variational
strategy and minibatches. The state with the best held-out log density is kept; then the noise is estimated
again under Titsias' collapsed bound, with the learned inducing points.
"""

from __future__ import annotations

import copy
import math
import warnings
from typing import TYPE_CHECKING, Any

import gpytorch
import numpy as np
import torch

from xgpfill.covariance.build import PriorKernel
from xgpfill.covariance.matrices import Covariance
from xgpfill.grid.points import Observations, Points
from xgpfill.learning.composite import Learned, Packing
from xgpfill.vecchia.inducing import choose_inducing, collapsed_bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from xgpfill.kernels.prior import Prior
    from xgpfill.learning.starts import AxisSummary
    from xgpfill.settings import Variational

LEARNING_RATE = 0.02
NOISE_OBSERVATIONS = 6000
"""Observations used to estimate the noise again."""


class _Model(gpytorch.models.ApproximateGP):  # type: ignore[misc]
    """A sparse Gaussian process with a constant mean."""

    def __init__(self, kernel: PriorKernel, inducing: Tensor, *, learn_inducing: bool) -> None:
        law = gpytorch.variational.CholeskyVariationalDistribution(inducing.shape[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", gpytorch.utils.warnings.NumericalWarning)
            strategy = gpytorch.variational.VariationalStrategy(
                self, inducing, law, learn_inducing_locations=learn_inducing, jitter_val=1e-6
            )
        super().__init__(strategy)
        self.mean_module = gpytorch.means.ConstantMean()
        self.covar_module = kernel

    def forward(self, x: Tensor) -> Any:
        return gpytorch.distributions.MultivariateNormal(self.mean_module(x), self.covar_module(x))


def learn_elbo(
    prior: Prior,
    observations: Observations,
    axes: dict[str, AxisSummary],
    settings: Variational,
    *,
    seed: int,
    device: str = "cpu",
    callback: Callable[[int, float], None] | None = None,
) -> Learned:
    """Learn by minibatch ELBO from the values that `prior` holds.

    Parameters
    ----------
    prior : Prior
        Every hyperparameter has its starting (or fixed) number; standardised units.
    observations : Observations
        Standardised.
    axes : dict
        Summaries of time and space, for the bounds.
    settings : Variational
    seed : int
    device : str
    callback : callable, optional
        Called with the epoch and the held-out negative log density.
    """
    packing = Packing(prior, axes)
    kept, held = _split(len(observations), settings.validation, seed)
    anchors = choose_inducing(Covariance(prior), observations.points.take(kept), settings.num_inducing, seed=seed)
    data = [
        torch.as_tensor(a, device=device)
        for a in (_inputs(observations.points), observations.values, observations.noise)
    ]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        kernel = PriorKernel(prior.geometry, _prior_at(packing), torch.as_tensor(packing.start[:-1]))
        start = torch.as_tensor(_inputs(anchors))
        model = _Model(kernel, start, learn_inducing=settings.learn_inducing).double().to(device)
        steps, best = _train(model, data, kept, held, settings, callback)
    model.load_state_dict(best)
    theta = np.append(model.covar_module.logs.detach().cpu().numpy(), float(model.mean_module.constant.detach()))
    learned = packing.prior_at(theta)
    inducing = model.variational_strategy.inducing_points.detach().cpu().numpy()
    refined, bound = _noise_again(learned, observations, inducing, theta[-1], seed)
    return Learned(refined, steps, bound)


def _inputs(points: Points) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Days and km side by side, (n, 1 + d)."""
    return np.concatenate([points.time[:, None], points.space], axis=1)


def _split(size: int, validation: float, seed: int) -> tuple[Any, Any]:
    order = np.random.default_rng(seed).permutation(size)
    held = round(validation * size)
    return np.sort(order[held:]), np.sort(order[:held])


def _prior_at(packing: Packing) -> Callable[[Tensor], Prior]:
    low, high = (torch.tensor(b, dtype=torch.float64) for b in zip(*packing.bounds[:-1], strict=True))

    def prior_at(logs: Tensor) -> Prior:
        inside = torch.minimum(torch.maximum(logs, low.to(logs)), high.to(logs))
        return packing.prior.with_values(packing.values(inside.exp()))

    return prior_at


def _train(
    model: _Model,
    data: list[Tensor],
    kept: Any,
    held: Any,
    settings: Variational,
    callback: Callable[[int, float], None] | None,
) -> tuple[int, dict[str, Any]]:
    """Adam over minibatches; returns the steps taken and the state with the best held-out density."""
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    best_score, best, steps = math.inf, copy.deepcopy(model.state_dict()), 0
    for epoch in range(settings.epochs):
        model.train()
        for batch in torch.split(torch.as_tensor(kept)[torch.randperm(len(kept))], settings.batch_size):
            optimiser.zero_grad()
            loss = _negative_elbo(model, [d[batch] for d in data], len(kept))
            torch.autograd.backward(loss)
            optimiser.step()
            steps += 1
        score = _held_out(model, [d[torch.as_tensor(held if len(held) else kept)] for d in data], settings.batch_size)
        if callback is not None:
            callback(epoch, score)
        if score < best_score:
            best_score, best = score, copy.deepcopy(model.state_dict())
    return steps, best


def _negative_elbo(model: _Model, batch: list[Tensor], total: int) -> Tensor:
    """−ELBO per observation: expected log density of the batch under q(f), less KL(q(u) ‖ p(u)) / N."""
    x, y, unit_noise = batch
    law = model(x)
    noise = _noise_of(model) * unit_noise
    expected = 0.5 * (torch.log(2 * math.pi * noise) + ((y - law.mean).square() + law.variance) / noise)
    loss: Tensor = expected.mean() + model.variational_strategy.kl_divergence() / total
    return loss


def _noise_of(model: _Model) -> Any:
    return model.covar_module.prior().noise


@torch.no_grad()
def _held_out(model: _Model, data: list[Tensor], batch_size: int) -> float:
    """Mean negative log density of held-out observations."""
    model.eval()
    total = 0.0
    for x, y, unit_noise in zip(*(torch.split(d, batch_size) for d in data), strict=True):
        law = model(x)
        spread = law.variance + _noise_of(model) * unit_noise
        total += float((0.5 * (torch.log(2 * math.pi * spread) + (y - law.mean).square() / spread)).sum())
    return total / max(1, data[1].numel())


def _noise_again(
    prior: Prior, observations: Observations, inducing: Any, mean: float, seed: int
) -> tuple[Prior, float]:
    """The noise that maximises the collapsed bound with these inducing points, all else held."""
    from scipy.optimize import minimize_scalar

    rng = np.random.default_rng(seed)
    size = min(NOISE_OBSERVATIONS, len(observations))
    some = observations.take(np.sort(rng.choice(len(observations), size, replace=False)))
    places = Points.scattered(inducing[:, 0], inducing[:, 1:])
    covariance = Covariance(prior)

    def loss(log_noise: float) -> float:
        trial = Observations(some.points, some.values - mean, some.noise * math.exp(log_noise))
        return -collapsed_bound(covariance, trial, places) / size

    if prior.fixed_noise:
        assert prior.noise is not None
        return prior, -loss(math.log(float(prior.noise)))
    found = minimize_scalar(loss, bounds=(math.log(1e-6), math.log(1e2)), method="bounded", options={"maxiter": 25})
    return prior.with_values({"noise": math.exp(float(found.x))}), -float(found.fun)

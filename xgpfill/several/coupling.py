"""What variables share: the loadings of a linear model of coregionalisation, by composite likelihood.

Every term of every variable's own prior is a field that the other ones may have something of,

    cov(fₐ(x), f_b(x')) = Σ_j v_j w_ja w_jb c_j(x, x'),   w_jb = 1 for the variable b whose term it is,

which is a sum of terms T_j ⊗ B_j ⊗ S_j with B_j = w_j w_jᵀ (Goovaerts 1997, §4.2.3). With all other w zero variables
are apart, as they were learned; correlations c_j stay what they were. The likelihood of a block has the derivative
G = ½(K⁻¹ − ααᵀ) in its covariance (Rasmussen & Williams 2006, eq. 5.9), and 2 v_j Σ_{i of b} [(G ∘ C_j) w_j]ᵢ in w_jb.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from xgpfill.covariance.evaluate import Lags, correlation
from xgpfill.grid.directions import variable_of
from xgpfill.kernels.shared import Shared
from xgpfill.kernels.spec import Constant
from xgpfill.machine.threads import own_threads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xgpfill.arrays import FloatArray
    from xgpfill.grid.points import Observations
    from xgpfill.kernels.prior import Prior, Term
    from xgpfill.learning.heldout import Hidden

LOADING_SD, VARIANCE_SD = 1.0, 2.5
"""Standard deviations of the weak prior on loadings around zero, and on logs of variances around what they were."""
LEAST, MOST = 1e-6, 1e2
"""Of variances, standardised."""
STEPS = 60
FAILED = 1e10


def apart(priors: Mapping[str, Prior]) -> Prior:
    """The terms of all variables, each with all of its own and nothing of the others'; of standardised units.

    The noise is a factor on squared standard errors, which hold that of every variable; means are known to be zero.
    """
    terms, first = [], next(iter(priors.values()))
    for number, (name, prior) in enumerate(priors.items()):
        loadings = tuple(float(k == number) for k in range(len(priors)))
        terms += [replace(t, name=f"{name}_{t.name}", space=Shared((t.space,), loadings)) for t in prior.terms]
    return replace(first, terms=tuple(terms), noise=1.0, fixed_noise=True, centred=True)


@dataclass(frozen=True, eq=False)
class _Block:
    """Observations of one block: values, noise, which variable each is of, and the correlations of every term."""

    values: FloatArray
    noise: FloatArray
    variable: np.ndarray[tuple[int, ...], np.dtype[np.intp]]
    correlations: tuple[FloatArray, ...]

    @classmethod
    def of(cls, block: Observations, prior: Prior) -> _Block:
        """Of standardised observations."""
        days, places = (torch.as_tensor(np.ascontiguousarray(x)) for x in (block.points.time, block.points.space))
        time = Lags.matrix(days[:, None], days[:, None], "time")
        space = Lags.matrix(places, places, prior.geometry)
        with torch.no_grad():
            found = tuple(_correlation(term, time, space) for term in prior.terms)
        return cls(block.values, block.noise, variable_of(block.points.space).astype(np.intp), found)

    def half_deviance(self, variances: FloatArray, loadings: FloatArray) -> tuple[float, FloatArray, FloatArray] | None:
        """−log N(y; 0, K) without its constant, and its derivatives in log variances and in loadings (as these)."""
        w = loadings[:, self.variable]
        K = np.diag(self.noise)
        for v, own, C in zip(variances, w, self.correlations, strict=True):
            K += v * own[:, None] * own * C
        L, failed = torch.linalg.cholesky_ex(torch.as_tensor(K))
        if int(failed):
            return None
        inverse = torch.cholesky_inverse(L).numpy()
        alpha = inverse @ self.values
        G = 0.5 * (inverse - np.outer(alpha, alpha))
        in_variance, in_loading = np.empty_like(variances), np.empty_like(loadings)
        for j, (v, own, C) in enumerate(zip(variances, w, self.correlations, strict=True)):
            slope = v * ((G * C) @ own)
            in_variance[j] = slope @ own
            in_loading[j] = 2.0 * np.bincount(self.variable, slope, loadings.shape[1])
        half = 0.5 * float(self.values @ alpha) + float(L.diagonal().log().sum())
        return half, in_variance, in_loading


def _correlation(term: Term, time: Lags, space: Lags) -> FloatArray:
    """Correlations of what is shared in one term, by pair."""
    assert isinstance(term.space, Shared)
    kernels = ((term.time, time), (term.space.of_one, space))
    parts = [correlation(kernel, lags).numpy() for kernel, lags in kernels if not isinstance(kernel, Constant)]
    found: FloatArray = np.ones(time.distance.shape)
    for part in parts:
        found = found * part
    return found


def coupled(prior: Prior, blocks: Sequence[Observations]) -> Prior:
    """The prior with the variances and loadings under which blocks are most likely.

    Parameters
    ----------
    prior : Prior
        Variables apart (:func:`apart`).
    blocks : sequence of Observations
        Standardised, with noise variances.
    """
    from scipy.optimize import minimize

    before, free = _loadings(prior)
    start = np.log(np.maximum([float(t.variance or 0.0) for t in prior.terms], LEAST))
    terms, count = len(start), sum(map(len, blocks))
    with own_threads():
        parts = _parts(prior, blocks)

        def objective(theta: FloatArray) -> tuple[float, FloatArray]:
            loadings = before.copy()
            loadings[free] = theta[terms:]
            moved = (theta[:terms] - start) / VARIANCE_SD
            total = 0.5 * float(moved @ moved) + 0.5 * float(theta[terms:] @ theta[terms:]) / LOADING_SD**2
            slope = np.concatenate([moved / VARIANCE_SD, theta[terms:] / LOADING_SD**2])
            for part in parts:
                found = part.half_deviance(np.exp(theta[:terms]), loadings)
                if found is None:
                    return FAILED, np.zeros_like(theta)
                total += found[0]
                slope += np.concatenate([found[1], found[2][free]])
            return total / count, slope / count

        bounds = [(np.log(LEAST), np.log(MOST))] * terms + [(-MOST, MOST)] * int(free.sum())
        theta = np.concatenate([start, np.zeros(int(free.sum()))])
        options = {"maxfun": STEPS, "maxiter": STEPS, "ftol": 1e-5, "maxcor": 20}
        found = minimize(objective, theta, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    before[free] = found[terms:]
    return _with(prior, np.exp(found[:terms]), before)


def _loadings(prior: Prior) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Loadings (terms, variables), and which are free: all but that of the variable whose term it is."""
    kernels = [term.space for term in prior.terms]
    found = np.array([kernel.loadings for kernel in kernels if isinstance(kernel, Shared)])
    return found, found != 1.0


def _with(prior: Prior, variances: FloatArray, loadings: FloatArray) -> Prior:
    """The prior with other variances and loadings."""
    terms = []
    for term, variance, own in zip(prior.terms, variances, loadings, strict=True):
        assert isinstance(term.space, Shared)
        space = replace(term.space, loadings=tuple(map(float, own)))
        terms.append(replace(term, variance=float(variance), space=space))
    return replace(prior, terms=tuple(terms))


def tell_of_each_other(before: Prior, after: Prior, hidden: Hidden | None, blocks: Sequence[Observations]) -> bool:
    """Whether variables are better coupled: whether hidden observations are predicted better, by more than chance.

    Where none could be hidden, whether blocks are likelier by Akaike's criterion (1974, eq. 8).
    """
    if hidden is not None:
        return hidden.predict(after).is_better_than(hidden.predict(before))
    with own_threads():
        parts = _parts(before, blocks)  # correlations are the same, however much variables have of each other
        fall = _deviance(before, parts) - _deviance(after, parts)
    return fall > 2.0 * int(_loadings(after)[1].sum())


def _parts(prior: Prior, blocks: Sequence[Observations]) -> list[_Block]:
    return [_Block.of(block, prior) for block in blocks if len(block)]


def _deviance(prior: Prior, parts: Sequence[_Block]) -> float:
    """−2 log N of all blocks, without its constant."""
    variances, (loadings, _) = np.array([float(t.variance or 0.0) for t in prior.terms]), _loadings(prior)
    found = [part.half_deviance(variances, loadings) for part in parts]
    return 2.0 * sum(FAILED if each is None else each[0] for each in found)

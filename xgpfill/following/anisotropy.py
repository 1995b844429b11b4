"""The ratio of lengthscales to the east and to the north, by the profile of the composite likelihood over it.

At each ratio distances to the east count less by it, and everything else is learned: the maximum of the profile is
that of the likelihood in all hyperparameters together (Pawitan 2001, §3.4).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from xgpfill.errors import NumericalError, XgpfillWarning
from xgpfill.following.places import LARGEST, stretched
from xgpfill.grid.directions import drawn_together
from xgpfill.learning.composite import learn
from xgpfill.learning.starts import anomaly_share, other_starts, starting_values, summarise
from xgpfill.learning.steps import standardised

if TYPE_CHECKING:
    from xgpfill.grid.metric import Metric
    from xgpfill.grid.points import Observations
    from xgpfill.kernels.prior import Prior
    from xgpfill.learning.steps import Course

STRIDE, CLOSE = 0.4, 0.15
"""Steps of the logarithm of the ratio: on the way to its maximum, and about it."""


def with_ratio(course: Course, prior: Prior, metric: Metric) -> tuple[Course, Metric]:
    """The same course on places with the ratio that is learned here, and their metric.

    Parameters
    ----------
    course : Course
        On places with a ratio of one.
    prior : Prior
        Standardised units, what it holds free is learned.
    metric : Metric
        That the places were made by.
    """
    found = math.exp(_maximum(Profile(course, prior)))
    space, metric = stretched(course.lattice.space, metric, found)
    blocks = [_drawn_together(block, course.lattice.space.geometry, found) for block in course.blocks]
    return replace(course, lattice=replace(course.lattice, space=space), blocks=blocks), metric


@dataclass(eq=False)
class Profile:
    """The largest log-likelihood per observation at each logarithm of the ratio.

    Attributes
    ----------
    course : Course
    prior : Prior
    """

    course: Course
    prior: Prior
    _known: dict[float, tuple[float, Prior | None]] = field(default_factory=dict, repr=False)

    def __call__(self, log_ratio: float) -> float:
        """Learned from the numbers of the nearest ratio that is known, or from the start."""
        if log_ratio not in self._known:
            self._known[log_ratio] = self._learned(log_ratio)
        return self._known[log_ratio][0]

    def _learned(self, log_ratio: float) -> tuple[float, Prior | None]:
        course, how = self.course, {"noise_is_scale": self.course.rules.has_errors}
        blocks, lattice = self._blocks(log_ratio), course.lattice
        coordinates = drawn_together(lattice.space.coordinates, lattice.space.geometry, math.exp(log_ratio))
        there = replace(lattice, space=replace(lattice.space, coordinates=coordinates))
        axes = summarise(blocks, there, self.prior)
        others: dict[str, Any] = {"rounds": ("fine",)}
        near = self._nearest(log_ratio)
        if near is None:
            values = starting_values(self.prior, axes, **how)
            starts = other_starts(self.prior, axes, values, anomaly_share(blocks), course.rules.seed, **how)
            near, others = self.prior.with_values(values), {"starts": starts}
        with warnings.catch_warnings():  # what is said of noise is said when all is learned
            warnings.simplefilter("ignore", XgpfillWarning)
            try:
                found = learn(near, blocks, axes, callback=lambda *_: course.step(), **others)
            except NumericalError:
                return -math.inf, None
        course.evaluations += found.evaluations
        return found.log_likelihood, found.prior

    def _blocks(self, log_ratio: float) -> list[Observations]:
        course = self.course
        how: dict[str, Any] = {"has_errors": course.rules.has_errors, "noise_is_known": course.noise_is_known}
        geometry, ratio = course.lattice.space.geometry, math.exp(log_ratio)
        return [_drawn_together(standardised(b, course.scaling, **how), geometry, ratio) for b in course.blocks]

    def _nearest(self, log_ratio: float) -> Prior | None:
        """The numbers at the nearest ratio; lengths that were between those of both directions move with it."""
        known = [(abs(at - log_ratio), at, prior) for at, (_, prior) in self._known.items() if prior is not None]
        if not known:
            return None
        _, at, prior = min(known, key=lambda entry: entry[0])
        factor = math.exp(0.5 * (at - log_ratio))
        own = [(path, value) for path, value, _, fixed in prior.items() if not fixed]
        return prior.with_values({p: factor * v for p, v in own if ".space." in p and p.endswith("lengthscale")})


def _drawn_together(block: Observations, geometry: str, ratio: float) -> Observations:
    """Observations with their places drawn together to the east."""
    sites = drawn_together(block.points.sites, geometry, ratio)
    return replace(block, points=replace(block.points, sites=sites))


def _maximum(profile: Profile) -> float:
    """Where a profile is largest: uphill from a ratio of one, then by parabolas through three points."""
    limit, at = math.log(LARGEST), 0.0
    for way in (1.0, -1.0):
        while abs(at + way * STRIDE) <= limit and profile(at + way * STRIDE) > profile(at):
            at += way * STRIDE
        if at != 0.0:
            break
    at = _vertex(profile, at, STRIDE, limit)
    return _vertex(profile, at, CLOSE, limit)


def _vertex(profile: Profile, at: float, step: float, limit: float) -> float:
    """Of the parabola through the profile at a place and a step to either side, no farther than a step."""
    before, here, after = (profile(x) for x in (at - step, at, at + step))
    curvature = 2.0 * here - before - after
    slope = after - before
    if not math.isfinite(curvature):
        return at
    move = 0.5 * slope / curvature if curvature > 0.0 else math.copysign(1.0, slope)
    return max(-limit, min(limit, at + step * max(-1.0, min(1.0, move))))

"""Lengthscales that change with latitude, by a formula that keeps kernels positive definite. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xgpfill.errors import KernelError
from xgpfill.grid.metric import EARTH_RADIUS_KM
from xgpfill.kernels.spec import DIMENSIONLESS, RBF, Kernel, Matern, Product, RationalQuadratic, Sum, as_kernel, walk

if TYPE_CHECKING:
    from torch import Tensor

    from xgpfill.kernels.spec import Number

TO_POLE = 90.0
"""Degrees from the equator to a pole."""
DEGREES = 57.29577951308232
"""In a radian."""


@dataclass(frozen=True)
class ByLatitude(Kernel):
    """A kernel of space whose lengthscales change with latitude, alike to the north and south of the equator.

    At latitude φ they are ℓ(φ) = ℓ q^((|φ| − φ₀) / 90°), where φ₀ is in the middle of the data: there they are what
    the kernel says.

    Parameters
    ----------
    parts : Kernel or str
        A Matérn, Gaussian or rational quadratic kernel, or a sum or product of such.
    to_pole : float, optional
        q, lengthscales at a pole over those at the equator; None learns it, a number is where learning starts.
    fixed : bool
        Hold `to_pole` at the given number.
    latitudes : (float, float), optional
        The least and the largest distance of the data from the equator, in degrees; they come from the data.

    Notes
    -----
    Paciorek & Schervish (2006), doi:10.1002/env.785, eq. 8, for Σ = ℓ(φ)² I in the p dimensions of the embedded places:
    k = (2ℓℓ' / (ℓ² + ℓ'²))^(p/2) ρ(d √(2 / (ℓ² + ℓ'²))), positive definite wherever ρ is in p dimensions, and the same
    on all meridians.

    Examples
    --------
    >>> ByLatitude("matern32", to_pole=0.5).of_one
    Matern(nu=1.5, lengthscale=None, fixed=False)
    """

    parts: tuple[Kernel, ...] = (Matern(1.5),)
    to_pole: Number | None = field(default=None, metadata={"unit": DIMENSIONLESS})
    fixed: bool = False
    latitudes: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        parts: Any = self.parts
        if not isinstance(parts, tuple):
            object.__setattr__(self, "parts", (as_kernel(parts),))
        known = (Matern, RBF, RationalQuadratic, Sum, Product)
        other = [type(k).__name__ for part in self.parts for _, k in walk(part) if not isinstance(k, known)]
        if other or len(self.parts) != 1:
            raise KernelError(
                f"ByLatitude changes the lengthscales of one kernel, Matern, RBF, RationalQuadratic or sums and "
                f"products of them; it was given {other[0] if other else f'{len(self.parts)} kernels'}. Type e.g. "
                f"`ByLatitude('matern32')`."
            )
        super().__post_init__()

    @property
    def of_one(self) -> Kernel:
        """The kernel with the lengthscales in the middle of the data."""
        return self.parts[0]

    @property
    def factors(self) -> tuple[float, float]:
        """The smallest and the largest lengthscale of the data over that in their middle."""
        low, high = self._known
        ends = [float(self._to_pole) ** ((at - 0.5 * (low + high)) / TO_POLE) for at in (low, high)]
        return min(ends), max(ends)

    def at(self, north: Tensor, geometry: str) -> Tensor:
        """Lengthscales over those in the middle, at km along the axis of a sphere, or to the north."""
        turned = (north / EARTH_RADIUS_KM).clamp(-1.0, 1.0).asin() if geometry == "sphere" else north / EARTH_RADIUS_KM
        low, high = self._known
        found: Tensor = self._to_pole ** ((turned.abs() * DEGREES - 0.5 * (low + high)) / TO_POLE)
        return found

    @property
    def _known(self) -> tuple[float, float]:
        if self.latitudes is None:
            raise KernelError(
                "ByLatitude does not know the latitudes of the data; it gets them in `fit`. Give them here, e.g. "
                "`ByLatitude('matern32', latitudes=(30.0, 46.0))`."
            )
        return self.latitudes

    @property
    def _to_pole(self) -> Any:
        assert self.to_pole is not None, "hyperparameters are resolved before evaluation"
        return self.to_pole

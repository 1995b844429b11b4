"""Frozen settings of the engines, torch-free, so that naming one costs nothing. `method="exact"` means ``Exact()``."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

from xgpfill.errors import MethodError, TooManyPointsError, listed, shown


@dataclass(frozen=True)
class Exact:
    """Dense Cholesky: the reference, for up to a few thousand observations in a tile.

    Parameters
    ----------
    max_observations : int
        More observations than this in one tile are refused, with the memory they would take.
    """

    max_observations: int = 12_000

    def __post_init__(self) -> None:
        _require_positive_integer("Exact", "max_observations", self.max_observations)


@dataclass(frozen=True)
class Variational:
    """Inducing points: each tile is summarised by its own `num_inducing` points and the optimal q(u).

    Parameters
    ----------
    num_inducing : int
        Inducing points of each tile (and of the model that learns, with ``train="elbo"``).
    batch_size, epochs : int
        Minibatch and passes over the data with ``train="elbo"``.
    learn_inducing : bool
        Whether their positions are learned with ``train="elbo"``.
    validation : float
        Share of the observations held out with ``train="elbo"``; the state with the best held-out score is kept.
    train : {"composite", "elbo"}
        Learn hyperparameters by composite likelihood of blocks, or by the evidence lower bound of a
        stochastic variational Gaussian process (Hensman, Fusi & Lawrence 2013) in GPyTorch.
    """

    num_inducing: int = 1024
    batch_size: int = 1024
    epochs: int = 30
    learn_inducing: bool = True
    validation: float = 0.1
    train: str = "composite"

    def __post_init__(self) -> None:
        for name in ("num_inducing", "batch_size", "epochs"):
            _require_positive_integer("Variational", name, getattr(self, name))
        if not isinstance(self.validation, (int, float)) or not 0.0 <= self.validation < 1.0:
            raise MethodError(f"Variational(validation={self.validation!r}): expected a share of at least 0, below 1.")
        if self.train not in ("composite", "elbo"):
            raise MethodError(f"Variational(train={self.train!r}): choose 'composite' or 'elbo'.")


NEIGHBOURS_OF_TARGETS, NEIGHBOURS_OF_OBSERVATIONS = 60, 30
MAX_JOINT_TARGETS = 5000
"""Targets whose joint covariance is made."""
FEW_OBSERVATIONS = 50_000
NEIGHBOURS_OF_FEW, NEIGHBOURS_OF_MANY = 64, 36


@dataclass(frozen=True)
class Iterative:
    """The exact posterior without a matrix: conjugate gradients over a covariance operator; best on lattices.

    Parameters
    ----------
    tolerance : float
        Residual of the solve for the mean, beside what is not known of each observation from all others: about the
        error of the mean, in posterior standard deviations.
    num_samples : int
        Draws that correct the local variances; more make the variance less noisy.
    num_neighbours : int, optional
        Observations that each one is conditioned on in the preconditioner, and each cell in its local variance (64 at
        least, and more where the check asks for more). By default 64, and 36 beyond 50,000 observations, where they
        cost more than the steps that they save.
    max_steps : int
        Steps after which the solve stops, with a warning when the tolerance was missed.
    """

    tolerance: float = 5e-3
    num_samples: int = 8
    num_neighbours: int | None = None
    max_steps: int = 500

    def __post_init__(self) -> None:
        known = () if self.num_neighbours is None else ("num_neighbours",)
        for name in ("num_samples", *known, "max_steps"):
            _require_positive_integer("Iterative", name, getattr(self, name))
        if not isinstance(self.tolerance, (int, float)) or not 0.0 < self.tolerance < 1.0:
            raise MethodError(f"Iterative(tolerance={self.tolerance!r}): expected a number between 0 and 1, e.g. 1e-3.")

    def neighbours_of(self, count: int) -> int:
        """How many neighbours each of so many observations is conditioned on in the preconditioner."""
        return self.num_neighbours or (NEIGHBOURS_OF_FEW if count <= FEW_OBSERVATIONS else NEIGHBOURS_OF_MANY)


@dataclass(frozen=True)
class Vecchia:
    """Every value given its most correlated neighbours: for points anywhere, and any number of them.

    Parameters
    ----------
    num_neighbours : int, optional
        Observations that each target, and each observation in the likelihood of the trend, is conditioned on. By
        default 60 and 30. With as many as there are observations the answer is exact.
    num_inducing : int
        Points, the same for all targets, through which observations beyond the neighbours are heard: terms that reach
        far need them. 0: neighbours alone. With more than 80,000 observations there are fewer, for their memory. Where
        observations are so many that neighbours must tell the fast terms, up to three times as many are of the slow
        ones alone.
    """

    num_neighbours: int | None = None
    num_inducing: int = 200

    def __post_init__(self) -> None:
        if self.num_neighbours is not None:
            _require_positive_integer("Vecchia", "num_neighbours", self.num_neighbours)
        if self.num_inducing != 0:
            _require_positive_integer("Vecchia", "num_inducing", self.num_inducing)

    @property
    def neighbours_of_targets(self) -> int:
        """How many observations a target is conditioned on."""
        return self.num_neighbours or NEIGHBOURS_OF_TARGETS

    @property
    def neighbours_of_observations(self) -> int:
        """How many predecessors an observation is conditioned on."""
        return self.num_neighbours or NEIGHBOURS_OF_OBSERVATIONS


def require_affordable(settings: Exact, count: int) -> None:
    """Refuse more observations in one tile than the exact engine is allowed.

    Raises
    ------
    TooManyPointsError
    """
    if count > settings.max_observations:
        raise TooManyPointsError(
            f"The exact engine would factor a {count} × {count} matrix: {3 * count * count * 8 / 2**30:.1f} GiB, and "
            f"more than max_observations={settings.max_observations}. Type `method='vecchia'`, "
            f"`method='variational'`, smaller tiles (`tile=`), or `method=xgpfill.Exact(max_observations={count})`."
        )


Settings = Exact | Variational | Iterative | Vecchia
METHODS: dict[str, type[Settings]] = {
    "exact": Exact, "iterative": Iterative, "variational": Variational, "vecchia": Vecchia,
}  # fmt: skip


def as_settings(method: str | Settings) -> Settings | None:
    """Settings from a name or object; None means that they are to be chosen ("auto").

    Raises
    ------
    MethodError
        When there is no such engine.
    """
    if isinstance(method, Settings):
        return method
    if isinstance(method, str) and method == "auto":
        return None
    if isinstance(method, str) and method in METHODS:
        return METHODS[method]()
    if isinstance(method, type) and method in METHODS.values():
        raise MethodError(f"method={method.__name__} is a class. Type `method=xgpfill.{method.__name__}()`.")
    raise MethodError(
        f"Unknown method {shown(method)}. Choose 'auto', {listed(METHODS)}, or settings such as "
        f"`xgpfill.Variational(num_inducing=2000)`."
    )


def _require_positive_integer(owner: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise MethodError(f"{owner}({name}={shown(value)}): expected a positive integer, e.g. `{owner}({name}=1000)`.")

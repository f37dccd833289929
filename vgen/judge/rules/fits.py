"""Least squares on short noisy paths: polynomials with their covariance, optimal splitting, steps of a derivative.

Shared by the rules; knows arrays alone. Noise has one known standard error `sigma` per coordinate.
Letters beyond the project's legend: `N` samples (not heads), `P` coefficients (lowest order first), `A` coordinates.
"""

from dataclasses import dataclass
from math import factorial

import numpy as np

from vgen.judge.observation import Floats

__all__ = ["Fit", "Step", "derivative_step", "polynomial", "split"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A polynomial through samples of a path, all coordinates at once.

    Args:
        origin: time that the powers count from, in frames.
        coef_PA: coefficients, lowest order first.
        cov_PP: covariance of each coordinate's coefficients.
        chi2: sum of squared residuals over sigma^2, all coordinates.
        dof: degrees of freedom of `chi2`.
    """

    origin: float
    coef_PA: Floats
    cov_PP: Floats
    chi2: float
    dof: int

    def at(self, time: float, order: int = 0) -> Floats:
        """Value [A] of the derivative of this order at a time, in px per frame^order."""
        return self._row(time, order) @ self.coef_PA

    def along(self, time_N: Floats) -> Floats:
        """Values [N, A] at many times."""
        return np.vander(time_N - self.origin, len(self.coef_PA), increasing=True) @ self.coef_PA

    def error(self, time: float, order: int = 0) -> float:
        """Standard error of one coordinate of `at`; infinite for a derivative that the degree does not reach."""
        if order >= len(self.coef_PA):
            return float("inf")
        row_P = self._row(time, order)
        return float(np.sqrt(row_P @ self.cov_PP @ row_P))

    def _row(self, time: float, order: int) -> Floats:
        powers = np.arange(len(self.coef_PA))
        falling = np.array([factorial(p) / factorial(p - order) if p >= order else 0.0 for p in powers])
        return falling * (time - self.origin) ** np.maximum(powers - order, 0)


def polynomial(t_N: Floats, x_NA: Floats, sigma: float, degree: int) -> Fit:
    """Least-squares polynomial; the degree falls to what the number of samples can carry."""
    degree = min(degree, len(t_N) - 1)
    origin = float(t_N.mean())
    return _solve(np.vander(t_N - origin, degree + 1, increasing=True), x_NA, sigma, origin)


def _solve(basis_NP: Floats, x_NA: Floats, sigma: float, origin: float) -> Fit:
    size_P = np.sqrt((basis_NP**2).sum(0))
    scaled_NP = basis_NP / size_P
    inverse_PP = np.linalg.pinv(scaled_NP.T @ scaled_NP)
    coef_PA = (inverse_PP @ scaled_NP.T @ x_NA) / size_P[:, None]
    left_NA = x_NA - basis_NP @ coef_PA
    return Fit(
        origin=origin,
        coef_PA=coef_PA,
        cov_PP=inverse_PP / np.outer(size_P, size_P) * sigma**2,
        chi2=float((left_NA**2).sum() / sigma**2),
        dof=x_NA.shape[1] * (len(x_NA) - basis_NP.shape[1]),
    )


def split(t_N: Floats, x_NA: Floats, sigma: float, degree: int = 2) -> list[tuple[int, int]]:
    """The partition into polynomial stretches that the samples support, as (first, one past the last) indices.

    Optimal partitioning (Jackson et al. 2005, arXiv:math/0309285) of the sum of chi^2 with one penalty per stretch,
    twice the Bayesian information criterion's share of its coefficients and its end. A lone outlier becomes a stretch.
    """
    n, width = x_NA.shape
    penalty = ((degree + 1) * width + 1) * np.log(max(n * width, 2))
    cost_NN = np.stack([_costs(t_N, x_NA, first, degree) for first in range(n)]) / sigma**2
    best, source = np.zeros(n + 1), np.zeros(n + 1, dtype=int)
    for end in range(1, n + 1):
        # A stretch too short for all coefficients pays for those it has: a lone outlier leaves its neighbours alone.
        missing_N = np.maximum(degree + 1 - (end - np.arange(end)), 0)
        total = best[:end] + cost_NN[:end, end - 1] + penalty - 2 * width * missing_N
        source[end] = int(total.argmin())
        best[end] = total[source[end]]
    stretches, end = [], n
    while end > 0:
        stretches.append((int(source[end]), end))
        end = int(source[end])
    return stretches[::-1]


def _costs(t_N: Floats, x_NA: Floats, first: int, degree: int) -> Floats:
    """Residual sum of squares of the stretches first..last for every last, infinite where last < first."""
    n = len(t_N)
    cost_N = np.full(n, np.inf)
    cost_N[first : first + degree + 1] = 0.0
    if first + degree + 1 >= n:
        return cost_N
    # Counted from the stretch's own start, so that sums of high powers do not cancel.
    t, x_MA = t_N[first:] - t_N[first], x_NA[first:] - x_NA[first]
    powers_MP = np.vander(t / t[-1], degree + 1, increasing=True)
    gram_MPP = np.cumsum(powers_MP[:, :, None] * powers_MP[:, None, :], 0)[degree + 1 :]
    cross_MPA = np.cumsum(powers_MP[:, :, None] * x_MA[:, None, :], 0)[degree + 1 :]
    size_M = (t / t[-1])[degree + 1 :]  # rescales each stretch to length one: else short ones are ill-conditioned
    scale_MP = size_M[:, None] ** -np.arange(degree + 1)
    gram_MPP = gram_MPP * scale_MP[:, :, None] * scale_MP[:, None, :]
    cross_MPA = cross_MPA * scale_MP[:, :, None]
    coef_MPA = np.linalg.solve(gram_MPP, cross_MPA)
    explained_M = (cross_MPA * coef_MPA).sum((1, 2))
    cost_N[first + degree + 1 :] = np.maximum(np.cumsum((x_MA**2).sum(1))[degree + 1 :] - explained_M, 0)
    return cost_N


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """The best place for a step of a path's highest derivative.

    Args:
        time: of the step, in frames.
        size_A: of the step, per frame^degree.
        sigma: standard error of one coordinate of it, enlarged where the fit leaves more over than noise.
        before_A, after_A: the derivative on both sides.
        least_sigma: the smallest standard error that any place had: what could have been told at best.
    """

    time: float
    size_A: Floats
    sigma: float
    before_A: Floats
    after_A: Floats
    least_sigma: float


def derivative_step(t_N: Floats, x_NA: Floats, sigma: float, degree: int, margin: int = 3) -> Step | None:
    """Fits two polynomials that share all but their highest derivative at every place, keeps the clearest step.

    The one-step case of a spline with free knots. None below `2 * margin + 1` samples; `margin` samples lie on each
    side at least.
    """
    if len(t_N) < 2 * margin:
        return None
    origin = float(t_N.mean())
    smooth_NP = np.vander(t_N - origin, degree + 1, increasing=True)
    best, best_z, least = None, -1.0, np.inf
    for knot in (t_N[margin - 1 : len(t_N) - margin] + t_N[margin : len(t_N) - margin + 1]) / 2:
        bent_N = np.maximum(t_N - knot, 0) ** degree / factorial(degree)
        fit = _solve(np.column_stack([smooth_NP, bent_N]), x_NA, sigma, origin)
        error, size_A = float(np.sqrt(fit.cov_PP[-1, -1])), fit.coef_PA[-1]
        least = min(least, error)
        z = float(np.linalg.norm(size_A)) / error
        if z > best_z:
            before_A = factorial(degree) * fit.coef_PA[degree]
            misfit = max(1.0, float(np.sqrt(fit.chi2 / max(fit.dof, 1))))
            best_z, best = z, (float(knot), size_A, error * misfit, before_A)
    assert best is not None
    time, size_A, error, before_A = best
    return Step(
        time=time, size_A=size_A, sigma=error, before_A=before_A, after_A=before_A + size_A, least_sigma=float(least)
    )

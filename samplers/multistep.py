"""UniPC: a predictor-corrector that remembers the last clean predictions.

Zhao et al. 2023, arXiv:2302.04867, B2(h) variant on x0, as Wan's folders name it. The history belongs to the frames it
was made from and is part of the rollout's state: frames 0..T-1 of one block, their last x0 predictions, their levels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vgen.samplers.protocols import FrameSchedule, NoisePolicy
from vgen.samplers.sigmas import SigmaTable
from vgen.samplers.solver import updated
from vgen.samplers.steps import Step

__all__ = ["Multistep"]


NOISIEST = 1 - 1e-6  # at sigma 1 the log-SNR is infinite; stock UniPC tables begin here, Euler tables do not


def _log_snr(sigma: float) -> float:
    if sigma == 0:
        return math.inf
    sigma = min(sigma, NOISIEST)
    return math.log1p(-sigma) - math.log(sigma)


def _phi_terms(h: float, order: int) -> tuple[float, list[float]]:
    """expm1(-h), and the right-hand side b_1..b_order of the UniPC order conditions divided by B(h) = expm1(-h)."""
    b_h = math.expm1(-h)
    terms, phi, factorial = [], b_h / -h - 1, 1
    for i in range(1, order + 1):
        terms.append(phi * factorial / b_h)
        factorial *= i + 1
        phi = phi / -h - 1 / factorial
    return b_h, terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Multistep:
    """UniPC of the given order, with its corrector at every step but the first.

    Args:
        order: predictions used at most; 2 is Wan's.
        lower_order_final: fewer towards the end of a frame's fall, as the published sampler does.
    """

    order: int = 2
    lower_order_final: bool = True

    def refusal(self, schedule: FrameSchedule) -> str | None:
        if schedule.uniform:
            return None
        return "a multistep solver needs all frames of a step at one level: lag 0 or lag = num_steps"

    def __call__(
        self,
        x_BCTHW: Tensor,
        x0_BCTHW: Tensor,
        step: Step,
        table: SigmaTable,
        noise: NoisePolicy,
        history: Mapping[str, Tensor],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        moves = [(at, to) for at, to in zip(step.level_from, step.level_to, strict=True) if at != to]
        level, to = moves[0]  # the same for all: the schedule is uniform
        past = self._past(history, step)
        x_corrected = x_BCTHW if not past else self._correct(past, x0_BCTHW, history, table, level)
        predictions = [x0_BCTHW, *[p for p, _ in past]][: self.order]
        levels = [level, *[lv for _, lv in past]][: self.order]
        order = min(self.order, len(predictions), level if self.lower_order_final else self.order)
        new = self._predict(x_corrected, predictions, levels, table, to, order)
        kept = {
            "frames": torch.tensor([step.frames.start, step.frames.stop]),
            "levels": torch.tensor(levels),
            "order": torch.tensor(order),
            "sample": x_corrected,
        } | {f"x0.{i}": x0 for i, x0 in enumerate(predictions)}
        return updated(x_BCTHW, new, step), kept if to > 0 else {}

    def _past(self, history: Mapping[str, Tensor], step: Step) -> list[tuple[Tensor, int]]:
        """Earlier predictions of these very frames with their levels, latest first."""
        if not history or history["frames"].tolist() != [step.frames.start, step.frames.stop]:
            return []
        return [(history[f"x0.{i}"], int(level)) for i, level in enumerate(history["levels"])]

    def _predict(
        self, x: Tensor, predictions: list[Tensor], levels: list[int], table: SigmaTable, to: int, order: int
    ) -> Tensor:
        """UniP: extrapolates x0 over the last `order` predictions to level `to`."""
        sigma, sigma_to = table.sigmas[levels[0]], table.sigmas[to]
        if sigma_to == 0:
            return predictions[0]  # h is infinite and the order 1: all that is left of x is x0
        lam = _log_snr(sigma)
        h = _log_snr(sigma_to) - lam
        ratios = [(_log_snr(table.sigmas[lv]) - lam) / h for lv in levels[1:order]]
        b_h, b = _phi_terms(h, order)
        rhos = [0.5] if order == 2 else _solve(ratios, b[: order - 1])  # 0.5: the published simplification
        new = (sigma_to / sigma) * x - (1 - sigma_to) * b_h * predictions[0]
        for rho, ratio, earlier in zip(rhos, ratios, predictions[1:], strict=False):
            new = new - (1 - sigma_to) * b_h * rho / ratio * (earlier - predictions[0])
        return new

    def _correct(
        self,
        past: list[tuple[Tensor, int]],
        x0: Tensor,
        history: Mapping[str, Tensor],
        table: SigmaTable,
        level: int,
    ) -> Tensor:
        """UniC: does the last step again, now that x0 at its end is known."""
        order = int(history["order"])
        last_x0, last_level = past[0]
        sigma, sigma_now = table.sigmas[last_level], table.sigmas[level]
        lam = _log_snr(sigma)
        h = _log_snr(sigma_now) - lam
        ratios = [(_log_snr(table.sigmas[lv]) - lam) / h for _, lv in past[1:order]]
        b_h, b = _phi_terms(h, order)
        rhos = [0.5] if order == 1 else _solve([*ratios, 1.0], b)
        sample = (sigma_now / sigma) * history["sample"] - (1 - sigma_now) * b_h * last_x0
        for rho, ratio, (earlier, _) in zip(rhos, ratios, past[1:], strict=False):
            sample = sample - (1 - sigma_now) * b_h * rho / ratio * (earlier - last_x0)
        return sample - (1 - sigma_now) * b_h * rhos[-1] * (x0 - last_x0)


def _solve(ratios: list[float], b: list[float]) -> list[float]:
    """Solves the Vandermonde system sum_j rho_j ratio_j^i = b_i; none for no ratios."""
    if not ratios:
        return []
    powers = torch.tensor([[r**i for r in ratios] for i in range(len(ratios))], dtype=torch.float64)
    return [float(rho) for rho in torch.linalg.solve(powers, torch.tensor(b, dtype=torch.float64))]

"""FoPP: sequences never fall, and are drawn with the probability that the paper's construction gives them."""

import itertools
import math

import pytest
import torch

from vgen.samplers.fopp import draw_rising, log_endings, log_openings, log_pmf


@pytest.mark.parametrize(("frames", "timesteps"), [(1, 5), (3, 4), (9, 1000), (16, 1000)])
def test_never_falls_and_stays_in_range(frames: int, timesteps: int) -> None:
    drawn_BF = draw_rising(200, frames, timesteps, torch.Generator().manual_seed(1))
    assert drawn_BF.shape == (200, frames)
    assert (drawn_BF.diff(dim=1) >= 0).all()
    assert drawn_BF.min() >= 0 and drawn_BF.max() < timesteps


def test_counts_equal_enumeration() -> None:
    timesteps, frames = 4, 3
    rising = [s for s in itertools.product(range(timesteps), repeat=frames) if list(s) == sorted(s)]
    for t, f in itertools.product(range(timesteps), range(frames)):
        openings = {s[: f + 1] for s in rising if s[f] == t}
        endings = {s[f:] for s in rising if s[f] == t}
        assert log_openings(timesteps, frames)[t, f].exp().item() == pytest.approx(len(openings))
        assert log_endings(timesteps, frames)[t, f].exp().item() == pytest.approx(len(endings))


def test_probabilities_sum_to_one_and_match_draws() -> None:
    timesteps, frames, draws = 4, 3, 40_000
    rising = torch.tensor([s for s in itertools.product(range(timesteps), repeat=frames) if list(s) == sorted(s)])
    assert len(rising) == math.comb(timesteps + frames - 1, frames)
    pmf = log_pmf(rising, timesteps).exp()
    assert pmf.sum().item() == pytest.approx(1.0, abs=1e-12)
    drawn_BF = draw_rising(draws, frames, timesteps, torch.Generator().manual_seed(0))
    seen = (drawn_BF[:, None] == rising).all(-1).float().mean(0)
    # four standard deviations of a share at the most common sequence
    assert (seen - pmf).abs().max() < 4 * math.sqrt(pmf.max() / draws)


def test_every_frame_sees_most_levels() -> None:
    drawn_BF = draw_rising(2000, 9, 1000, torch.Generator().manual_seed(2)).float()
    assert (drawn_BF.std(dim=0) > 150).all()

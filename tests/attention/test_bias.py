"""Biases per pair of frames: the rules, and the table that executors take."""

import pytest
import torch

from tests.attention.oracle import draw_qkv, oracle
from vgen.attention.bias import BiasRule, DualScopeBoost, TemporalDecay, frame_bias
from vgen.attention.executors.reference import Reference
from vgen.attention.order import RASTER, TokenOrder
from vgen.attention.pattern import Full
from vgen.attention.planning import block_map
from vgen.errors import ConfigError
from vgen.shapes import TokenGrid

CPU = torch.device("cpu")
QUERY = TokenGrid(frames=(4, 9), height=2, width=3, text_before=2)
KEY = TokenGrid(frames=(0, 4, 8, 9), height=2, width=3, text_before=1, text_after=5)


def test_decay() -> None:
    assert TemporalDecay(0.5)(torch.tensor([4, 9]), torch.tensor([0, 4, 9]), sigma=None).tolist() == [
        [-2, 0, -2.5],
        [-4.5, -2.5, 0],
    ]


@pytest.mark.parametrize(("sigma", "far", "near"), [(0.8, 10, 0), (0.79, 0, 10)])
def test_far_frames_first_and_near_ones_later(sigma: float, far: float, near: float) -> None:
    bias = DualScopeBoost(reach=1)(torch.tensor([4]), torch.tensor([2, 3, 4, 5, 6]), sigma=sigma)
    assert bias.tolist() == [[far, near, near, near, far]]


def test_a_rule_that_switches_asks_for_the_noise_level() -> None:
    with pytest.raises(AssertionError, match="says its noise level"):
        DualScopeBoost()(torch.tensor([0]), torch.tensor([0]), sigma=None)
    with pytest.raises(ConfigError, match="rate=-1"):
        TemporalDecay(-1)


@pytest.mark.parametrize("order", [RASTER, TokenOrder(None, 1, 2)])
@pytest.mark.parametrize("rule", [TemporalDecay(0.3), DualScopeBoost(reach=2, boost=2)])
def test_the_table_gives_what_the_rule_says(rule: BiasRule, order: TokenOrder) -> None:
    q, k, v = draw_qkv(QUERY, KEY)
    bias = frame_bias(rule, QUERY, KEY, order=order, sigma=0.9, device=CPU)
    there, across = order.permutation(QUERY), order.permutation(KEY)
    blocks = block_map(Full(), QUERY, KEY, block=8, order=order, device=CPU)
    out = Reference()(q[:, there], k[:, across], v[:, across], blocks, bias=bias)[:, order.inverse(QUERY)]
    table_TS = rule(torch.tensor(QUERY.frames), torch.tensor(KEY.frames), sigma=0.9)
    wanted = oracle(Full(), QUERY, KEY, q, k, v, bias_TS=table_TS)[0]
    torch.testing.assert_close(out.double(), wanted, atol=2e-6, rtol=0)

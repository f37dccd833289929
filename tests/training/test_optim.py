"""Muon's orthogonalisation, and the optimiser's state."""

import pytest
import torch
from torch import nn

from vgen.training.loop import keyed
from vgen.training.optim import Optimizer, orthogonalised


@pytest.mark.parametrize("shape", [(8, 8), (8, 20), (20, 8)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert values.min() > 0.6 and values.max() < 1.3


def make(seed: int = 0) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(6, 12), nn.SiLU(), nn.Linear(12, 1))
    optimizer = Optimizer(net.named_parameters(), by_adam=("2.weight",), matrix_lr=0.02, lr=0.01, weight_decay=0.0)
    return net, optimizer


def run(net: nn.Module, optimizer: Optimizer, steps: range) -> list[float]:
    losses = []
    for step in steps:
        x = torch.randn(32, 6, generator=keyed(0, "x", step))
        loss = (net(x) - x.prod(dim=1, keepdim=True).tanh() - x[:, :1]).square().mean()
        loss.backward()
        optimizer.step(1.0)
        losses.append(loss.item())
    return losses


def test_loss_falls_and_every_parameter_moves() -> None:
    net, optimizer = make()
    before = [p.detach().clone() for p in net.parameters()]
    losses = run(net, optimizer, range(100))
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert all((a != b).any() for a, b in zip(before, net.parameters(), strict=True))


def test_state_goes_on_to_the_bit() -> None:
    net, optimizer = make()
    run(net, optimizer, range(5))
    other, other_optimizer = make(seed=1)
    other.load_state_dict(net.state_dict())
    other_optimizer.load_state({name: value.clone() for name, value in optimizer.state().items()})
    assert run(net, optimizer, range(5, 10)) == run(other, other_optimizer, range(5, 10))

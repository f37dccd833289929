"""Learning-rate plan, averaging, checkpoints."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vgen.errors import ConfigError
from vgen.training.loop import (
    Learner,
    Plan,
    TrainingRecord,
    keyed,
    load_checkpoint,
    named_parameters,
    save_checkpoint,
)
from vgen.training.optim import Optimizer

PLAN = Plan(minutes=1, steps=20, warmup_steps=4, cooldown=0.5)


def learner() -> Learner:
    torch.manual_seed(0)
    modules: dict[str, nn.Module] = {"net": nn.Linear(3, 2)}
    optimizer = Optimizer(named_parameters(modules), by_adam=(), matrix_lr=0.02, lr=0.01, weight_decay=0.0)
    return Learner(modules, optimizer, average=0.9, step=0, next_index=0)


def advance(held: Learner, steps: int) -> None:
    for _ in range(steps):
        x = torch.randn(4, 3, generator=keyed(0, "x", held.step))
        held.update(held.modules["net"](x).square().mean(), PLAN)


@given(steps=st.integers(0, 40), spent_s=st.floats(0, 200))
def test_rate_stays_in_range_and_ends_at_zero(steps: int, spent_s: float) -> None:
    plan = Plan(minutes=2, warmup_steps=5)
    assert 0 <= plan.scale(steps, spent_s) <= 1
    assert plan.scale(steps, 120.0) == 0.0
    assert plan.done(steps, spent_s) <= plan.done(steps, spent_s + 1)


def test_rate_rises_holds_and_falls() -> None:
    rates = [PLAN.scale(step, 0.0) for step in range(20)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:10] == [1.0] * 6
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[-1] == pytest.approx(0.1)


def test_checkpoint_resumes_to_the_bit(tmp_path: Path) -> None:
    straight = learner()
    advance(straight, 10)
    first = learner()
    advance(first, 4)
    save_checkpoint(tmp_path, first, "recipe")
    second = learner()
    assert load_checkpoint(tmp_path, second, "recipe")
    advance(second, 6)
    for name, weight in straight.optimizer.named.items():
        assert torch.equal(weight, second.optimizer.named[name])
        assert torch.equal(straight.averaged[name], second.averaged[name])
    assert (second.step, second.run_steps) == (10, 10)


def test_a_new_checkpoint_replaces_the_old_one_without_pickle(tmp_path: Path) -> None:
    held = learner()
    for _ in range(2):
        advance(held, 1)
        save_checkpoint(tmp_path, held, "recipe")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state-2.safetensors", "state.json"]


def test_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    assert not load_checkpoint(tmp_path, learner(), "recipe")
    save_checkpoint(tmp_path, learner(), "recipe")
    with pytest.raises(ConfigError, match="another recipe"):
        load_checkpoint(tmp_path, learner(), "changed")


def test_averages_are_in_place_inside_the_block_alone() -> None:
    held = learner()
    advance(held, 3)
    weights = {name: weight.detach().clone() for name, weight in held.optimizer.named.items()}
    averages = {name: value.clone() for name, value in held.averaged.items()}
    with held.average_in_place():
        assert all(torch.equal(averages[name], weight) for name, weight in held.optimizer.named.items())
    assert all(torch.equal(weights[name], weight) for name, weight in held.optimizer.named.items())
    assert any((weights[name] != averages[name]).any() for name in weights)


def test_keyed_draws_depend_on_every_part_of_the_key() -> None:
    def draw(seed: int, purpose: str, step: int) -> float:
        return float(torch.rand((), generator=keyed(seed, purpose, step)))

    assert draw(0, "a", 1) == draw(0, "a", 1)
    assert len({draw(0, "a", 1), draw(1, "a", 1), draw(0, "b", 1), draw(0, "a", 2)}) == 4


def test_record_as_a_line() -> None:
    record = TrainingRecord(stage="vae", step=120, done=0.35, eta_s=730.0, values={"loss": 0.0421})
    assert record.line() == "vae step 120   35% eta 12:10  loss 0.0421"

"""What all stages of training share: the learning-rate plan, averaged weights, checkpoints, records.

A stage is a generator of `TrainingRecord`s over a `Learner`. Random draws are keyed by (seed, purpose, step), so a
checkpoint holds tensors and a few numbers alone, and a resumed run continues to the bit. Checkpoints are safetensors
and JSON, in an ignored folder; what is committed is weights and a small `training.json` (`state.py`).
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vgen.errors import ConfigError
from vgen.training.optim import Optimizer

__all__ = [
    "Learner",
    "Plan",
    "Saving",
    "TrainingRecord",
    "finish",
    "keyed",
    "load_checkpoint",
    "named_parameters",
    "run",
    "save_checkpoint",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """Progress of one stage.

    Args:
        stage: `vae`, `latents`, `dit` or `few-step`.
        step: steps done, over all runs.
        done: share of this run's budget that is spent, 0..1.
        eta_s: expected seconds to the end of the stage.
        values: losses and scores by name.
    """

    stage: str
    step: int
    done: float
    eta_s: float
    values: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """For a log: `vae step 120  35% eta 12:10  loss 0.0421`."""
        minutes, seconds = divmod(round(self.eta_s), 60)
        values = "  ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"{self.stage} step {self.step}  {self.done:4.0%} eta {minutes}:{seconds:02d}  {values}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a run lasts and how its learning rate goes: linear warm-up, constant, linear to zero.

    Args:
        minutes: of training time; counted over resumes from checkpoints.
        steps: steps instead of minutes, where given (repeatable to the bit, unlike a clock).
        warmup_steps: from the start of the run, also one that goes on from weights and has a fresh optimiser.
        cooldown: share of the run over which the rate falls to zero.
    """

    minutes: float
    steps: int | None = None
    warmup_steps: int = 50
    cooldown: float = 0.4

    def done(self, steps: int, spent_s: float) -> float:
        """Share of the budget that is spent after `steps` steps of this run."""
        return min(1.0, steps / self.steps if self.steps is not None else spent_s / (60 * self.minutes))

    def scale(self, steps: int, spent_s: float) -> float:
        """Of the learning rates, for the step after `steps`."""
        falling = min(1.0, (1 - self.done(steps, spent_s)) / self.cooldown) if self.cooldown > 0 else 1.0
        return falling * min(1.0, (steps + 1) / self.warmup_steps)


class Learner:
    """Weights in training, their average, their optimiser, and how far they are.

    Args:
        modules: by name; all their parameters are trained.
        optimizer: over the parameters named `<module>.<parameter>`.
        average: share of the average that one step keeps, once warm.
        step: steps done over all runs.
        run_steps: steps done in this run.
        next_index: of the data.
        spent_s: training time of this run.
    """

    def __init__(
        self, modules: dict[str, nn.Module], optimizer: Optimizer, *, average: float, step: int, next_index: int
    ) -> None:
        self.modules, self.optimizer = modules, optimizer
        self.step, self.next_index = step, next_index
        self.run_steps, self.spent_s = 0, 0.0
        self._keep = average
        self.averaged = {name: p.detach().clone() for name, p in optimizer.named.items()}
        self._clock = time.monotonic()

    def update(self, loss: Tensor, plan: Plan) -> float:
        """One step down the gradient of the loss; returns the gradient's norm."""
        loss.backward()
        norm = self.optimizer.step(plan.scale(self.run_steps, self.spent_s))
        self.step, self.run_steps = self.step + 1, self.run_steps + 1
        # a short memory at first, so that the average does not drag the start along
        keep = min(self._keep, self.run_steps / (self.run_steps + 10))
        with torch.no_grad():
            for name, weight in self.optimizer.named.items():
                self.averaged[name].lerp_(weight, 1 - keep)
        now = time.monotonic()
        self.spent_s, self._clock = self.spent_s + now - self._clock, now
        return norm

    def eta_s(self, plan: Plan) -> float:
        done = plan.done(self.run_steps, self.spent_s)
        return self.spent_s * (1 - done) / done if done > 0 else 60 * plan.minutes

    @contextmanager
    def average_in_place(self) -> Iterator[None]:
        """Inside the block the modules hold the averaged weights."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, weight in self.optimizer.named.items():
            held = weight.detach().clone()
            weight.copy_(self.averaged[name])
            self.averaged[name].copy_(held)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """Where and how often a run is kept and reported.

    Args:
        checkpoints: ignored folder for full checkpoints; one there is continued.
        digest: names the recipe; a checkpoint of another one is refused.
        report_every: steps between records.
        save_every_s: seconds of training between checkpoints, each with a validation.
        save_every: steps between checkpoints too, where given.
        writes: whether this process keeps them; all read them.
    """

    checkpoints: Path
    digest: str
    report_every: int = 20
    save_every_s: float = 180.0
    save_every: int | None = None
    writes: bool = True

    def due(self, run_steps: int, since_s: float) -> bool:
        """Whether a checkpoint is to be written after so many steps, and so long since the last."""
        return since_s > self.save_every_s or (self.save_every is not None and run_steps % self.save_every == 0)


def run(
    stage: str,
    learner: Learner,
    plan: Plan,
    saving: Saving,
    *,
    step: Callable[[], dict[str, float]],
    validate: Callable[[], dict[str, float]],
) -> Iterator[TrainingRecord]:
    """Steps until the plan is done; `finish` belongs after what the caller writes then.

    Args:
        stage: for the records.
        learner: what steps; put where its checkpoint left it, if there is one.
        plan: length of the run.
        saving: checkpoints and records.
        step: makes one update; its values are averaged over the steps of a record.
        validate: scores the averaged weights, which are in place when it is called.
    """
    load_checkpoint(saving.checkpoints, learner, saving.digest)
    saved_s, seen = learner.spent_s, []
    while plan.done(learner.run_steps, learner.spent_s) < 1:
        seen.append(step())
        values: dict[str, float] = {}
        if saving.due(learner.run_steps, learner.spent_s - saved_s):
            if saving.writes:
                save_checkpoint(saving.checkpoints, learner, saving.digest)
            saved_s = learner.spent_s
            with learner.average_in_place():
                values = validate()
        if values or learner.step % saving.report_every == 0:
            values |= {name: sum(one[name] for one in seen) / len(seen) for name in seen[0]}
            seen = []
            done, eta_s = plan.done(learner.run_steps, learner.spent_s), learner.eta_s(plan)
            yield TrainingRecord(stage=stage, step=learner.step, done=done, eta_s=eta_s, values=values)
    if saving.writes:
        save_checkpoint(saving.checkpoints, learner, saving.digest)


def named_parameters(modules: dict[str, nn.Module]) -> list[tuple[str, nn.Parameter]]:
    """Parameters as `<module>.<parameter>`."""
    return [(f"{key}.{name}", p) for key, module in modules.items() for name, p in module.named_parameters()]


def keyed(seed: int, purpose: str, step: int) -> torch.Generator:
    """A CPU generator of its own for each (seed, purpose, step)."""
    key = hashlib.sha256(f"{seed}/{purpose}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(key[:8], "big") >> 1)


def save_checkpoint(folder: Path, learner: Learner, digest: str) -> None:
    """Everything that the next step depends on; an older checkpoint stays valid until the new one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"weight/{n}": p.detach() for n, p in learner.optimizer.named.items()}
    tensors |= {f"average/{n}": t for n, t in learner.averaged.items()}
    tensors |= {f"optimizer/{n}": t for n, t in learner.optimizer.state().items()}
    name = f"state-{learner.step}.safetensors"
    save_file({n: t.contiguous() for n, t in tensors.items()}, folder / name)
    numbers = {
        "file": name,
        "digest": digest,
        "step": learner.step,
        "run_steps": learner.run_steps,
        "next_index": learner.next_index,
        "spent_s": learner.spent_s,
    }
    partial = folder / "state.json.partial"
    partial.write_text(json.dumps(numbers, indent=1))
    partial.replace(folder / "state.json")
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            old.unlink()


def finish(folder: Path) -> None:
    """Drops the checkpoint of a run that is over and whose weights are written: the next run starts from those."""
    (folder / "state.json").unlink()
    for old in folder.glob("state-*.safetensors"):
        old.unlink()


def load_checkpoint(folder: Path, learner: Learner, digest: str) -> bool:
    """Puts a learner where `save_checkpoint` left it; False where there is no checkpoint.

    Raises:
        ConfigError: the checkpoint belongs to another recipe.
    """
    if not (folder / "state.json").is_file():
        return False
    numbers = json.loads((folder / "state.json").read_text())
    if numbers["digest"] != digest:
        raise ConfigError(
            f"{folder} holds a checkpoint of another recipe ({numbers['digest']}, asked for {digest}); "
            "restore the config, or remove the folder to start anew"
        )
    held = load_file(folder / Path(numbers["file"]).name)
    with torch.no_grad():
        for name, weight in learner.optimizer.named.items():
            weight.copy_(held[f"weight/{name}"])
            learner.averaged[name].copy_(held[f"average/{name}"])
    prefix = "optimizer/"
    learner.optimizer.load_state({n.removeprefix(prefix): t for n, t in held.items() if n.startswith(prefix)})
    learner.step, learner.run_steps = numbers["step"], numbers["run_steps"]
    learner.next_index, learner.spent_s = numbers["next_index"], numbers["spent_s"]
    return True

"""Low-rank adaptation of a loaded model to a folder of captioned clips, longer than it was trained on.

The recipe of Radial Attention's length extension (Li et al. 2025, arXiv:2506.19852, section 4.3): a LoRA on the
projections of attention, trained by flow matching at the new length while self-attention runs in the sparse pattern
that it will run in later. LoRA: Hu et al. 2021, arXiv:2106.09685.

Processes, precision and the summing of gradients are accelerate's, the layers are PEFT's, checkpoints are `loop.py`'s.
A draw is keyed by its position in the run, so that processes, accumulation and resumes see the same data.
"""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from diffusers.training_utils import cast_training_params
from peft import LoraConfig
from torch import Tensor, nn

from vgen.attention import VideoAttention
from vgen.errors import ConfigError, ModelError, NumericalError, nearest
from vgen.models.dit import VideoDiT
from vgen.models.loaded import LoadedModel
from vgen.models.lora_file import lora_targets
from vgen.sparsity import AttentionSettings
from vgen.training.config import recipe_digest
from vgen.training.dit import flow_loss
from vgen.training.levels import WAYS, shifted
from vgen.training.loop import Learner, Plan, Saving, TrainingRecord, finish, keyed, run
from vgen.training.optim import Optimizer
from vgen.training.samples import Sample, SampleFile, empty_text, read_sample

__all__ = [
    "LORA_FILE",
    "LoraRecipe",
    "LoraTraining",
    "Outcome",
    "add_lora",
    "expert_of",
    "lora_weights",
    "shift_for",
]

IMAGE_SHARE = 0.2  # of steps with a clean first frame, for models that take one as it
HELD_OUT_LEVELS = 8  # of each held-out window
NAME = "default"
LORA_FILE = "pytorch_lora_weights.safetensors"  # as diffusers calls it


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraRecipe:
    """What decides the weights, beside model, data and attention.

    Args:
        num_frames, height, width, fps: of a training window.
        rank, alpha: of the LoRA; what is learnt counts alpha / rank.
        targets: ends of the names of the layers that get one.
        steps: of the optimiser.
        lr: learning rate after a warm-up of `warmup_steps`.
        accumulate: windows whose gradients are summed for a step, in each process.
        caption_dropout: share of windows without their caption, which guidance needs.
        transformer: 1, or 2 for the second of two experts.
        shift: of the noise levels, as in sampling.
        seed: of all draws.
    """

    num_frames: int
    height: int
    width: int
    fps: int
    rank: int = 128
    alpha: float = 128.0
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    steps: int = 2000
    lr: float = 1e-4
    warmup_steps: int = 50
    accumulate: int = 1
    caption_dropout: float = 0.1
    transformer: int = 1
    shift: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run has reached.

    Args:
        steps: that were made.
        before, after: flow-matching loss of the held-out windows at fixed noise and levels, without and with the LoRA.
        held_out: how many windows that is; 0 where the training windows were taken.
        digest: names recipe, model, data and attention.
    """

    steps: int
    before: float
    after: float
    held_out: int
    digest: str


class _FlowStep(nn.Module):
    """The loss of one window; a module, so that accelerate can put processes and precision around it."""

    def __init__(self, dit: VideoDiT, attention: VideoAttention) -> None:
        super().__init__()
        self.dit, self.attention = dit, attention

    def forward(self, sample: Sample, noise_BCTHW: Tensor, sigma_BT: Tensor) -> Tensor:
        text = self.dit.prepare_text(sample.text_BMD, sample.image_BMD)

        def velocity(x_BCTHW: Tensor, sigma_BT: Tensor, text_BMD: Tensor, *, causal_block: None) -> Tensor:
            if sample.image_BCTHW is not None:
                x_BCTHW = torch.cat((x_BCTHW, sample.image_BCTHW), dim=1)
            highest = float(sigma_BT.max())
            return cast(Tensor, self.dit(x_BCTHW, sigma_BT, text, attention=self.attention, sigma=highest))

        return flow_loss(velocity, sample.x0_BCTHW, noise_BCTHW, sigma_BT, sample.text_BMD, None)


class LoraTraining:
    """One run: iterate for its records, then ask for the outcome and the weights.

    Args:
        model: as loaded; its transformer gets the LoRA.
        accelerator: where it runs, with how many processes, in which precision.
        recipe, attention: what is trained, and under which self-attention.
        train, held_out: encoded windows.
        checkpoints: folder for checkpoints; a run that was killed goes on from there.
        save_every: steps between checkpoints.
        gradient_checkpointing: compute activations twice instead of keeping them.

    Raises:
        ConfigError: targets that no layer has.
        ModelError: a model that was not trained to denoise all frames together.
    """

    def __init__(
        self,
        model: LoadedModel,
        accelerator: Accelerator,
        recipe: LoraRecipe,
        attention: AttentionSettings,
        *,
        train: Sequence[SampleFile],
        held_out: Sequence[SampleFile],
        checkpoints: Path,
        save_every: int = 100,
        gradient_checkpointing: bool = False,
    ) -> None:
        assert train, "there is something to train on"
        self.model, self.recipe, self.accelerator = model, recipe, accelerator
        self.train, self.held_out = tuple(train), tuple(held_out)
        self.dit = expert_of(model, recipe.transformer)
        self.config = add_lora(self.dit, targets=recipe.targets, rank=recipe.rank, alpha=recipe.alpha, seed=recipe.seed)
        if gradient_checkpointing:
            self.dit.enable_gradient_checkpointing()
        self._empty_BMD = empty_text(model)
        layers = len(self.dit.blocks)
        step = _FlowStep(self.dit, attention.build(recipe.steps * recipe.accumulate * layers))
        self._step_module = accelerator.prepare(step)
        named = {name: weight for name, weight in self.dit.named_parameters() if weight.requires_grad}
        optimizer = Optimizer(named.items(), by_adam=("",), matrix_lr=0.0, lr=recipe.lr, weight_decay=0.0)
        self.learner = Learner({"dit": self.dit}, optimizer, average=0.0, step=0, next_index=0)
        data = [file.path.stem for file in (*self.train, *self.held_out)]
        weights = {name: value for name, value in model.digests().items() if name.startswith("transformer")}
        setting = [accelerator.num_processes, len(self.held_out), str(self.dit.patch_embedding.weight.dtype)]
        self.digest = recipe_digest(asdict(recipe), attention.resolved(), data, weights, setting)
        self.plan = Plan(minutes=0, steps=recipe.steps, warmup_steps=recipe.warmup_steps, cooldown=0.0)
        self._place, self._save_every = checkpoints / self.digest, save_every
        self.before: float | None = None

    def __iter__(self) -> Iterator[TrainingRecord]:
        """Trains to the end of the recipe, from a checkpoint where there is one.

        Raises:
            NumericalError: the loss is not finite; names the step.
        """
        self.dit.disable_lora()
        self.before = self.loss()
        self.dit.enable_lora()
        yield TrainingRecord(stage="before", step=0, done=0.0, eta_s=0.0, values={"held_out": self.before})
        main = self.accelerator.is_main_process
        saving = Saving(
            checkpoints=self._place,
            digest=self.digest,
            report_every=max(1, min(20, self.recipe.steps // 10)),
            save_every_s=float("inf"),
            save_every=self._save_every,
            writes=main,
        )
        validate = lambda: {"held_out": self.loss()}  # noqa: E731
        yield from run("lora", self.learner, self.plan, saving, step=self._step, validate=validate)

    def outcome(self) -> Outcome:
        """How far the run has come; the held-out loss is measured now."""
        assert self.before is not None, "a run that was iterated"
        return Outcome(
            steps=self.learner.step,
            before=self.before,
            after=self.loss(),
            held_out=len(self.held_out),
            digest=self.digest,
        )

    def weights(self) -> dict[str, Tensor]:
        """The LoRA by the names that PEFT gives it, in fp32."""
        return lora_weights(self.dit)

    def forget(self) -> None:
        """Drops the checkpoint of a run whose weights are written."""
        if self.accelerator.is_main_process:
            finish(self._place)

    @torch.no_grad()
    def loss(self) -> float:
        """Of the held-out windows at fixed noise and levels; of the training ones where none are held out."""
        losses = []
        for place, file in enumerate(self.held_out or self.train):
            sample = self._on_device(read_sample(file.path, text_length=self._empty_BMD.shape[1]))
            for number in range(HELD_OUT_LEVELS):
                level = torch.tensor((number + 0.5) / HELD_OUT_LEVELS)
                if not self._serves(float(shifted(level, self.recipe.shift))):
                    continue
                noise_BCTHW = torch.randn(sample.x0_BCTHW.shape, generator=keyed(0, "held out", place * 100 + number))
                sigma_BT = shifted(level, self.recipe.shift).expand(1, sample.x0_BCTHW.shape[2])
                losses.append(self._loss(sample, noise_BCTHW, sigma_BT).item())
        assert losses, "an expert serves one of the levels"
        return sum(losses) / len(losses)

    def _step(self) -> dict[str, float]:
        """One step of the optimiser over `accumulate` windows in each process."""
        recipe, accelerator = self.recipe, self.accelerator
        total = 0.0
        for part in range(recipe.accumulate):
            place = (self.learner.step * recipe.accumulate + part) * accelerator.num_processes
            sample, noise_BCTHW, sigma_BT = self._draw(place + accelerator.process_index)
            last = part == recipe.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(self._step_module):
                loss = self._loss(sample, noise_BCTHW, sigma_BT) / recipe.accumulate
                total += loss.item()
                if not torch.isfinite(loss):
                    raise NumericalError(f"the loss of step {self.learner.step} is not finite; try a smaller --lr")
                if not last:
                    loss.backward()
        norm = self.learner.update(loss, self.plan)
        mean = accelerator.reduce(torch.tensor(total, device=accelerator.device), reduction="mean")
        return {"loss": float(mean), "grad": norm}

    def _draw(self, place: int) -> tuple[Sample, Tensor, Tensor]:
        """The window, noise and levels of one place of the run."""
        recipe, total = self.recipe, len(self.train)
        order = torch.randperm(total, generator=keyed(recipe.seed, "order", place // total))
        file = self.train[int(order[place % total])]
        sample = read_sample(file.path, text_length=self._empty_BMD.shape[1])
        generator = keyed(recipe.seed, "window", place)
        drop, image = torch.rand(2, generator=generator).tolist()
        if drop < recipe.caption_dropout:
            sample = Sample(
                x0_BCTHW=sample.x0_BCTHW,
                text_BMD=self._empty_BMD,
                image_BCTHW=sample.image_BCTHW,
                image_BMD=sample.image_BMD,
            )
        frames = sample.x0_BCTHW.shape[2]
        sigma_BT = shifted(WAYS["together"](frames, 1, generator), recipe.shift)[None].clone()
        while not self._serves(float(sigma_BT.max())):
            sigma_BT = shifted(WAYS["together"](frames, 1, generator), recipe.shift)[None].clone()
        if self.model.card.image == "first_latent" and image < IMAGE_SHARE and frames > 1:
            sigma_BT[:, 0] = 0
        return sample, torch.randn(sample.x0_BCTHW.shape, generator=generator), sigma_BT

    def _serves(self, sigma: float) -> bool:
        """Whether the transformer that is trained is the one for a noise level."""
        if self.model.boundary is None:
            return True
        return (sigma >= self.model.boundary) == (self.recipe.transformer == 1)

    def _loss(self, sample: Sample, noise_BCTHW: Tensor, sigma_BT: Tensor) -> Tensor:
        device = self.accelerator.device
        return cast(Tensor, self._step_module(self._on_device(sample), noise_BCTHW.to(device), sigma_BT.to(device)))

    def _on_device(self, sample: Sample) -> Sample:
        device = self.accelerator.device
        image_BCTHW, image_BMD = (
            None if tensor is None else tensor.to(device) for tensor in (sample.image_BCTHW, sample.image_BMD)
        )
        return Sample(
            x0_BCTHW=sample.x0_BCTHW.to(device),
            text_BMD=sample.text_BMD.to(device, self.dit.patch_embedding.weight.dtype),
            image_BCTHW=image_BCTHW,
            image_BMD=None if image_BMD is None else image_BMD.to(self.dit.patch_embedding.weight.dtype),
        )


def expert_of(model: LoadedModel, transformer: int) -> VideoDiT:
    """The transformer that is trained.

    Raises:
        ModelError: the model has no second one, or was not trained to denoise all frames together.
    """
    if "full" not in model.card.samplers:
        raise ModelError(
            f"model '{model.id}' was trained for {', '.join(model.card.samplers)} sampling; a LoRA is trained on one "
            "that denoises all frames together (full)"
        )
    if transformer == 1:
        return model.dit
    if model.dit_2 is None:
        raise ModelError(f"model '{model.id}' has one transformer; leave --transformer out")
    return model.dit_2


def shift_for(model: LoadedModel, *, height: int, width: int) -> float:
    """The flow shift that sampling would use at a size."""
    from vgen.models.schedulers import shift_of

    named = model.card.shift_for(height=height, width=width)
    return shift_of(model.scheduler) if named is None else named


def add_lora(dit: VideoDiT, *, targets: Sequence[str], rank: int, alpha: float, seed: int) -> dict[str, Any]:
    """Puts a fresh LoRA on, which changes nothing yet and alone has gradients; returns its PEFT config, for the file.

    Args:
        dit: transformer.
        targets: ends of the names of the layers in its blocks that get one.
        rank, alpha: what is learnt counts alpha / rank.
        seed: of the fresh weights.

    Raises:
        ConfigError: targets that no layer has.
    """
    layers = [name for name in lora_targets(dit) if name.startswith("blocks.")]
    for target in targets:
        if not any(name.endswith(f".{target}") for name in layers):
            ends = {name.split(".", 3)[3] for name in layers}
            raise ConfigError(f"no layer of the model is called '{target}'; {nearest(target, ends)}")
    chosen = [name for name in layers if name.endswith(tuple(f".{target}" for target in targets))]
    dit.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=rank, lora_alpha=cast(int, alpha), target_modules=chosen)
        dit.add_adapter(config, adapter_name=NAME)
    cast_training_params(dit, dtype=torch.float32)
    return {"r": rank, "lora_alpha": alpha, "target_modules": chosen}


def lora_weights(dit: VideoDiT) -> dict[str, Tensor]:
    """The LoRA that `add_lora` put on, by the names that PEFT gives it, in fp32."""
    from peft import get_peft_model_state_dict

    state = get_peft_model_state_dict(dit, adapter_name=NAME)
    return {name: tensor.detach().float().cpu().contiguous() for name, tensor in state.items()}

"""A `Wiring`: from a job and a model's weights to the `Rollout` that makes the clip.

Here each transformer gets its prompts, guidance, attention and step cache, and the rollout its noise, memory and known
latents. What the parts do is theirs, and what becomes of the frames is the business of `vgen/run.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vgen.attention import VideoAttention
from vgen.clipwise import cut_of
from vgen.job import Job
from vgen.ladder import Fitted, Ladder, OnDevice
from vgen.models.cache import KVCache
from vgen.models.conditioning import Conditions, read_conditions
from vgen.models.denoiser import TextBook, WanDenoiser
from vgen.models.dit import VideoDiT
from vgen.models.loaded import LoadedModel
from vgen.models.rope import Riflex, Rope, intrinsic_frequency
from vgen.models.step_cache import StepCache
from vgen.models.vae import as_pixels, encode_frames
from vgen.parallel.clips import ClipDenoiser
from vgen.parallel.guidance import SplitGuided
from vgen.parallel.mesh import Mesh
from vgen.parallel.ulysses import Ulysses
from vgen.rolling import in_windows, over_experts, rollout_over
from vgen.samplers import GivenNoise, Guided, NoisePolicy, NoiseSource, RedrawnNoise, Rollout, redraw

__all__ = ["Wiring"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """What a rollout is put together from.

    Args:
        model: what denoises, encodes and decodes.
        job: what is made.
        ladder: what each step runs under.
        attention: of the transformers' self-attention.
        step_caches: of those transformers that have one.
        initial_CTHW: initial latents in place of the seed's.
        mesh: the processes that make the clip together.
    """

    model: LoadedModel
    job: Job
    ladder: Ladder
    attention: VideoAttention
    step_caches: Sequence[StepCache]
    initial_CTHW: Tensor | None
    mesh: Mesh

    @torch.no_grad()
    def rollout(self) -> tuple[Rollout[Any], Any]:
        """The sampler's axes, wired to the model, and the empty memory that it fills."""
        job, model, read = self.job, self.model, self.conditions()

        def expert(part: str, scale: float) -> Any:
            dit = model.dit if part == "transformer" else model.dit_2
            assert dit is not None, f"no {part} to guide"
            return self._expert(part, dit, scale, read)

        one_branch = self.mesh.size("cfg") > 1
        denoise, context = over_experts(job, model.boundary, expert, self._context, one_branch=one_branch)
        if self.mesh.size("clips") > 1:
            peers = self.mesh.along("clips")
            denoise = ClipDenoiser(denoise=denoise, cut=cut_of(job, peers.size), peers=peers)
        noise = self.noise(0)
        rollout = rollout_over(
            job,
            Fitted(denoise=in_windows(job, denoise, noise, job.latent_shape), ladder=self.ladder),
            noise,
            shape=job.latent_shape,
            known_CTHW=self.known_latents(),
            device=model.device,
        )
        return rollout, context

    def noise(self, draw: int) -> NoisePolicy:
        """The noise of a draw; 0 is the seed's own."""
        sampling, source = self.job.sampling, NoiseSource(self.job.seed)
        if draw:
            return RedrawnNoise(sampling.noise(source), sampling.noise(redraw(source, draw)))
        return sampling.noise(source) if self.initial_CTHW is None else GivenNoise(self.initial_CTHW, source)

    def known_latents(self) -> Tensor | None:
        """Of the image, or of the end of a clip that is gone on from."""
        job = self.job
        if not job.known:
            return None
        if job.image_YX3 is not None:
            return self._encoded(job.image_YX3[None])
        assert job.base is not None, "what is known is an image or a clip"
        per_latent = self.model.vae.config.scale_factor_temporal
        return self._encoded(job.base.frames[-(1 + per_latent * (job.known - 1)) :])

    def conditions(self) -> Conditions:
        """What the denoisers read: each text and image encoded once."""
        job = self.job

        def step() -> Conditions:
            return read_conditions(
                self.model,
                prompts=(*job.prompts, job.negative_prompt) if job.guided else job.prompts,
                images_YX3=[image for image in (job.image_YX3, job.last_image_YX3) if image is not None],
                num_frames=job.num_frames,
            )

        return self.ladder.attempt("text", step)

    def _expert(self, part: str, dit: VideoDiT, scale: float, read: Conditions) -> Any:
        """One transformer with the job's prompts, guided where the scale asks for it."""
        job = self.job
        branches = {"cond": job.prompts, "uncond": (job.negative_prompt,) * len(job.prompts)}
        denoise: Any
        if scale > 1 and self.mesh.size("cfg") > 1:
            own = ("cond", "uncond")[self.mesh.index("cfg")]
            branch = self._denoiser(dit, branches[own], own, read)
            denoise = SplitGuided(branch=branch, scale=scale, peers=self.mesh.along("cfg"))
        elif scale > 1:
            cond, uncond = (self._denoiser(dit, prompts, branch, read) for branch, prompts in branches.items())
            denoise = Guided(cond=cond, uncond=uncond, scale=scale)
        else:
            denoise = self._denoiser(dit, job.prompts, "cond", read)
        return OnDevice(denoise=denoise, residence=self.model.residence, part=part)

    def _denoiser(self, dit: VideoDiT, prompts: tuple[str, ...], branch: str, read: Conditions) -> WanDenoiser:
        sampling = self.job.sampling
        riflex = None
        if sampling.repeat is not None:
            k, _ = intrinsic_frequency(sampling.repeat, dit.config.attention_head_dim)
            riflex = Riflex(k=k, length=sampling.reach)
        return WanDenoiser(
            dit=dit,
            texts=TextBook(dit, [read.states[prompt] for prompt in prompts], image_BMD=read.image_BMD),
            attention=self.attention,
            rope=Rope(positions=sampling.positions, riflex=riflex),
            causal_block=sampling.causal_block,
            image_CTHW=read.image_CTHW,
            cache=next((cache.branch(branch) for cache in self.step_caches if cache.dit is dit), None),
            shards=Ulysses(self.mesh.along("ulysses")) if self.mesh.size("ulysses") > 1 else None,
        )

    def _context(self) -> KVCache | None:
        sampling, layers = self.job.sampling, self.model.dit.config.num_layers
        room, turned = sampling.cache_frames, sampling.positions is None
        return KVCache(layers=layers, capacity=room, turned=turned) if room else None

    def _encoded(self, frames_FYX3: NDArray[np.uint8]) -> Tensor:
        vae = self.model.vae

        def step() -> Tensor:
            self.model.residence.use("vae")
            return encode_frames(vae, as_pixels(vae, frames_FYX3))[0]

        # what one device makes of pixels another may make a little differently
        return self.mesh.together.from_first(self.ladder.attempt("encode", step).contiguous())

"""`VideoPipeline`: a prompt or an image in, a clip out; the only place that knows all parts."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, Self, TypeAlias, TypeVar

import torch
from torch import Tensor

from vgen.attention import VideoAttention
from vgen.attention.kernels import check_kernel
from vgen.clip import Clip, clip_of
from vgen.clipwise import in_clips
from vgen.config import merge
from vgen.errors import ConfigError
from vgen.frames import Frames
from vgen.images import ImageSource, LoadedImage, load_image
from vgen.job import Job, resolve
from vgen.machine import pick_dtype
from vgen.models.download import download as fetch_files
from vgen.models.download import offer, wanted
from vgen.models.folder import EMBEDDED
from vgen.models.load import load_model, load_skeleton
from vgen.models.loaded import AnyModel, LoadedModel, own_model
from vgen.models.lora_file import open_loras
from vgen.models.lora_request import LoraRequest, LoraSource, lora_request
from vgen.models.quantization import Quantization
from vgen.models.stock.model import StockModel
from vgen.parallel.degrees import Work, choose_degrees
from vgen.parallel.mesh import Mesh, World
from vgen.parallel.weights import SharedWeights
from vgen.performance import fit, rungs_of, tiling_note
from vgen.run import Event, Run
from vgen.samplers import Verifier
from vgen.schema import MAX_SEED, GenerateConfig, ParallelConfig, PerformanceConfig
from vgen.search import AnyRun, BestOf, JudgeVerifier, OneRun, prompt_of, rule_sets
from vgen.speed import SPEEDS, Speed, speed_of
from vgen.spread import device_of, free_share_mib, placed, seeded, stock_work, work_of
from vgen.stock.start import start_stock

__all__ = ["Event", "Run", "Story", "VideoPipeline"]

Story: TypeAlias = Sequence[tuple[float, str]]  # when, in seconds, and what
_Group = TypeVar("_Group", PerformanceConfig, ParallelConfig)


class VideoPipeline:
    """Makes clips with one model.

    Args:
        model: as loaded.
        performance: where its weights may be kept.
        parallel: how the processes of `world` share a clip.
        world: those that were started together; this one alone where None.
    """

    def __init__(
        self,
        model: AnyModel,
        performance: PerformanceConfig | None = None,
        parallel: ParallelConfig | None = None,
        world: World | None = None,
    ) -> None:
        self.model = model
        self.performance = PerformanceConfig() if performance is None else performance
        self.parallel = ParallelConfig() if parallel is None else parallel
        self.world = World() if world is None else world
        self.room_mib: float | None = None

    @classmethod
    def from_pretrained(
        cls,
        model: str | Path = EMBEDDED,
        *,
        device: str = "auto",
        dtype: str = "auto",
        download: bool = False,
        performance: PerformanceConfig | str = "auto",
        lora: Sequence[LoraSource] = (),
        quantization: str | None = None,
        gguf: Sequence[str | Path] | None = None,
        parallel: ParallelConfig | str | None = None,
    ) -> Self:
        """Loads a model.

        Args:
            model: `playground`, the one that comes with the package; a folder in diffusers format; or a model of the
                Hugging Face hub, `ORG/NAME[@REVISION]`; behind it `:VARIANT` for a variant of the model.
            device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
            dtype: `auto` (float32 on a CPU, bfloat16 elsewhere), `float32`, `bfloat16` or `float16`.
            download: fetch a model of the hub where its cache does not hold it whole; nothing is fetched otherwise.
            performance: `auto` keeps all weights on the device where they fit, `speed` always, `memory` as few as
                possible; or with settings of its own, `PerformanceConfig(mode="manual", offload="model")`.
            lora: LoRA files, `PATH[@SCALE]` or {path, scale, transformer} each; a hub id has to be in the cache.
            quantization: keeps the transformer's weights in fewer bits: `int8wo`, `int8dq`, `fp8wo` or `fp8dq`.
            gguf: files with the transformer's weights, in place of the folder's; of two transformers that for high
                noise first.

        Raises:
            ModelError: the model or a LoRA cannot be loaded; the message says why and what to do.
            ConfigError, ResourceError: device or dtype are unknown or absent, or the disk is too full.
        """
        where, world, shared = placed(device, parallel)
        kept = Quantization.of(quantization, gguf)
        asked = wanted(str(model)) if download else None
        if asked is not None:
            fetch_files(offer(asked))
        asks = performance if isinstance(performance, PerformanceConfig) else PerformanceConfig(mode=performance)
        config, _ = merge(("from_pretrained", {f"performance.{name}": value for name, value in asdict(asks).items()}))
        shares = SharedWeights(peers=world.peers, device=where) if shared.fsdp and world.size > 1 else None
        rungs = rungs_of(config.performance, kept, shared=shares is not None)
        loaded = load_model(
            str(model),
            device=where,
            dtype=pick_dtype(dtype, where),
            free_mib=free_share_mib(world, where),
            rungs=rungs,
            lora=[lora_request(source) for source in lora],
            quantization=kept,
            shares=shares,
        )
        return cls(loaded, config.performance, shared, world)

    @classmethod
    def without_weights(
        cls,
        model: str | Path,
        *,
        device: str | torch.device,
        dtype: str,
        performance: PerformanceConfig,
        lora: Sequence[LoraSource] = (),
        quantization: str | None = None,
        gguf: Sequence[str | Path] | None = None,
        room_mib: float | None = None,
        parallel: ParallelConfig | None = None,
        processes: int | None = None,
    ) -> Self:
        """As `from_pretrained`, from configs alone: its runs say what they would take, and cannot be run.

        Args:
            model, dtype, performance, lora, quantization, gguf, parallel: as of `from_pretrained`.
            device: a name, or the device of another machine.
            room_mib: what that has free; None for this one.
            processes: that would share it; those that do where None.

        Raises:
            ModelError, ConfigError, ResourceError: as `from_pretrained`.
        """
        where, world, shared = placed(device, parallel)
        world = world if processes is None else World(device=where, foreseen=processes)
        skeleton = load_skeleton(
            str(model),
            device=where,
            dtype=pick_dtype(dtype, where),
            lora=[lora_request(source) for source in lora],
            quantization=Quantization.of(quantization, gguf),
            ranks=world.size if shared.fsdp else 1,
        )
        planner = cls(skeleton, performance, shared, world)
        planner.room_mib = room_mib
        return planner

    def load_lora(self, *lora: LoraSource) -> None:
        """Puts LoRA on the model, beside those that are, each `PATH[@SCALE]` or {path, scale, transformer}.

        Raises:
            ModelError: a file is damaged, or does not fit the model; nothing is put on then.
            ConfigError: a scale that is not possible, those that are on are fused, or weights are offloaded.
        """
        model, requests = self._changing(), [lora_request(source) for source in lora]
        experts = [expert for expert in (model.dit, model.dit_2) if expert is not None]
        model.adapters.add(open_loras(requests, experts, model.id))

    def fuse_lora(self) -> None:
        """Merges the LoRA into the weights: as fast as without them, and equal within rounding.

        Raises:
            ConfigError: there are none, they are fused already, or the weights are quantised or offloaded.
        """
        self._changing().adapters.fuse()

    def unfuse_lora(self) -> None:
        """Takes the LoRA out of the weights again, which are then to the bit what they were.

        Raises:
            ConfigError: they are not fused, or weights are offloaded.
        """
        self._changing().adapters.unfuse()

    def unload_lora(self) -> None:
        """Takes all LoRA off; the weights are to the bit what they were.

        Raises:
            ConfigError: there are none, or weights are offloaded.
        """
        self._changing().adapters.remove()

    @property
    def device(self) -> torch.device:
        """Where the transformer runs."""
        return self.model.device

    @property
    def free_mib(self) -> float:
        """Memory that a run may still take of the device."""
        return free_share_mib(self.world, self.device) if self.room_mib is None else self.room_mib

    @property
    def dtype(self) -> torch.dtype:
        """In which precision the transformer runs."""
        return self.model.dit.dtype

    def __call__(
        self,
        prompt: str | Story,
        image: "ImageSource | None" = None,
        *,
        last_image: "ImageSource | None" = None,
        extend: "Clip | str | Path | None" = None,
        seconds: float | None = None,
        num_frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        fit: str | None = None,
        fps: int | None = None,
        seed: int | None = None,
        negative_prompt: str | None = None,
        guidance_scale: float | None = None,
        guidance_scale_2: float | None = None,
        guidance_interval: Sequence[float] | None = None,
        flow_shift: float | None = None,
        num_inference_steps: int | None = None,
        sampler: str | Mapping[str, Any] | None = None,
        attention: str | Mapping[str, Any] | None = None,
        step_cache: str | Mapping[str, Any] | None = None,
        best_of: int | None = None,
        redo: int | None = None,
    ) -> Clip:
        """One clip. What is not said, the model card decides.

        Main arguments:
            prompt: what should be seen; or what when, in seconds: `[(0, "a red ball rolls"), (4, "a cube falls")]`.
            image: the first frame: a path, a PIL image, uint8 [Y, X, 3], or a float tensor [3, Y, X] in 0..1.
            seconds, num_frames: the length, one or the other; rounded up to what the VAE and the sampler allow.
            seed: the same seed gives the same frames.

        Other arguments:
            last_image: the last frame, for models that take one.
            extend: a clip to go on from; the new one begins with it, and the length counts what is added.
            height, width: pixels, multiples of the model's grid.
            fit: how an image of another shape is fitted: `crop`, `pad` or `stretch`.
            fps: frames per second of the clip.
            negative_prompt: what should not be seen; needs guidance above 1.
            guidance_scale: weight of the prompt; 1 and below turn guidance off.
            guidance_scale_2: the same for the second transformer of a model with two.
            guidance_interval: noise levels [low, high] within which guidance works; the second branch runs only there.
            flow_shift: how far the steps are shifted towards noise; the card's for this size, or the folder's.
            num_inference_steps: steps of the sampler.
            sampler: a preset of `configs/sampler`; or with its options, `{"name": "streaming", "window": 9}`.
            attention: a pattern or preset, as `radial`; or with its knobs, `{"name": "radial", "decay": 0.3}`.
            step_cache: skips blocks between steps: `first-block`; or with its knobs,
                `{"name": "first-block", "threshold": 0.1}`.
            best_of: makes so many clips, from this seed on, and returns the one that the judge likes best.
            redo: makes a clip that breaks a law anew from before that, for so many clips' worth of steps at most.

        Raises:
            VgenError: one of its children, with one line that says what is possible.
        """
        values = {
            "request.seconds": seconds,
            "request.num_frames": num_frames,
            "request.height": height,
            "request.width": width,
            "request.fit": fit,
            "request.fps": fps,
            "request.seed": seed,
            "request.negative_prompt": negative_prompt,
            "request.guidance_scale": guidance_scale,
            "request.guidance_scale_2": guidance_scale_2,
            "request.guidance_interval": None if guidance_interval is None else list(guidance_interval),
            "request.flow_shift": flow_shift,
            "request.num_inference_steps": num_inference_steps,
            "search.best_of": best_of,
            "search.redo": redo,
        }
        asked = _words(prompt) | values | _group("sampler", sampler) | _group("attention", attention)
        asked |= _group("step_cache", step_cache)
        return self.begin(*merge(("call", asked)), image, base=extend, last_image=last_image).clip()

    def stream(
        self,
        prompt: str | Story,
        image: "ImageSource | None" = None,
        *,
        last_image: "ImageSource | None" = None,
        extend: "Clip | str | Path | None" = None,
        seconds: float | None = None,
        num_frames: int | None = None,
        seed: int | None = None,
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        sampler: str | Mapping[str, Any] = "streaming",
    ) -> Generator[Frames, None, None]:
        """Chunks of finished frames, uint8 [F, Y, X, 3], as the sampler finishes them; leave the loop to stop.

        Args:
            prompt, image, last_image, ...: as in `__call__`; `start` takes everything else.
        """
        values = {
            "request.seconds": seconds,
            "request.num_frames": num_frames,
            "request.seed": seed,
            "request.guidance_scale": guidance_scale,
            "request.num_inference_steps": num_inference_steps,
        }
        asked = _words(prompt) | values | _group("sampler", sampler)
        for event in self.start(*merge(("call", asked)), image, base=extend, last_image=last_image):
            if event.frames_FYX3 is not None:
                yield event.frames_FYX3

    def begin(
        self,
        config: GenerateConfig,
        said: list[str],
        image: "ImageSource | None" = None,
        *,
        base: "Clip | str | Path | None" = None,
        last_image: "ImageSource | None" = None,
        clips: int = 1,
    ) -> AnyRun:
        """What serves a request: one run, or several of which the best is kept. Arguments as of `start`.

        Raises:
            VgenError: the request cannot be served.
        """
        first = self.start(config, said, image, base=base, last_image=last_image, clips=clips)
        search = config.search
        if search.best_of == 1:
            return first
        seeds = range(first.job.seed, first.job.seed + search.best_of)
        if seeds[-1] > MAX_SEED:
            raise ConfigError(f"seed={seeds[0]} leaves no seeds for best_of={search.best_of}; seeds end at {MAX_SEED}")

        def run(seed: int) -> OneRun:
            if seed == first.job.seed:
                return first
            one = replace(config, request=replace(config.request, seed=seed))
            told = sorted({*said, "request.seed"})
            return self.start(one, told, image, base=base, last_image=last_image, clips=clips)

        return BestOf(run, seeds, sets=rule_sets(search.rules), prune=search.prune or ())

    def start(
        self,
        config: GenerateConfig,
        said: list[str],
        image: "ImageSource | None" = None,
        *,
        base: "Clip | str | Path | None" = None,
        last_image: "ImageSource | None" = None,
        initial_CTHW: Tensor | None = None,
        attention: VideoAttention | None = None,
        draws: tuple[int, ...] | None = None,
        clips: int = 1,
    ) -> OneRun:
        """A run that has checked everything and done nothing yet.

        Args:
            config, said: as `vgen.config.merge` returns them. What they say of model, device, dtype and stored weights
                must agree with this pipeline.
            image: the first frame; `config.request.image` where None.
            base: a clip to go on from; `config.request.extend` where None.
            last_image: the last frame; `config.request.last_image` where None.
            initial_CTHW: initial latents in place of the seed's, for comparison with other engines.
            attention: in place of the config's, for comparisons; such a run's record cannot be replayed.
            draws: as `Run` takes them.
            clips: that are asked for together, which several processes share out.

        Raises:
            VgenError: the request cannot be served.
        """
        self._check_same(config, said)
        config = seeded(config, self.world)
        loaded = _loaded(config.request.image if image is None else image)
        last = _loaded(config.request.last_image if last_image is None else last_image)
        before = config.request.extend if base is None else base
        if isinstance(self.model, StockModel):
            faster = {name: getattr(self.performance, name) for name in SPEEDS if getattr(self.performance, name)}
            return start_stock(
                self.model,
                replace(config, performance=replace(config.performance, **faster)),
                said,
                image=loaded,
                last_image=last,
                base=before,
                initial_CTHW=initial_CTHW,
                attention=attention,
                draws=draws,
                mesh=self._mesh(config, said, stock_work(self.model, clips)),
            )
        extended = before if isinstance(before, Clip) or before is None else Clip.read(clip_of(before))
        first_YX3, last_YX3 = (None if picture is None else picture.pixels_YX3 for picture in (loaded, last))
        job = resolve(config, said, self.model, first_YX3, extended, last_YX3)
        if self.room_mib is None:
            check_kernel(job.attention.sdpa, self.device, self.dtype, self.model.dit.config.attention_head_dim)
        mesh = self._mesh(config, said, work_of(job, self.model, clips))
        job = in_clips(job, said, mesh.size("clips"))
        if attention is not None and mesh.size("ulysses") * mesh.size("clips") > 1:
            raise ConfigError(
                "an attention of one's own has all heads and frames, and processes share them; leave ulysses and clips "
                "out"
            )
        what = f"{job.num_frames} frames of {job.width}x{job.height}"
        performance = _over(self.performance, config.performance, said, "performance")
        fitted = fit(job, self.model, performance, self.free_mib, what, mesh.degrees)
        speed = Speed()
        if self.room_mib is None:  # what another machine can do is not known here
            speed = speed_of(performance, self.model, job, fitted.rungs[0], mesh.degrees)
        if speed.graphs is not None:  # recordings know where weights are
            fitted = replace(fitted, rungs=tuple(rung for rung in fitted.rungs if rung.offload == "none"))
        placement = fitted.rungs[0]
        notes = (
            *self.model.adapters.notes,
            *(note for picture in (loaded, last) if picture is not None for note in picture.notes),
            *job.notes,
            *tiling_note(job, self.model, placement),
            *(() if placement.offload == "none" and placement.keep_text_encoder else (fitted.why,)),
        )
        return Run(
            self.model,
            config=config,
            said=said,
            job=job,
            fit=fitted,
            notes=notes,
            initial_CTHW=initial_CTHW,
            attention=attention,
            verifier=_verifier(job, self.model) if job.search.redo and draws is None else None,
            draws=draws,
            speed=speed,
            mesh=mesh,
        )

    def _mesh(self, config: GenerateConfig, said: list[str], work: Work) -> Mesh:
        """How the processes share a clip."""
        asked = _over(self.parallel, config.parallel, said, "parallel")
        return Mesh(self.world, choose_degrees(asked, self.world.size, work))

    def _changing(self) -> LoadedModel:
        """The model, whose weights are about to be changed by a LoRA."""
        model = own_model(self.model)
        model.residence.weights_change()
        return model

    def _check_same(self, config: GenerateConfig, said: list[str]) -> None:
        """A config may repeat what this pipeline is, and nothing else."""
        ours: dict[str, tuple[Any, Any]] = {
            "model.id": (config.model.id, self.model.id),
            "run.device": (device_of(config.run.device, self.world), self.device),
            "run.dtype": (pick_dtype(config.run.dtype, self.device), self.dtype),
            "performance.storage": (config.performance.storage, self.performance.storage),
            "parallel.fsdp": (bool(config.parallel.fsdp), bool(self.parallel.fsdp)),
            "model.lora": (
                _by_transformer(map(lora_request, config.model.lora or ())),
                _by_transformer(() if isinstance(self.model, StockModel) else self.model.adapters.requests),
            ),
        }
        kept = self.model.quantization
        files = None if kept is None or not kept.files else [str(file) for file in kept.files]
        ours["model.gguf"] = (config.model.gguf, files)
        ours["model.quantization"] = (config.model.quantization, None if kept is None or files else kept.scheme)
        for key, (asked, is_) in ours.items():
            if key in said and asked != is_:
                raise ConfigError(f"{key}: asked for {asked}, this pipeline was loaded with {is_}; load another")


def _by_transformer(requests: Iterable[LoraRequest]) -> list[LoraRequest]:
    """LoRA in the order in which they act: they add up in each transformer."""
    return sorted(requests, key=attrgetter("transformer"))


def _loaded(source: "ImageSource | None") -> LoadedImage | None:
    return None if source is None else load_image(source)


def _over(own: _Group, asked: _Group, said: list[str], group: str) -> _Group:
    """What a pipeline was loaded with, but for what a request says itself."""
    names = [key.partition(".")[2] for key in said if key.startswith(f"{group}.")]
    return replace(own, **{name: getattr(asked, name) for name in names})


def _verifier(job: Job, model: LoadedModel) -> Verifier[Any]:
    """The judge, as it looks at pieces of a clip."""
    return JudgeVerifier(
        model.vae,
        fps=float(job.fps),
        frames=job.frames,
        rules=rule_sets(job.search.rules).select,
        prompt=prompt_of(job, model),
    )


def _words(prompt: str | Story) -> dict[str, Any]:
    """What should be seen, as config keys."""
    if isinstance(prompt, str):
        return {"request.prompt": prompt}
    return {"request.story": [{"at": at, "prompt": words} for at, words in prompt]}


def _group(name: str, given: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """A name, or a name with options, as config keys."""
    options = {"name": given} if isinstance(given, str) else given or {}
    return {f"{name}.{option}": value for option, value in options.items()}

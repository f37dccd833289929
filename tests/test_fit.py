"""Placements change where weights are and never a bit of what comes out; and what is chosen, refused and recorded.

On a CPU weights rest in files, and are NaN meanwhile, so that a component which runs without its weights cannot go
unnoticed.
"""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.hooks import apply_group_offloading
from torch import nn

import vgen.spread as spread_module
from tests.folders import tiny_folder
from tests.models.tiny import latents, tiny_dit, words
from vgen.cli import _run
from vgen.config import merge
from vgen.errors import ConfigError, ResourceError
from vgen.models.cache import KVCache
from vgen.models.load import load_model
from vgen.models.loaded import own_model
from vgen.models.residence import Residence
from vgen.performance import fit, rungs_of
from vgen.pipeline import VideoPipeline
from vgen.placement import ENCODERS, Placement, weights_on_device
from vgen.plan import plan_of
from vgen.run import Run
from vgen.schema import PerformanceConfig

PARTS = ("text_encoder", "transformer", "vae")
OFFLOADED = [
    PerformanceConfig(mode="manual", offload="model"),
    PerformanceConfig(mode="manual", offload="group"),
    PerformanceConfig(mode="manual", offload="group", keep_text_encoder=False),
    PerformanceConfig(mode="manual", offload="none", keep_text_encoder=False),
]
IDS = ["model", "group", "group-free", "free"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"), layout="playground")


@pytest.fixture(scope="module")
def module_pipeline(folder: Path) -> VideoPipeline:
    return VideoPipeline.from_pretrained(folder, device="cpu")


@pytest.fixture
def pipeline(module_pipeline: VideoPipeline) -> Iterator[VideoPipeline]:
    yield module_pipeline
    module_pipeline.performance = PerformanceConfig()
    own_model(module_pipeline.model).residence.settle(Placement())
    own_model(module_pipeline.model)._states.clear()


def start(pipeline: VideoPipeline, performance: PerformanceConfig | None = None, **values: object) -> Run:
    pipeline.performance = PerformanceConfig() if performance is None else performance
    keys: dict[str, Any] = {"request.prompt": "a red ball", "request.seed": 1, "request.num_frames": 9}
    keys |= {key.replace("__", "."): value for key, value in values.items()}
    run = pipeline.start(*merge(("test", keys)))
    assert isinstance(run, Run)
    return run


@pytest.mark.parametrize("performance", OFFLOADED, ids=IDS)
@pytest.mark.parametrize("sampler", ["full", "causal"])
def test_frames_are_equal_bit_for_bit_under_every_placement(
    pipeline: VideoPipeline, performance: PerformanceConfig, sampler: str
) -> None:
    asked: dict[str, Any] = {"sampler__name": sampler, "request__guidance_scale": 3.0}
    usual = start(pipeline, **asked).clip()
    run = start(pipeline, performance, **asked)
    assert run.clip().sha256() == usual.sha256()
    assert run.record()["performance"]["rungs_taken"] == []
    at = {part: own_model(pipeline.model).residence.where(part) for part in PARTS}
    encoder = "dropped" if performance.keep_text_encoder is not None else "at rest"
    transformer = {"none": "on the device", "model": "at rest", "group": "streamed"}[performance.offload or "none"]
    assert at == {"text_encoder": encoder, "transformer": transformer, "vae": "on the device"}


def test_going_from_placement_to_placement_loses_nothing(pipeline: VideoPipeline) -> None:
    before = {name: value.clone() for name, value in pipeline.model.dit.state_dict().items()}
    residence = own_model(pipeline.model).residence
    placements = [Placement(offload=name) for name in ("group", "model", "none", "model", "group", "none")]
    for placement in placements:
        residence.settle(placement)
        residence.use("transformer")
    after = pipeline.model.dit.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_diffusers_group_offload_finds_the_blocks_and_the_texts_keys(tmp_path: Path) -> None:
    """What a GPU gets, here through diffusers' files."""
    usual, placed = tiny_dit(), tiny_dit()
    apply_group_offloading(
        placed,
        onload_device=torch.device("cpu"),
        offload_type="block_level",
        num_blocks_per_group=1,
        offload_to_disk_path=str(tmp_path),
    )
    for module in placed.modules():
        registry = getattr(module, "_diffusers_hook", None)
        for tensor in [] if registry is None else registry.get_hook("group_offloading").group.tensor_to_key:
            tensor.data.fill_(torch.nan)  # of what is away
    made = []
    for dit in (usual, placed):
        cache = KVCache(layers=2, capacity=2)
        with torch.no_grad():
            text = dit.prepare_text(words())
            dit(latents(1), torch.zeros(1, 1), text, context=cache, commit=True)
            made.append(dit(latents(1, seed=1), torch.ones(1, 1), text, frames=(1,), context=cache))
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("offload", ["model", "group"])
def test_two_experts_are_never_on_the_device_together(
    tmp_path: Path, offload: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_folder(tmp_path / "tiny", layout="t2v-a14b")
    pipeline = VideoPipeline.from_pretrained(folder, device="cpu")
    usual = start(pipeline).clip()
    placed = VideoPipeline.from_pretrained(
        folder, device="cpu", performance=PerformanceConfig(mode="manual", offload=offload)
    )
    residence, used = own_model(placed.model).residence, []
    assert residence.held_mib == 0  # never all of them, from the first on
    use = residence.use

    def counted(part: str) -> None:
        use(part)
        used.append(part)
        assert residence.held_mib <= residence.parts_mib[part]

    monkeypatch.setattr(residence, "use", counted)
    assert start(placed, placed.performance).clip().sha256() == usual.sha256()
    assert {"text_encoder", "transformer", "transformer_2", "vae"} <= {*used}


def test_an_image_encoder_is_freed_and_read_again(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "tiny", layout="i2v")
    image = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(0))
    frames = []
    for performance in ("auto", "memory"):
        pipeline = VideoPipeline.from_pretrained(folder, device="cpu", performance=performance)
        frames.append([pipeline("a red ball", image, seed=seed, num_frames=5).sha256() for seed in (1, 2)])
        assert own_model(pipeline.model).residence.where("image_encoder") == (
            "dropped" if performance == "memory" else "on the device"
        )
    assert frames[0] == frames[1]


def test_a_freed_text_encoder_is_read_again_for_another_prompt_alone(
    pipeline: VideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = [start(pipeline, request__prompt=prompt).clip().sha256() for prompt in ("a red ball", "a blue box falls")]
    read: list[str] = []
    residence = own_model(pipeline.model).residence
    reader = residence._read

    def counted(part: str) -> nn.Module:
        read.append(part)
        return reader(part)

    monkeypatch.setattr(residence, "_read", counted)
    free = PerformanceConfig(mode="manual", keep_text_encoder=False)
    prompts = ("a red ball", "a red ball", "a blue box falls")
    made = [start(pipeline, free, request__prompt=prompt).clip().sha256() for prompt in prompts]
    assert made == [usual[0], usual[0], usual[1]]
    assert read == ["text_encoder"]  # it was there for the first
    assert all(p.device.type == "meta" for p in own_model(pipeline.model).prompts.encoder.parameters())


@pytest.mark.parametrize(
    ("storage", "offload"), [("bfloat16", "none"), ("float8_e5m2", "none"), ("float8_e4m3fn", "group")]
)
def test_stored_weights_equal_weights_rounded_by_hand(folder: Path, storage: str, offload: str) -> None:
    asked = PerformanceConfig(mode="manual", storage=storage, offload=offload)
    stored = VideoPipeline.from_pretrained(folder, device="cpu", performance=asked)
    by_hand = VideoPipeline.from_pretrained(folder, device="cpu")
    for name, module in by_hand.model.dit.blocks.named_modules():
        if isinstance(module, nn.Linear):
            for weight in module.parameters():
                weight.data = weight.data.to(getattr(torch, storage)).float()
            if offload == "none":
                assert next(stored.model.dit.blocks.get_submodule(name).parameters()).dtype == getattr(torch, storage)
    runs = [start(one, one.performance, sampler__name="causal") for one in (stored, by_hand)]
    made = [[event.latents_BCTHW for event in run if event.latents_BCTHW is not None] for run in runs]
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))
    assert runs[0].record()["resolved"]["performance.storage"] == storage
    assert stored.dtype == torch.float32
    assert (
        own_model(stored.model).residence.parts_mib["transformer"]
        < own_model(by_hand.model).residence.parts_mib["transformer"]
    )


def test_storage_that_saves_nothing_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="would save nothing; possible: float8_e4m3fn, float8_e5m2"):
        VideoPipeline.from_pretrained(folder, dtype="bfloat16", performance=PerformanceConfig(storage="bfloat16"))


def test_modes_are_rungs_and_what_is_said_holds_on_all_of_them() -> None:
    auto = rungs_of(PerformanceConfig())
    assert [(rung.offload, rung.keep_text_encoder) for rung in auto] == [
        ("none", True),
        ("none", False),
        ("model", False),
        ("group", False),
    ]
    assert rungs_of(PerformanceConfig(mode="speed")) == auto
    assert rungs_of(PerformanceConfig(mode="memory")) == (
        Placement(offload="group", vae_tiling=True, keep_text_encoder=False),
    )
    assert rungs_of(PerformanceConfig(mode="memory", vae_tiling=False, offload="model")) == (
        Placement(offload="model", keep_text_encoder=False),
    )
    assert rungs_of(PerformanceConfig(mode="manual", vae_tiling=True)) == (Placement(vae_tiling=True),)
    kept = rungs_of(PerformanceConfig(keep_text_encoder=True, storage="float8_e5m2"))
    assert [rung.offload for rung in kept] == ["none", "model", "group"]
    assert all(rung.keep_text_encoder and rung.storage == "float8_e5m2" and not rung.vae_tiling for rung in kept)
    with pytest.raises(ConfigError, match="none is given; possible: --offload"):
        rungs_of(PerformanceConfig(mode="manual"))


def test_weights_on_the_device() -> None:
    parts = {"text_encoder": 11.0, "transformer": 28.0, "transformer_2": 28.0, "vae": 0.5}
    told = [weights_on_device(parts, rung, blocks=40) for rung in rungs_of(PerformanceConfig())]
    assert told == [67.5, 56.5, 28.0, 11.0]


class Part(nn.Module):
    """Weights that only say where they would be."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.at = nn.Parameter(torch.zeros(1 << 18)), "cpu"

    def to(self, device: Any) -> "Part":  # type: ignore[override]
        self.at = torch.device(device).type
        return self

    def enable_tiling(self) -> None: ...

    def disable_tiling(self) -> None: ...


@pytest.mark.parametrize(
    ("placement", "seen"),
    [
        (Placement(), [["text_encoder", "transformer", "vae"]] * 4),
        (
            Placement(keep_text_encoder=False),
            [["text_encoder"], ["transformer"], ["transformer", "vae"], ["text_encoder"]],
        ),
        (Placement(offload="model"), [["text_encoder"], ["transformer"], ["vae"], ["text_encoder"]]),
    ],
    ids=["none", "free", "model"],
)
def test_what_is_on_a_device_with_memory_of_its_own(placement: Placement, seen: list[list[str]]) -> None:
    residence = Residence(torch.device("cuda"), placement, lambda part: Part())
    parts = {part: Part() for part in PARTS}
    for part, module in parts.items():
        residence.admit(part, module)
    for part, expected in zip((*PARTS, PARTS[0]), seen, strict=True):
        residence.use(part)
        assert [name for name, module in parts.items() if module.at == "cuda"] == expected
        assert residence.held_mib == len(expected)
        if part in ENCODERS:
            residence.encoded()
    assert parts["text_encoder"].at == ("cuda" if placement.keep_text_encoder else "meta")


def test_auto_takes_the_first_rung_that_fits_and_says_why(pipeline: VideoPipeline) -> None:
    job, model = start(pipeline).job, own_model(pipeline.model)
    rungs = rungs_of(PerformanceConfig())
    needed = [plan_of(job, model, rung) for rung in rungs]
    totals = [plan.weights + plan.more for plan in needed]
    assert totals == sorted(totals, reverse=True) and totals[0] > totals[-1]
    held = model.residence.held_mib
    for i, total in enumerate(totals):
        fitted = fit(job, model, PerformanceConfig(), total - held + 1e-6, "9 frames")
        assert totals[rungs.index(fitted.rungs[0])] <= total and rungs.index(fitted.rungs[0]) <= i
        assert fitted.rungs == rungs[-len(fitted.rungs) :]
    assert "performance auto: model offload, text encoder freed after use, about" in fitted.why
    assert "all on the device would take" in fitted.why
    with pytest.raises(ResourceError, match=r"9 frames would take about .* smaller --size or fewer frames"):
        fit(job, model, PerformanceConfig(), totals[-1] - held - 1, "9 frames")
    with pytest.raises(ResourceError, match="or for --offload group --free-text-encoder --vae-tiling"):
        fit(job, model, PerformanceConfig(mode="speed"), totals[0] - held - 1e-3, "9 frames")


def test_weights_that_do_not_fit_are_read_to_where_they_do(folder: Path) -> None:
    device, dtype = torch.device("cpu"), torch.float32
    parts = own_model(load_model(str(folder), device=device, dtype=dtype)).residence.parts_mib
    rungs = rungs_of(PerformanceConfig())
    small = own_model(load_model(str(folder), device=device, dtype=dtype, free_mib=max(parts.values()), rungs=rungs))
    assert small.residence.placement.offload == "model" and small.residence.held_mib == 0
    with pytest.raises(ResourceError, match="or --dtype bfloat16 where it is float32, or --offload group"):
        load_model(str(folder), device=device, dtype=dtype, free_mib=max(parts.values()))
    with pytest.raises(ResourceError, match=r"it is float32$"):
        load_model(str(folder), device=device, dtype=dtype, free_mib=0.0, rungs=rungs)


def test_auto_goes_down_in_a_whole_run_and_the_record_asks_for_the_same(
    pipeline: VideoPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = start(pipeline).clip()
    assert usual.record["resolved"]["performance.offload"] == "none"
    plan = plan_of(start(pipeline).job, own_model(pipeline.model), Placement(offload="model"))
    free = plan.weights + plan.more - own_model(pipeline.model).residence.held_mib
    monkeypatch.setattr(spread_module, "free_mib", lambda device: free + 1e-6)
    run = start(pipeline)
    assert any(note.startswith("performance auto: ") for note in run.notes)
    monkeypatch.undo()
    record = run.clip().record
    assert record["frames"]["sha256"] == usual.sha256()
    assert record["resolved"]["performance.offload"] != "none"
    config, said = merge(("record", {k: v for k, v in record["resolved"].items() if not k.startswith("run.")}))
    again = pipeline.start(config, said).clip()
    assert again.sha256() == usual.sha256()
    assert again.record["resolved"] == record["resolved"]


@pytest.fixture
def frozen() -> Iterator[None]:
    """Objects that were there before are not looked through each time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def live_mib(pipeline: VideoPipeline) -> float:
    """Of all tensors that something refers to, weights included."""
    gc.collect()
    model = own_model(pipeline.model)
    weights = [p for part in (model.dit, model.vae, model.prompts.encoder) for p in part.parameters()]
    made = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    storages = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in weights + made}
    return sum(storages.values()) / (1 << 20)


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("performance", [PerformanceConfig(), *OFFLOADED[1:3]], ids=["none", *IDS[1:3]])
def test_a_second_clip_never_peaks_higher_and_nothing_of_a_run_stays(
    pipeline: VideoPipeline, performance: PerformanceConfig
) -> None:
    def peak_of(seed: int) -> float:
        run = start(pipeline, performance, request__seed=seed, sampler__name="causal")
        runs.append(run)
        return max(live_mib(pipeline) for _ in run)

    runs: list[Run] = []
    first, second, third = peak_of(2), peak_of(3), peak_of(4)
    assert second <= first + 1e-3 and third <= first + 1e-3
    held = live_mib(pipeline)
    gone = weakref.ref(runs[0])
    runs.clear()
    gc.collect()
    assert gone() is None
    assert held - live_mib(pipeline) < 1e-2  # a run that is done holds no tensors


def test_the_command_line_says_refuses_and_replays(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = str(tmp_path / "clip.mkv")
    base = ["generate", "a red ball", "--model", str(folder), "--device", "cpu", "--seed", "1", "--num-frames", "5"]
    assert _run([*base, "-o", clip, "--performance", "memory"]) == 0
    said = capsys.readouterr().err
    assert "note: performance memory: group offload, VAE in tiles, text encoder freed after use" in said
    assert "nothing to cut" in said
    assert _run(["replay", str(tmp_path / "clip.json"), "--model", str(folder), "--verify"]) == 0
    assert "equal bit for bit" in capsys.readouterr().err
    bad = {
        ("--offload", "some"): "performance.offload='some' is not possible; possible: group, model, none",
        ("--performance", "fast"): "performance.mode='fast' is not possible",
        ("--performance", "manual"): "none is given",
        ("--storage-dtype", "int8"): "performance.storage='int8' is not possible",
        ("--offload", "model", "performance.offload=group"): "performance.offload is given twice",
    }
    for flags, line in bad.items():
        assert _run([*base, *flags]) == 2
        assert line in capsys.readouterr().err

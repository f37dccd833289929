"""The stages on a tiny recipe of the rich world: other scenes, words and lengths, in a cache of its own."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast, UMT5EncoderModel

from tests.training.conftest import Trained, tiny_config
from vgen.errors import ConfigError, ModelError
from vgen.models.card import card_for
from vgen.playground.caption_rich import parse_rich
from vgen.playground.worlds import WORLDS
from vgen.training.config import (
    DiTRecipe,
    PlaygroundTraining,
    VAERecipe,
    read_training_config,
    recipe_digest,
    stage_digest,
)
from vgen.training.data import crops, held_out_clips, next_scenes
from vgen.training.dit import draw_windows, train_dit
from vgen.training.latents import CachedLatents, cache_latents, read_latents
from vgen.training.loop import Plan, TrainingRecord, keyed
from vgen.training.text import text_states
from vgen.training.vae import train_vae

CPU = torch.device("cpu")
RECIPES = Path(__file__).parents[2] / "configs" / "training"
LATENT_FRAMES = (WORLDS["rich"].frames - 1) // 4 + 1


def rich_config() -> PlaygroundTraining:
    first = tiny_config()
    return replace(first, world="rich", num_frames=13, dit=replace(first.dit, window=13, text_length=56))


@dataclass(frozen=True, slots=True)
class Rich:
    """What a run of all stages left."""

    folder: Path
    work: Path
    latents: CachedLatents
    dit: list[TrainingRecord]


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Rich:
    """The tiny model after a few steps of each stage."""
    base, config = tmp_path_factory.mktemp("rich"), rich_config()
    folder, work = base / "model", base / "work"
    plan = Plan(minutes=1, steps=8, warmup_steps=2)
    stages = {"plan": plan, "resume": False, "device": CPU, "compiled": False}
    list(train_vae(config, folder=folder, checkpoints=work / "vae", held_out=1, **stages))  # type: ignore[arg-type]
    list(cache_latents(config, folder=folder, cache=work / "latents", device=CPU))
    records = train_dit(config, folder=folder, cache=work / "latents", checkpoints=work / "dit", **stages)  # type: ignore[arg-type]
    trained = list(records)
    return Rich(folder, work, read_latents(config, folder=folder, cache=work / "latents", split="train"), trained)


def test_the_recipe_is_the_embedded_one_s_but_for_world_and_lengths() -> None:
    first, rich = read_training_config(), read_training_config(RECIPES / "rich.yaml")
    assert (rich.world, rich.size, rich.num_frames) == ("rich", 96, 49)
    assert (rich.dit.window, rich.dit.text_length) == (13, 56) and (rich.num_frames - 1) // 4 + 1 == rich.dit.window
    back = replace(rich.dit, window=first.dit.window, text_length=first.dit.text_length)
    assert replace(rich, world="first", num_frames=first.num_frames, dit=back) == first


def test_an_unknown_world_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("world: ritch")
    with pytest.raises(ConfigError, match=r"recipe\.yaml: unknown world 'ritch'; did you mean 'rich'"):
        read_training_config(path)


def test_a_stage_of_the_first_world_keeps_its_digest_and_that_of_another_differs() -> None:
    first, rich = PlaygroundTraining(), PlaygroundTraining(world="rich")
    for recipe in (DiTRecipe(), VAERecipe()):
        assert stage_digest(first, recipe) == recipe_digest(first.seed, first.size, recipe)
        assert stage_digest(rich, recipe) != stage_digest(first, recipe)


def test_the_model_has_the_words_length_and_rate_of_its_world(rich: Rich) -> None:
    card = card_for(rich.folder, {})
    assert (card.fps, card.num_frames, card.trained_window, card.text_length) == (16, 13, 13, 56)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(rich.folder / "tokenizer", local_files_only=True)
    assert {*WORLDS["rich"].vocabulary} < {*tokenizer.get_vocab()}
    assert all(torch.isfinite(torch.tensor(record.values["loss"])) for record in rich.dit if "loss" in record.values)


def test_windows_show_rich_clips_with_their_captions(rich: Rich) -> None:
    assert rich.latents.world == "rich" and rich.latents.x0_BCTHW.shape == (6, 16, LATENT_FRAMES, 4, 4)
    recipe = rich_config().dit
    mark = torch.arange(6).view(6, 1, 1, 1, 1).expand(6, 16, LATENT_FRAMES, 1, 1).half()
    window, _ = draw_windows(CachedLatents(mark, rich.latents.seeds, "rich"), 0, recipe, mid_clip=0.5, seed=3)
    assert window.x0_BCTHW.shape == (8, 16, 13, 1, 1)
    for row, prompt in zip(window.x0_BCTHW, window.prompts, strict=True):
        scene = WORLDS["rich"].sample(rich.latents.seeds[int(row[0, 0, 0, 0])])
        claim = parse_rich(prompt)
        assert prompt == "" or (claim.event, claim.then, claim.sizes) == (
            scene.event,
            scene.then,
            tuple(body.size for body in scene.bodies),
        )


def test_caches_of_two_worlds_stand_apart(rich: Rich) -> None:
    other = replace(rich_config(), world="first")
    with pytest.raises(ModelError, match="missing"):
        read_latents(other, folder=rich.folder, cache=rich.work / "latents", split="train")


def test_a_model_of_the_first_world_goes_on_in_the_rich_one(trained: Trained, tmp_path: Path) -> None:
    config, folder = rich_config(), tmp_path / "model"
    shutil.copytree(trained.folder, folder)
    list(cache_latents(config, folder=folder, cache=tmp_path / "latents", device=CPU))
    records = train_dit(
        config,
        folder=folder,
        cache=tmp_path / "latents",
        checkpoints=tmp_path / "dit",
        plan=Plan(minutes=1, steps=1, warmup_steps=10**9),  # so that nothing is learnt
        resume=True,
        device=CPU,
        compiled=False,
    )
    assert list(records)[-1].step == 121
    assert card_for(folder, {}).trained_window == 13
    first, rich = (
        (
            PreTrainedTokenizerFast.from_pretrained(at / "tokenizer", local_files_only=True),
            UMT5EncoderModel.from_pretrained(at / "text_encoder", dtype=torch.float32),
        )
        for at in (trained.folder, folder)
    )
    assert {*WORLDS["rich"].vocabulary} < {*rich[0].get_vocab()} and "wooden" not in first[0].get_vocab()
    with torch.no_grad():
        told = [text_states(*parts, ["a red ball falls and bounces"], 32) for parts in (first, rich)]
        new = [text_states(*parts, ["a wooden red ball falls and bounces"], 32) for parts in (first, rich)]
    torch.testing.assert_close(told[0], told[1], rtol=0, atol=1e-4)
    assert (new[0] - new[1]).abs().max() > 0.01


def test_clips_are_those_of_the_world() -> None:
    scenes, clip_BFYX3 = held_out_clips("held_out_seed", 2, size=16, frames=80, world="rich")
    assert {scene.fps for scene in scenes} == {16} and clip_BFYX3.shape == (2, 80, 16, 16, 3)
    drawn, _ = next_scenes(0, 4, "rich")
    assert {WORLDS["rich"].split_of(scene) for scene in drawn} == {"train"}
    video_BCFYX, _ = crops(0, batch=2, frames=90, size=24, crop=16, generator=keyed(0, "crops", 1), world="rich")
    assert video_BCFYX.shape == (2, 3, 90, 16, 16)

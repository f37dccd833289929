"""Training clips come from the training split, in order, and crops follow the bodies."""

import torch

from vgen.playground.scene import split_of
from vgen.training.data import crops, held_out_clips, next_scenes, to_model_range
from vgen.training.loop import keyed


def test_batches_follow_each_other_within_the_training_split() -> None:
    first, index = next_scenes(0, 5)
    second, _ = next_scenes(index, 5)
    seeds = [scene.seed for scene in first + second]
    assert seeds == sorted(set(seeds))
    assert {split_of(scene) for scene in first + second} == {"train"}
    assert next_scenes(0, 10)[0] == first + second


def test_crops_are_repeatable_and_in_range() -> None:
    def draw() -> torch.Tensor:
        video_BCFYX, _ = crops(7, batch=3, frames=5, size=48, crop=24, generator=keyed(0, "crops", 1))
        return video_BCFYX

    video_BCFYX = draw()
    assert video_BCFYX.shape == (3, 3, 5, 24, 24)
    assert video_BCFYX.min() >= -1 and video_BCFYX.max() <= 1
    assert torch.equal(video_BCFYX, draw())


def test_most_crops_show_a_body() -> None:
    video_BCFYX, _ = crops(0, batch=48, frames=1, size=48, crop=24, generator=keyed(0, "crops", 2))
    colourful_B = (video_BCFYX.amax(1) - video_BCFYX.amin(1)).flatten(1).amax(1) > 0.5  # backdrops are muted
    assert colourful_B.float().mean() > 0.5


def test_held_out_clips_are_held_out() -> None:
    for split in ("held_out_seed", "held_out_combination"):
        drawn, clip_BFYX3 = held_out_clips(split, 2, size=16, frames=3)
        assert {split_of(scene) for scene in drawn} == {split}
        assert clip_BFYX3.shape == (2, 3, 16, 16, 3) and clip_BFYX3.dtype == torch.uint8


def test_model_range_is_minus_one_to_one() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 1, 2, 1).expand(1, 1, 1, 2, 3)
    assert to_model_range(ends).unique().tolist() == [-1.0, 1.0]

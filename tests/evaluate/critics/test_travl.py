"""Attention along tracks against a dense one with an explicit mask, and the critic from training to its folder."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.evaluate.critics.folders import dino_folder, noise_clip, vjepa_folder
from vgen.errors import InputError, ModelError
from vgen.evaluate.critics.attention import TrajectoryAttention, TravlModel
from vgen.evaluate.critics.geophys import open_encoder, open_geophys
from vgen.evaluate.critics.surprise import open_surprise
from vgen.evaluate.critics.training import (
    HELD_OUT_FROM_SEED,
    MOST_PAIRS,
    RUNS,
    TRAIN_FROM_SEED,
    check_laws,
    drawn,
    first_seed,
    orders,
    train_travl,
)
from vgen.evaluate.critics.travl import EncoderFeatures, PatchFeatures, new_travl, open_travl, save_travl
from vgen.evaluate.jury import Critic
from vgen.judge.calibration.suite import SIZES, suite
from vgen.playground.twins.families import LAWS
from vgen.playground.twins.film import Take
from vgen.playground.twins.suite import TEST_FROM_SEED, twin

T, P, D, HEADS = 5, 6, 8, 2
# No patch is passed twice; the third track is never seen.
APART = torch.tensor([[0, 1, -1, 2, 2], [3, -1, 4, 4, 5], [-1, -1, -1, -1, -1], [1, 0, 0, -1, 1]])


@pytest.fixture
def module() -> TrajectoryAttention:
    torch.manual_seed(3)
    made = TrajectoryAttention(D, HEADS).double()
    with torch.no_grad():
        made.gate_space.fill_(0.7)
        made.gate_time.fill_(1.3)
    return made


@pytest.fixture
def z_TPD() -> Tensor:
    return torch.randn(T, P, D, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def clocks() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """sin and cos of t / 10000^(2i/D), side by side."""
    made = np.zeros((T, D))
    for t in range(T):
        for i in range(D // 2):
            angle = t / 10_000 ** (2 * i / D)
            made[t, 2 * i : 2 * i + 2] = math.sin(angle), math.cos(angle)
    return made


def dense(module: TrajectoryAttention, x_TPD: Tensor, index_KT: Tensor) -> Tensor:
    """All T*P tokens against all, one head at a time, with a mask that keeps tokens of one track; zero elsewhere."""
    track = np.full((T, P), -1)
    for k in range(len(index_KT)):
        for t in range(T):
            if index_KT[k, t] >= 0:
                track[t, index_KT[k, t]] = k
    flat = track.reshape(-1)
    keeps = torch.tensor((flat[:, None] == flat[None, :]) & (flat >= 0)[:, None])
    tokens = (x_TPD + torch.tensor(clocks())[:, None].to(x_TPD)).reshape(-1, D)
    q, k_, v = (tokens @ module.time.to_qkv.weight.T + module.time.to_qkv.bias).split(D, dim=1)
    heads = []
    for h in range(HEADS):
        part = slice(h * D // HEADS, (h + 1) * D // HEADS)
        logits = q[:, part] @ k_[:, part].T / math.sqrt(D / HEADS)
        heads.append(torch.nan_to_num(logits.masked_fill(~keeps, -math.inf).softmax(1)) @ v[:, part])
    out = torch.cat(heads, dim=1) @ module.time.to_out.weight.T + module.time.to_out.bias
    return (out * torch.tensor(flat >= 0)[:, None]).view(T, P, D)


def test_attention_along_tracks_is_dense_attention_with_their_mask(module: TrajectoryAttention, z_TPD: Tensor) -> None:
    found = module.along(z_TPD, APART)
    assert torch.allclose(found, dense(module, z_TPD, APART), atol=1e-12)
    assert (found[0, 4] == 0).all()  # on no track


def test_a_patch_of_several_tracks_gets_their_mean(module: TrajectoryAttention, z_TPD: Tensor) -> None:
    one, other = torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[5, 1, -1, 0, 0]])
    alone = [module.along(z_TPD, index) for index in (one, other)]
    both = module.along(z_TPD, torch.cat([one, other]))
    assert torch.allclose(both[1, 1], (alone[0][1, 1] + alone[1][1, 1]) / 2)
    assert torch.allclose(both[0, 0], alone[0][0, 0]) and torch.allclose(both[0, 5], alone[1][0, 5])


def test_what_a_track_does_not_pass_does_not_reach_it(module: TrajectoryAttention, z_TPD: Tensor) -> None:
    other = z_TPD.clone()
    other[2, 1] += 5.0  # the first track is not seen in frame 2
    assert torch.equal(module.along(z_TPD, APART[:1])[3], module.along(other, APART[:1])[3])
    other[1, 1] += 5.0  # and is here in frame 1
    assert not torch.allclose(module.along(z_TPD, APART[:1])[3, 2], module.along(other, APART[:1])[3, 2])


def test_frames_see_only_themselves_in_space(module: TrajectoryAttention, z_TPD: Tensor) -> None:
    nowhere = torch.full((2, T), -1)
    other = z_TPD.clone()
    other[3] += 1.0
    changed = (module(other, nowhere) != module(z_TPD, nowhere)).flatten(1).any(1)
    assert changed.tolist() == [False, False, False, True, False]


def test_the_order_of_tracks_is_nothing(module: TrajectoryAttention, z_TPD: Tensor) -> None:
    assert torch.allclose(module(z_TPD, APART), module(z_TPD, APART[[3, 1, 0, 2]]), atol=1e-12)


def test_the_order_of_time_is_something(module: TrajectoryAttention, z_TPD: Tensor) -> None:
    back = module.along(z_TPD.flip(0), APART.flip(1)).flip(0)
    assert not torch.allclose(back, module.along(z_TPD, APART), atol=1e-3)


def test_closed_gates_change_nothing(z_TPD: Tensor) -> None:
    assert torch.equal(TrajectoryAttention(D, HEADS).double()(z_TPD, APART), z_TPD)


def test_no_tracks_at_all_are_no_error(module: TrajectoryAttention, z_TPD: Tensor) -> None:
    none = torch.empty((0, T), dtype=torch.int64)
    assert torch.isfinite(module(z_TPD, none)).all()
    logit = TravlModel(D, HEADS).double()(z_TPD, none)
    logit.backward()
    assert logit.shape == ()


def test_patch_features_are_mean_colours_and_a_projection() -> None:
    features = PatchFeatures(side_px=16, patch_px=8, width=8)
    frames = np.zeros((1, 16, 16, 3), np.uint8)
    frames[0, :8, 8:] = (255, 0, 51)  # the second patch
    z = features(frames)
    assert z.shape == (1, 4, 8)
    assert z[0, 1, :3].tolist() == pytest.approx([2.0, -2.0, (0.2 - 0.5) / 0.25], abs=1e-5)
    assert z[0, :, 3:].abs().max() < 1e-5  # nothing but colour in any patch
    noise = noise_clip(1, side=16).frames
    assert torch.equal(features(noise), PatchFeatures(side_px=16, patch_px=8, width=8)(noise))
    assert not torch.allclose(features(noise), PatchFeatures(side_px=16, patch_px=8, width=8, seed=1)(noise))


def test_training_lowers_the_loss_and_can_be_had_again() -> None:
    critic = new_travl()
    twins = [one.twins for one in drawn(critic, pairs=4, first=first_seed(0), laws=("vanish", "teleport"))]
    steps = list(train_travl(critic, twins, steps=25))
    assert steps[-1].loss < 0.6 * steps[0].loss and all(orders(critic, pair) for pair in twins)
    assert [(step.done, step.total) for step in steps] == [(k, 25) for k in range(1, 26)]
    again = new_travl()
    assert [step.loss for step in train_travl(again, twins, steps=2)] == [step.loss for step in steps[:2]]


def test_its_scenes_are_its_own_and_of_every_family(monkeypatch: pytest.MonkeyPatch) -> None:
    laws, asked = ("colour", "size", "spawn", "teleport", "vanish"), list[tuple[str, int]]()

    def noted(law: str, seed: int, severity: float) -> tuple[Take, Take]:
        asked.append((law, seed))
        return twin("vanish", 1, severity)

    monkeypatch.setattr("vgen.evaluate.critics.training.twin", noted)
    events = list(drawn(new_travl(), pairs=40, first=HELD_OUT_FROM_SEED, laws=laws, stage="check"))
    assert (events[-1].stage, events[-1].done, events[-1].total) == ("check", 40, 40)
    for law in laws:
        assert {seed % len(LAWS[law]) for name, seed in asked if name == law} == set(range(len(LAWS[law])))
    calibrated = max(piece.seed for piece in suite("calibration", SIZES["full"]))
    assert calibrated < TRAIN_FROM_SEED == first_seed(0)
    assert first_seed(RUNS - 1) + MOST_PAIRS <= HELD_OUT_FROM_SEED < HELD_OUT_FROM_SEED + MOST_PAIRS < TEST_FROM_SEED


def test_training_refuses_what_it_cannot_do() -> None:
    with pytest.raises(InputError, match="unknown law 'vanis'; did you mean 'vanish'"):
        next(drawn(new_travl(), pairs=1, first=0, laws=("vanis",)))
    with pytest.raises(InputError, match="no law was named"):
        check_laws(())
    with pytest.raises(InputError, match="0 pairs; possible: 1 to 100000"):
        next(drawn(new_travl(), pairs=0, first=0, laws=("vanish",)))
    with pytest.raises(InputError, match="seed 200 is out of range; possible: 0 to 199"):
        first_seed(200)


def test_a_saved_critic_comes_back_and_a_changed_weight_changes_its_score(tmp_path: Path) -> None:
    critic, clip = new_travl(seed=4), noise_clip(20)
    opened = open_travl(save_travl(critic, tmp_path / "travl"))
    assert opened.name == critic.name and opened.name.startswith("travl#")
    assert opened.opinion(clip).value == critic.opinion(clip).value
    with torch.no_grad():
        opened.model.attention.gate_time.fill_(0.5)
    assert opened.opinion(clip).value != critic.opinion(clip).value and opened.name != critic.name


def test_features_of_an_encoder_are_found_beside_the_weights(tmp_path: Path) -> None:
    encoder = open_encoder(dino_folder(tmp_path / "travl" / "encoder"), layer=2)
    critic, clip = new_travl(EncoderFeatures(encoder=encoder)), noise_clip(6)
    opened = open_travl(save_travl(critic, tmp_path / "travl"))
    assert opened.opinion(clip).value == critic.opinion(clip).value
    (tmp_path / "travl" / "encoder").rename(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match=r"no folder '.*encoder'"):
        open_travl(tmp_path / "travl")


def test_each_opener_opens_a_critic(tmp_path: Path) -> None:
    folders = dino_folder(tmp_path / "d"), vjepa_folder(tmp_path / "v"), save_travl(new_travl(), tmp_path / "t")
    openers: tuple[Callable[[Path], Critic], ...] = (open_geophys, open_surprise, open_travl)
    for opener, folder in zip(openers, folders, strict=True):
        critic = opener(folder)
        value = critic.opinion(noise_clip(16)).value
        assert value is not None and value == opener(folder).opinion(noise_clip(16)).value
        assert critic.name


def test_a_clip_that_is_too_short_is_not_judged() -> None:
    opinion = new_travl().opinion(noise_clip(3))
    assert opinion.value is None and "3 frames are fewer than 4" in opinion.reason


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, "should be of schema 'vgen travl 1', got 'other'"),
        ({"features": {"kind": "magic"}}, "'patches' or 'encoder'"),
        ({"features": PatchFeatures().as_dict() | {"width": 10**9}}, "width should be 4 to 1024"),
        ({"features": PatchFeatures().as_dict() | {"seed": "0"}}, "seed should be"),
        ({"features": PatchFeatures().as_dict() | {"patch_px": 7}}, "patch_px should divide side_px"),
        ({"features": PatchFeatures().as_dict() | {"width": 64}}, "is of shape"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    folder = save_travl(new_travl(), tmp_path / "travl")
    told = json.loads((folder / "travl.json").read_text())
    (folder / "travl.json").write_text(json.dumps(told | change))
    with pytest.raises(ModelError, match=message):
        open_travl(folder)


def test_a_folder_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="vgen train travl"):
        open_travl(tmp_path / "none")
    with pytest.raises(ModelError, match=r"incomplete, missing travl\.json"):
        open_travl(tmp_path)
    folder = save_travl(new_travl(), tmp_path / "travl")
    (folder / "travl.safetensors").write_bytes(b"damaged")
    with pytest.raises(ModelError, match="damaged"):
        open_travl(folder)
    (folder / "travl.safetensors").unlink()
    with pytest.raises(ModelError, match=r"incomplete, missing travl\.safetensors"):
        open_travl(folder)

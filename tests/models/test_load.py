"""What a model folder must be, and what is refused before any weight is read."""

import json
from pathlib import Path

import pytest
import torch

from tests.folders import tiny_folder
from vgen.errors import ModelError
from vgen.models.load import describe, find_folder, load_model

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_folder(tmp_path / "model", layout="playground")


def load(folder: Path) -> None:
    load_model(str(folder), device=torch.device("cpu"), dtype=torch.float32)


def test_a_folder_loads_in_the_dtypes_asked_for(folder: Path) -> None:
    model = load_model(str(folder), device=torch.device("cpu"), dtype=torch.bfloat16)
    assert model.dit.dtype == torch.bfloat16 and model.vae.dtype == torch.float32
    assert model.prompts.encoder.dtype == torch.float32
    assert set(model.digests()) == {f"transformer/{WEIGHTS}", f"vae/{WEIGHTS}", "text_encoder/model.safetensors"}


def test_describe_reads_no_weights(folder: Path) -> None:
    (folder / "transformer" / WEIGHTS).write_bytes(b"not weights")
    _, card, size_bytes = describe(str(folder))
    assert card.name == "tiny" and size_bytes > 0


def test_a_name_that_is_nothing_says_what_is() -> None:
    with pytest.raises(ModelError, match="possible: playground"):
        find_folder("no-such-model")


def test_a_folder_without_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        find_folder(str(tmp_path))


def test_pickled_weights_are_refused_by_name(folder: Path) -> None:
    (folder / "vae" / WEIGHTS).rename(folder / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pickled \(diffusion_pytorch_model\.bin\)"):
        load(folder)


@pytest.mark.parametrize("missing", [f"transformer/{WEIGHTS}", "vae/config.json", "scheduler/scheduler_config.json"])
def test_an_incomplete_folder_names_what_is_missing(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=f"missing {Path(missing).name}"):
        load(folder)


def test_a_missing_shard_is_named(folder: Path) -> None:
    weights = folder / "transformer" / WEIGHTS
    weights.rename(weights.with_name("a-00001-of-00002.safetensors"))
    index = {"weight_map": {"x": "a-00001-of-00002.safetensors", "y": "a-00002-of-00002.safetensors"}}
    weights.with_name(f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=r"missing a-00002-of-00002\.safetensors"):
        load(folder)


@pytest.mark.parametrize(
    ("component", "name"),
    [("transformer", "EvilTransformer"), ("vae", "AutoencoderKL"), ("scheduler", "DDIMScheduler")],
)
def test_classes_that_are_not_on_the_list_are_refused(folder: Path, component: str, name: str) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    index[component] = ["diffusers", name]
    (folder / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ModelError, match=f"{component} is of class '{name}', which is not on the list"):
        load(folder)


def test_a_pipeline_that_is_not_on_the_list_is_refused(folder: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": "EvilPipeline"}))
    with pytest.raises(ModelError, match="names the pipeline 'EvilPipeline'"):
        load(folder)


@pytest.mark.parametrize("text", ["[1, 2]", "{", ""])
def test_an_index_that_is_no_mapping_is_refused(folder: Path, text: str) -> None:
    (folder / "model_index.json").write_text(text)
    with pytest.raises(ModelError, match=r"not JSON|is a mapping"):
        load(folder)


def test_a_misspelt_card_is_refused(folder: Path) -> None:
    card = folder / "vgen.yaml"
    card.write_text(card.read_text() + "guidence_scale: 3\n")
    with pytest.raises(ModelError, match="not a model card"):
        load(folder)


def test_without_a_card_the_preset_of_the_layout_is_taken(tmp_path: Path) -> None:
    for layout, name in (("wan2.1", "wan2.1-t2v"), ("wan2.2", "wan2.2-ti2v")):
        _, card, _ = describe(str(tiny_folder(tmp_path / layout, layout=layout, card=False)))
        assert card.name == name

"""The recipe file mirrors the defaults and is read strictly."""

from pathlib import Path

import pytest

from vgen.errors import ConfigError
from vgen.training.config import PlaygroundTraining, VAERecipe, read_training_config, recipe_digest


def test_packaged_recipe_mirrors_the_defaults() -> None:
    assert read_training_config() == PlaygroundTraining()


@pytest.mark.parametrize(
    "text", ["sise: 96", "dit: {layer: 3}", "size: wide", "dit: {layers: two}", "- 1", "size: [", "vae: {batch: 2.5}"]
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"recipe\.yaml"):
        read_training_config(path)


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="none"):
        read_training_config(tmp_path / "none.yaml")


def test_digest_names_the_recipe() -> None:
    assert recipe_digest(0, VAERecipe()) == recipe_digest(0, VAERecipe())
    assert len({recipe_digest(0, VAERecipe()), recipe_digest(1, VAERecipe()), recipe_digest(0, VAERecipe(lr=0.1))}) == 3

"""Which layouts of a Wan folder can be run: how images go in, one transformer or two, and the card that says so.

Images: as the first latent (Wan2.2 TI2V), or in channels of their own beside the noisy ones (the I2V line), there with
the states of an image encoder (2.1) or without (2.2). All functions take configs that `check.py` has completed.
"""

from pathlib import Path
from reprlib import repr as short
from typing import Any

from vgen.errors import ModelError
from vgen.models.card import ModelCard
from vgen.models.settings import Config, unsupported
from vgen.models.vision import check_processor, check_vision, image_tokens

__all__ = ["check_alike", "check_card_images", "check_channels", "check_image_states"]


def check_channels(dit: Config, vae: Config, folder: Path) -> None:
    """The transformer makes what the VAE decodes, and takes that, or beside it an image's latents and their mask."""
    plain = vae["z_dim"]
    with_image = 2 * plain + vae["scale_factor_temporal"]
    if dit["out_channels"] != plain or dit["in_channels"] not in (plain, with_image):
        raise ModelError(
            f"{folder}: the transformer takes {dit['in_channels']} channels and makes {dit['out_channels']}, the VAE's "
            f"latents have {plain}; possible: takes {plain}, or {with_image} with an image's, and makes {plain}"
        )
    if dit["image_dim"] is not None and dit["in_channels"] == plain:
        raise unsupported("WanTransformer3DModel", "image_dim", dit["image_dim"], (None,), folder / "transformer")


def check_alike(dit: Config, second: Config, folder: Path) -> None:
    """Two experts are of one layout."""
    for key, value in dit.items():
        if not key.startswith("_") and second[key] != value:
            raise ModelError(
                f"{folder}: {key} is {short(value)} in transformer and {short(second[key])} in transformer_2; two "
                "experts of one layout can be run"
            )


def check_image_states(dit: Config, configs: dict[str, Config], classes: dict[str, Any], folder: Path) -> None:
    """An image encoder is there where the transformer reads one, and of the sizes that it reads."""
    if (dit["image_dim"] is None) != ("image_encoder" not in classes):
        raise ModelError(
            f"{folder}: the transformer's image_dim is {short(dit['image_dim'])}, and the folder has "
            f"{'an' if 'image_encoder' in classes else 'no'} image_encoder; they go together"
        )
    if "image_encoder" not in classes:
        return
    vision = check_vision(configs["image_encoder"], folder / "image_encoder")
    check_processor(configs["image_processor"], vision["image_size"], folder / "image_processor")
    made = {"image_dim": vision["hidden_size"]}
    if dit["pos_embed_seq_len"] is not None:
        made["pos_embed_seq_len"] = 2 * image_tokens(vision)
    for key, value in made.items():
        if dit[key] != value:
            raise ModelError(f"{folder}: the transformer's {key} is {dit[key]}, the image encoder makes {value}")


def check_card_images(card: ModelCard, dit: Config, vae: Config, index: Config, folder: Path) -> None:
    """The transformer's channels and image states say how it takes images; card and model_index.json must agree."""
    channels = dit["in_channels"] != vae["z_dim"]
    if channels != (card.image == "channels"):
        able = "channels" if channels else "first_latent, none"
        raise ModelError(
            f"{folder}: the model card says image: {card.image}, and the transformer takes {dit['in_channels']} "
            f"channels over latents of {vae['z_dim']}; possible: {able}"
        )
    if channels and (index["_class_name"] != "WanImageToVideoPipeline" or index.get("expand_timesteps")):
        raise ModelError(
            f"{folder}: the transformer takes an image in channels, and model_index.json names {index['_class_name']} "
            f"with expand_timesteps={index.get('expand_timesteps')}; possible: WanImageToVideoPipeline, without"
        )
    free = ("none", "optional") if channels and dit["image_dim"] is None else ("none",)
    lasts = free if dit["pos_embed_seq_len"] is None else ("required",)
    if card.last_image not in lasts:
        raise ModelError(
            f"{folder}: the model card says last_image: {card.last_image}, which the transformer's layout does not "
            f"fit; possible: {', '.join(lasts)}"
        )

"""Attention installed into stock transformers: full it changes nothing, sparse it is what a dense mask gives."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from diffusers import (
    CogVideoXTransformer3DModel,
    HunyuanVideoTransformer3DModel,
    LTXVideoTransformer3DModel,
    MochiTransformer3DModel,
    WanTransformer3DModel,
)
from diffusers.models.attention_dispatch import attention_backend
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from torch import Tensor, nn

from tests.attention.oracle import visible_LM
from vgen.attention import Dense
from vgen.attention.mixture import vmoba
from vgen.attention.order import TokenOrder
from vgen.attention.video import SparseAttention
from vgen.attention.windows import Window
from vgen.errors import ConfigError, ModelError
from vgen.models.dit import VideoDiT
from vgen.models.families import FAMILIES, install
from vgen.shapes import TokenGrid

# of diffusers' Mochi, whose rotary embedding asks for an autocast that a CPU does not have
pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast:UserWarning")

NARROW = Window(frames=1, rows=1, columns=1)
Size = tuple[int, int, int]  # frames, rows, columns of latents


@dataclass(frozen=True, slots=True)
class Case:
    """A tiny transformer with random weights, and how it is called.

    Args:
        make: the transformer.
        arguments: of a forward pass on a batch of latents of a size; `lengths` text tokens per item, of `TEXT`.
        patch: of latents per token.
        text: where text stands in self-attention.
    """

    make: Callable[[], nn.Module]
    arguments: Callable[[Size, tuple[int, ...]], dict[str, Any]]
    patch: Size = (1, 2, 2)
    text: Literal["apart", "before", "after"] = "apart"

    def grid(self, size: Size) -> TokenGrid:
        frames, height, width = (side // patch for side, patch in zip(size, self.patch, strict=True))
        return TokenGrid(frames=tuple(range(frames)), height=height, width=width)


TEXT = 5


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def padding(lengths: tuple[int, ...]) -> Tensor:
    return torch.arange(TEXT) < torch.tensor(lengths)[:, None]


def wan(**more: Any) -> WanTransformer3DModel:
    return WanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, in_channels=4, out_channels=4, text_dim=16, freq_dim=8,
        ffn_dim=16, num_layers=2, rope_max_seq_len=32, **more,
    )  # fmt: skip


def wan_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    batch = len(lengths)
    return {
        "hidden_states": normal(batch, 4, *size),
        "timestep": torch.full((batch,), 600),
        "encoder_hidden_states": normal(batch, TEXT, 16),
    }


def wan_ti2v_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    tokens = CASES["wan"].grid(size)
    timestep_BL = torch.full((len(lengths), tokens.tokens), 600.0)
    timestep_BL[:, : tokens.tokens_per_frame] = 0
    return wan_arguments(size, lengths) | {"timestep": timestep_BL}


def wan_i2v_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    batch = len(lengths)
    image = {"encoder_hidden_states_image": normal(batch, 7, 16), "encoder_hidden_states": normal(batch, 512, 16)}
    return wan_arguments(size, lengths) | image


def hunyuan() -> HunyuanVideoTransformer3DModel:
    return HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=10, num_layers=1, num_single_layers=2,
        num_refiner_layers=1, text_embed_dim=16, pooled_projection_dim=8, rope_axes_dim=(2, 4, 4),
    )  # fmt: skip


def hunyuan_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    return wan_arguments(size, lengths) | {
        "encoder_attention_mask": padding(lengths),
        "pooled_projections": normal(len(lengths), 8),
        "guidance": torch.full((len(lengths),), 6000.0),
    }


def mochi() -> MochiTransformer3DModel:
    model = MochiTransformer3DModel(
        num_attention_heads=2, attention_head_dim=8, num_layers=2, pooled_projection_dim=16, in_channels=4,
        text_embed_dim=16, time_embed_dim=4, max_sequence_length=16,
    )  # fmt: skip
    nn.init.normal_(model.pos_frequencies)
    return model


def mochi_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    return wan_arguments(size, lengths) | {"encoder_attention_mask": padding(lengths)}


def cogvideox(**more: Any) -> CogVideoXTransformer3DModel:
    return CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=2,
        text_embed_dim=16, num_layers=2, sample_width=8, sample_height=6, sample_frames=9, max_text_seq_length=TEXT,
        **more,
    )  # fmt: skip


def cogvideox_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    plain = wan_arguments(size, lengths)
    return plain | {"hidden_states": plain["hidden_states"].transpose(1, 2)}


def cogvideox15_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    frames, rows, columns = size[0] // 2, size[1] // 2, size[2] // 2
    rotary = get_3d_rotary_pos_embed(
        16, None, (rows, columns), frames, grid_type="slice", max_size=(rows, columns), device=torch.device("cpu")
    )
    return cogvideox_arguments(size, lengths) | {"image_rotary_emb": rotary}


def ltx() -> LTXVideoTransformer3DModel:
    return LTXVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, cross_attention_dim=32,
        num_layers=2, caption_channels=16,
    )  # fmt: skip


def ltx_arguments(size: Size, lengths: tuple[int, ...]) -> dict[str, Any]:
    batch, (frames, height, width) = len(lengths), size
    return wan_arguments(size, lengths) | {
        "hidden_states": normal(batch, frames * height * width, 4),
        "encoder_attention_mask": padding(lengths),
        "num_frames": frames,
        "height": height,
        "width": width,
    }


CASES = {
    "wan": Case(wan, wan_arguments),
    "wan-ti2v": Case(wan, wan_ti2v_arguments),
    "wan-i2v": Case(lambda: wan(image_dim=16, added_kv_proj_dim=24), wan_i2v_arguments),
    "hunyuan": Case(hunyuan, hunyuan_arguments, text="after"),
    "mochi": Case(mochi, mochi_arguments, text="after"),
    "cogvideox": Case(cogvideox, cogvideox_arguments, text="before"),
    "cogvideox1.5": Case(
        lambda: cogvideox(patch_size_t=2, use_rotary_positional_embeddings=True, patch_bias=False),
        cogvideox15_arguments,
        patch=(2, 2, 2),
        text="before",
    ),
    "ltx": Case(ltx, ltx_arguments, patch=(1, 1, 1)),
}
SIZE: Size = (4, 6, 8)
BATCHES = {"one": (TEXT,), "two": (TEXT, TEXT), "ragged": (3, TEXT), "ragged-alike": (2, 2)}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def made(case: Case) -> Any:
    torch.manual_seed(0)
    return case.make().eval()


@torch.no_grad()
def run(model: Any, arguments: dict[str, Any]) -> Tensor:
    return model(**arguments, return_dict=False)[0]


def sparse() -> SparseAttention:
    return SparseAttention(NARROW, executor="reference", block=8)


@contextmanager
def masked_by_hand(case: Case, size: Size, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same pattern as a dense mask on top of the model's own, in every self-attention over video."""
    stock, video = F.scaled_dot_product_attention, case.grid(size)

    def masked(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **more: Any) -> Tensor:
        text = key.shape[2] - video.tokens
        if query.shape == key.shape and text >= 0:
            sides = {"before": (text, 0), "after": (0, text), "apart": (0, 0)}[case.text]
            grid = replace(video, text_before=sides[0], text_after=sides[1])
            kept = visible_LM(NARROW, grid, grid)
            attn_mask = kept if attn_mask is None else kept & attn_mask
        return stock(query, key, value, attn_mask=attn_mask, **more)

    with monkeypatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", masked)
        yield


@every_case
@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES)
def test_dense_changes_nothing(case: Case, lengths: tuple[int, ...]) -> None:
    model, arguments = made(case), case.arguments(SIZE, lengths)
    stock = run(model, arguments)
    with install(model, Dense()):
        torch.testing.assert_close(run(model, arguments), stock, atol=1e-5, rtol=0)
    assert torch.equal(run(model, arguments), stock)


@every_case
@pytest.mark.parametrize("lengths", BATCHES.values(), ids=BATCHES)
def test_sparse_equals_a_dense_mask(case: Case, lengths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    model, arguments = made(case), case.arguments(SIZE, lengths)
    with masked_by_hand(case, SIZE, monkeypatch):
        wanted = run(model, arguments)
    assert (wanted - run(model, arguments)).abs().max() > 1e-3  # or the pattern would not show
    with install(model, sparse()):
        torch.testing.assert_close(run(model, arguments), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["hunyuan", "mochi", "cogvideox"])
def test_patterns_that_choose_by_the_data(name: str) -> None:
    """All chunks are dense attention, few are not; text of unlike lengths among them."""
    case = CASES[name]
    model, arguments = made(case), case.arguments(SIZE, (3, TEXT))
    stock = run(model, arguments)
    for topk, same in ((99, True), (1, False)):
        pattern = vmoba(patch=TokenOrder(None, 2, 2), cuboid=TokenOrder(2, 2, 2), topk=topk)
        with install(model, SparseAttention(pattern, executor="reference")):
            assert torch.allclose(run(model, arguments), stock, atol=1e-5, rtol=0) == same


def test_the_stock_model_equals_ours_with_one_attention() -> None:
    case = CASES["wan"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT, TEXT))
    ours = VideoDiT.from_config(model.config).eval()
    ours.load_state_dict(model.state_dict())
    with torch.no_grad():
        text = arguments["encoder_hidden_states"]
        wanted = ours(arguments["hidden_states"], torch.full((2, 1), 0.6), text, attention=sparse(), sigma=0.6)
    with install(model, sparse()):
        torch.testing.assert_close(run(model, arguments), wanted, atol=1e-5, rtol=0)


class Noted:
    """Dense attention that writes down how it is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, float | None, TokenGrid, torch.Size]] = []

    def __call__(
        self,
        q_BLNK: Tensor,
        k_BMNK: Tensor,
        v_BMNK: Tensor,
        *,
        query: TokenGrid,
        key: TokenGrid,
        layer: int,
        sigma: float | None = None,
    ) -> Tensor:
        assert query == key and q_BLNK.shape == k_BMNK.shape == v_BMNK.shape
        self.calls.append((layer, sigma, query, q_BLNK.shape))
        return Dense()(q_BLNK, k_BMNK, v_BMNK, query=query, key=key, layer=layer, sigma=sigma)


@every_case
def test_the_attention_is_told_grid_layer_and_noise_level(case: Case) -> None:
    """Padded text is no part of the grid; items of unlike text come apart, of Mochi all items."""
    model, lengths, apart = made(case), (3, TEXT), case.text == "apart"
    per_item = isinstance(model, MochiTransformer3DModel)
    padded = per_item or isinstance(model, HunyuanVideoTransformer3DModel)
    with install(model, noted := Noted()) as installed:
        assert installed.attention is noted
        run(model, case.arguments(SIZE, lengths))
    calls = [(1, 3), (1, TEXT)] if padded else [(2, 0 if apart else TEXT)]
    layers = len(FAMILIES[type(model).__name__].layers(model))
    assert [layer for layer, *_ in noted.calls] == [layer for layer in range(layers) for _ in calls]
    for (_, sigma, grid, shape), (batch, text) in zip(noted.calls, calls * layers, strict=True):
        sides = {"before": (text, 0), "after": (0, text), "apart": (0, 0)}[case.text]
        assert grid == replace(case.grid(SIZE), text_before=sides[0], text_after=sides[1])
        assert shape[:2] == (batch, grid.tokens)
        assert sigma == pytest.approx(0.4 if per_item else 0.6)  # Mochi's 600 of 1000 is closer to clean


def test_hunyuan_calls_once_where_text_is_alike() -> None:
    case, noted = CASES["hunyuan"], Noted()
    model = made(case)
    with install(model, noted):
        run(model, case.arguments(SIZE, (2, 2)))
    assert [layer for layer, *_ in noted.calls] == [0, 1, 2]  # one double block, two single ones
    assert {shape[0] for *_, shape in noted.calls} == {2}


@every_case
def test_two_sizes_in_one_installation(case: Case) -> None:
    model, other = made(case), (2, 8, 6)
    stock = [run(model, case.arguments(size, (3, TEXT))) for size in (SIZE, other, SIZE)]
    with install(model, sparse()):
        first, second, third = (run(model, case.arguments(size, (3, TEXT))) for size in (SIZE, other, SIZE))
    assert first.shape == stock[0].shape and second.shape == stock[1].shape
    assert torch.equal(first, third) and not torch.allclose(first, stock[0], atol=1e-3)


def state(model: Any) -> list[tuple[str, dict[str, object]]]:
    """Everything that hangs on a model and its parts, by identity."""
    return [
        (name, {key: tuple(value) if isinstance(value, dict) else id(value) for key, value in vars(module).items()})
        for name, module in model.named_modules()
    ]


@every_case
def test_nothing_is_left_behind(case: Case) -> None:
    model, arguments = made(case), case.arguments(SIZE, (3, TEXT))
    before, stock = state(model), run(model, arguments)
    installed = install(model, sparse())
    assert state(model) != before
    run(model, arguments)
    installed.remove()
    installed.remove()
    assert state(model) == before
    assert torch.equal(run(model, arguments), stock)


def test_an_error_inside_leaves_nothing_behind() -> None:
    case = CASES["hunyuan"]
    model, arguments = made(case), case.arguments(SIZE, (3, TEXT))
    before, stock = state(model), run(model, arguments)

    def fails(*_: object, **__: object) -> Tensor:
        raise RuntimeError("in the kernel")

    with pytest.raises(RuntimeError, match="in the kernel"), install(model, fails):
        run(model, arguments)
    assert state(model) == before
    assert torch.equal(run(model, arguments), stock)


def test_after_an_error_the_installation_goes_on() -> None:
    case = CASES["wan"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    with install(model, Dense()):
        with pytest.raises(RuntimeError):
            run(model, arguments | {"encoder_hidden_states": normal(1, TEXT, 3)})
        run(model, arguments)
        with pytest.raises(ConfigError, match="call the transformer itself"):
            model.forward(**arguments)


def test_one_attention_at_a_time() -> None:
    model = made(CASES["wan"])
    with install(model, Dense()):
        with pytest.raises(ConfigError, match="has an attention installed; remove it first"):
            install(model, Dense())
        with install(made(CASES["wan"]), Dense()):  # another model is another matter
            pass
    install(model, Dense()).remove()


def test_unknown_transformers_are_refused() -> None:
    with pytest.raises(ModelError, match=r"into Linear; possible: CogVideoX.*WanTransformer3DModel"):
        install(nn.Linear(1, 1), Dense())


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_other_backends_of_diffusers_are_refused() -> None:
    case = CASES["wan"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    stock = run(model, arguments)
    with install(model, Dense()):
        with attention_backend("_native_math"):
            torch.testing.assert_close(run(model, arguments), stock, atol=1e-5, rtol=0)
        with pytest.raises(ConfigError, match=r"backend 'flex' .*'native'"), attention_backend("flex"):
            run(model, arguments)
        run(model, arguments)


def test_other_masks_are_refused() -> None:
    case = CASES["cogvideox"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    mask = torch.zeros(1, 1, case.grid(SIZE).tokens + TEXT)
    with install(model, Dense()), pytest.raises(ModelError, match="that is not of padded text"):
        run(model, arguments | {"attention_kwargs": {"attention_mask": mask}})


def test_a_mask_with_holes_is_refused() -> None:
    """A text encoder that pads in front: the model hides the end by its count, so this one only comes by hand."""
    case = CASES["hunyuan"]
    model, arguments = made(case), case.arguments(SIZE, (3,))
    tokens = case.grid(SIZE).tokens + TEXT
    holes = torch.ones(1, 1, 1, tokens, dtype=torch.bool)
    holes[..., -2] = False

    def with_holes(module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*args[:3], holes, *args[4:])

    model.transformer_blocks[0].register_forward_pre_hook(with_holes)
    with install(model, Dense()), pytest.raises(ModelError, match="hides the end of text behind the video"):
        run(model, arguments)


def test_ltx_without_sizes_is_refused() -> None:
    case = CASES["ltx"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    coordinates = {"video_coords": torch.zeros(1, 3, case.grid(SIZE).tokens), "num_frames": None}
    run(model, arguments | coordinates)
    with install(model, Dense()), pytest.raises(ModelError, match="without num_frames, height and width"):
        run(model, arguments | coordinates)


def test_tokens_that_do_not_fit_are_refused() -> None:
    case = CASES["ltx"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    coordinates = {"video_coords": torch.zeros(1, 3, case.grid(SIZE).tokens)}
    with install(model, Dense()), pytest.raises(ModelError, match=r"192 tokens .* imply 144 of video, 3x6x8"):
        run(model, arguments | coordinates | {"num_frames": 3})


def test_processors_set_in_between_are_refused() -> None:
    case = CASES["cogvideox"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    stock = run(model, arguments)
    with install(model, Dense()):
        model.fuse_qkv_projections()
        with pytest.raises(ConfigError, match="were set after"):
            run(model, arguments)
    with install(model, Dense()):
        torch.testing.assert_close(run(model, arguments), stock, atol=1e-5, rtol=0)


def test_gradients_flow_and_checkpoints_are_refused() -> None:
    case = CASES["hunyuan"]
    model, arguments = made(case), case.arguments(SIZE, (3, TEXT))

    def gradients() -> list[Tensor]:
        return list(
            torch.autograd.grad(model(**arguments).sample.square().mean(), [*model.transformer_blocks.parameters()])
        )

    stock = gradients()
    with install(model, Dense()):
        for ours, theirs in zip(gradients(), stock, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
        model.train()
        model.enable_gradient_checkpointing()
        with pytest.raises(ConfigError, match="disable_gradient_checkpointing"):
            model(**arguments)


def test_adapters_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    from peft import LoraConfig

    case = CASES["wan"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    lora = LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False)
    with install(model, sparse()):
        plain = run(model, arguments)
        torch.manual_seed(1)
        model.add_adapter(lora)
        during = run(model, arguments)
    with masked_by_hand(case, SIZE, monkeypatch):
        torch.testing.assert_close(during, run(model, arguments), atol=1e-5, rtol=0)
    with install(model, sparse()):
        assert torch.equal(run(model, arguments), during) and not torch.allclose(during, plain, atol=1e-3)


@pytest.mark.filterwarnings("ignore")  # of the tracer, about what it leaves out
def test_compiled_transformers_see_it_come_and_go() -> None:
    """Traced without a backend, which is what can go wrong; code generation is not ours."""
    case = CASES["wan"]
    model, arguments = made(case), case.arguments(SIZE, (TEXT,))
    stock = run(model, arguments)
    with install(model, sparse()):
        wanted = run(model, arguments)
    compiled = torch.compile(model, backend="eager")
    assert torch.equal(run(compiled, arguments), stock)
    for _ in range(2):
        with install(model, sparse()):
            assert torch.equal(run(compiled, arguments), wanted)
        assert torch.equal(run(compiled, arguments), stock)

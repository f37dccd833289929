"""Transformers from GGUF files: tiny ones in the layout of Wan's releases, against blocks decoded by hand."""

import importlib.util
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from numpy.typing import NDArray

from tests.convert.files import originals
from tests.folders import tiny_folder, tiny_transformer
from tests.models.tiny import latents, ours_of, words
from vgen.errors import ConfigError, ModelError
from vgen.models.components import weigh
from vgen.models.load import load_model
from vgen.models.loaded import LoadedModel, own_model
from vgen.models.quantization import Quantization, stored_bytes
from vgen.pipeline import VideoPipeline

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gguf") is None, reason="gguf is not installed: pip install 'vgen[quant]'"
)
CPU, MIB = torch.device("cpu"), 1 << 20
WIDTHS = {"attention_head_dim": 32}  # rows of 64 and 32 values: whole blocks
BLOCK = 32  # values of Q8_0, behind one scale in fp16


def is_linear(name: str) -> bool:
    """What the releases quantise; patches, norms, modulations and biases stay floats."""
    return name.endswith(".weight") and "norm" not in name and "patch" not in name


def write(path: Path, state: dict[str, torch.Tensor], kind: str = "Q8_0", *, prefix: str = "") -> Path:
    import gguf

    writer = gguf.GGUFWriter(path, "wan")
    writer.add_array("tags", ["a", "b"])
    writer.add_quantization_version(2)
    for name, value in state.items():
        array = value.detach().float().numpy()
        if is_linear(name):
            packed = gguf.quants.quantize(array, gguf.GGMLQuantizationType[kind])
            writer.add_tensor(prefix + name, packed, raw_dtype=gguf.GGMLQuantizationType[kind])
        else:
            writer.add_tensor(prefix + name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def decoded(weight: torch.Tensor) -> torch.Tensor:
    """Q8_0 by hand: 32 values share a scale in fp16, the largest over 127; diffusers rounds the products to fp16."""
    blocks = weight.double().reshape(-1, BLOCK)
    scale = blocks.abs().amax(1, keepdim=True).float() / 127
    whole = (blocks.float() / scale).round()
    return (whole.double() * scale.half().double()).half().reshape(weight.shape)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_folder(tmp_path_factory.mktemp("gguf") / "model", layout="playground")
    tiny_transformer(**WIDTHS).save_pretrained(folder / "transformer")
    return folder


@pytest.fixture(scope="module")
def stock() -> WanTransformer3DModel:
    return tiny_transformer(**WIDTHS)


@pytest.fixture(scope="module")
def file(folder: Path, stock: WanTransformer3DModel) -> Path:
    return write(folder.parent / "wan-q8_0.gguf", originals(stock))


def loaded(folder: Path, *files: Path, dtype: torch.dtype = torch.float32) -> LoadedModel:
    return own_model(load_model(str(folder), device=CPU, dtype=dtype, quantization=Quantization.of(None, files)))


def a_pass(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(latents(3), torch.full((1, 1), 0.6), words())


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_pass_equals_one_with_blocks_decoded_by_hand(
    folder: Path, stock: WanTransformer3DModel, tmp_path: Path, prefix: str
) -> None:
    dit = loaded(folder, write(tmp_path / "wan.gguf", originals(stock), prefix=prefix)).dit
    by_hand = ours_of(stock)
    state = by_hand.state_dict()
    by_hand.load_state_dict({name: decoded(w).float() if is_linear(name) else w for name, w in state.items()})
    torch.testing.assert_close(a_pass(dit), a_pass(by_hand), rtol=0, atol=2e-5)
    assert (a_pass(dit) - a_pass(ours_of(stock))).abs().max() > 1e-4


def test_layers_stay_as_they_are_stored(folder: Path, file: Path) -> None:
    dit = loaded(folder, file).dit
    weights = dict(dit.named_parameters())
    query = weights["blocks.0.attn1.to_q.weight"]
    assert query.dtype == torch.uint8 and query.numel() == 64 * 64 // 32 * 34
    assert weights["condition_embedder.time_embedder.linear_1.weight"].dtype == dit.dtype == torch.float32


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_halves_are_read(folder: Path, stock: WanTransformer3DModel, tmp_path: Path, kind: str) -> None:
    dit = loaded(folder, write(tmp_path / "wan.gguf", originals(stock), kind)).dit
    by_hand, half = ours_of(stock), torch.float16 if kind == "F16" else torch.bfloat16
    state = by_hand.state_dict()
    by_hand.load_state_dict({name: w.to(half).float() if is_linear(name) else w for name, w in state.items()})
    torch.testing.assert_close(a_pass(dit), a_pass(by_hand), rtol=0, atol=1e-5)


def test_diffusers_names_are_read_too(folder: Path, file: Path, stock: WanTransformer3DModel, tmp_path: Path) -> None:
    other = write(tmp_path / "named.gguf", dict(stock.state_dict()))
    assert torch.equal(a_pass(loaded(folder, other).dit), a_pass(loaded(folder, file).dit))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_memory_is_foretold(folder: Path, file: Path, dtype: torch.dtype) -> None:
    model = loaded(folder, file, dtype=dtype)
    parts = (model.dit, model.vae, model.prompts.encoder)
    held = sum(stored_bytes(weight) for part in parts for weight in part.parameters())
    kept = Quantization.of(None, [file])
    foretold = weigh(str(folder), device=CPU, dtype=dtype, quantization=kept)[1] * MIB
    assert foretold == pytest.approx(held, rel=0.05)  # what stays in fp32 is counted in the dtype


def test_a_folder_without_those_weights_will_do_and_the_file_is_in_the_digests(
    folder: Path, file: Path, tmp_path: Path
) -> None:
    bare = Path(shutil.copytree(folder, tmp_path / "model", ignore=weights_of_transformer))
    clip = VideoPipeline.from_pretrained(bare, device="cpu", gguf=[file])("a red ball rolls", seed=1)
    model = clip.record["model"]
    assert model["quantization"] == "gguf" and "transformer.gguf" in model["digests"]
    assert not any(name.startswith("transformer/diffusion") for name in model["digests"])
    assert model["digests"] == loaded(folder, file).digests()
    assert "gguf" in clip.record["versions"] and not any("gguf" in key for key in clip.record["resolved"])


def weights_of_transformer(at: str, names: list[str]) -> list[str]:
    return [name for name in names if at.endswith("transformer") and name.endswith(".safetensors")]


def test_a_file_for_each_transformer(folder: Path, file: Path) -> None:
    with pytest.raises(ConfigError, match="2 GGUF files for 1 transformers"):
        loaded(folder, file, file)


def test_two_transformers_take_their_files_in_order(tmp_path: Path) -> None:
    folder, seeds = tiny_folder(tmp_path / "model", layout="t2v-a14b"), {"transformer": 3, "transformer_2": 4}
    files = []
    for part, seed in seeds.items():
        stock = tiny_transformer(seed, **WIDTHS)
        stock.save_pretrained(folder / part)
        files.append(write(tmp_path / f"{part}.gguf", originals(stock), "F16"))
    model = loaded(folder, *files)
    assert model.dit_2 is not None and {"transformer.gguf", "transformer_2.gguf"} <= {*model.digests()}
    for dit, seed in zip((model.dit, model.dit_2), seeds.values(), strict=True):
        torch.testing.assert_close(a_pass(dit), a_pass(ours_of(tiny_transformer(seed, **WIDTHS))), rtol=0, atol=1e-3)
    assert (a_pass(model.dit) - a_pass(model.dit_2)).abs().max() > 0.1
    with pytest.raises(
        ConfigError, match="1 GGUF files for 2 transformers; give one for each, that for high noise first"
    ):
        loaded(folder, files[0])


def without(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda state: state.pop(name)


def as_(name: str, value: torch.Tensor) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda state: state.update({name: value})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("blocks.0.ffn.0.weight"), "weights lack blocks.0.ffn.net.0.proj.weight"),
        (as_("blocks.7.ffn.0.weight", torch.zeros(64, 64)), "weights hold blocks.7.ffn.net.0.proj.weight"),
        (as_("evil", torch.zeros(32)), "weights hold evil"),
        (as_("blocks.0.ffn.0.weight", torch.zeros(64, 32)), r"of shape \[64, 32\], the config asks for \[64, 64\]"),
        (as_("face_adapter.x.linear1_kv.weight", torch.zeros(64, 64)), "face_adapter"),
        (as_("x.motion_encoder.enc.net_app.convs.0.bias", torch.zeros(32)), "motion_encoder"),
        (as_("motion_encoder.enc.net_app.convs.1.bias", torch.zeros(32)), "motion_encoder"),
    ],
)
def test_another_model_is_refused(
    folder: Path, stock: WanTransformer3DModel, tmp_path: Path, change: Callable[..., object], said: str
) -> None:
    state = originals(stock)
    change(state)
    with pytest.raises(ModelError, match=said):
        loaded(folder, write(tmp_path / "wan.gguf", state))


def field(name: bytes, kind: int, value: bytes) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value


def tensor(name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0) -> bytes:
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape[::-1])
    return struct.pack("<Q", len(name)) + name + dims + struct.pack("<IQ", kind, offset)


def header(*parts: bytes, tensors: int = 0, fields: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, fields) + b"".join(parts) + bytes(64)


HUGE = struct.pack("<Q", 1 << 60)
HOSTILE = {
    "another magic": b"PK\x03\x04" + bytes(64),
    "empty": b"",
    "cut": b"GGUF\x03",
    "another version": header(version=99),
    "endless tensors": header(tensors=1 << 60),
    "endless fields": header(fields=1 << 60),
    "an endless array": header(field(b"a", 9, struct.pack("<I", 0) + HUGE), fields=1),
    "an endless array of text": header(field(b"a", 9, struct.pack("<I", 8) + HUGE), fields=1),
    "nested arrays": header(field(b"a", 9, struct.pack("<IQ", 9, 2) + bytes(40)), fields=1),
    "endless text": header(field(b"a", 8, HUGE), fields=1),
    "an endless name": header(HUGE, fields=1),
    "a name that is no text": header(field(b"\xff\xfe", 4, bytes(4)), fields=1),
    "an unknown field": header(field(b"a", 77, bytes(8)), fields=1),
    "a field twice": header(field(b"a", 0, b"1"), field(b"a", 0, b"1"), fields=2),
    "alignment 0": header(field(b"general.alignment", 4, bytes(4)), fields=1),
    "alignment 3": header(field(b"general.alignment", 4, struct.pack("<I", 3)), fields=1),
    "a tensor past the end": header(tensor(b"a", (1 << 20, 1 << 20)), tensors=1),
    "a tensor that overflows": header(tensor(b"a", (1 << 63, 1 << 63)), tensors=1),
    "an offset past the end": header(tensor(b"a", (4,), offset=1 << 62), tensors=1),
    "a tensor twice": header(tensor(b"a", (1,)), tensor(b"a", (1,)), tensors=2),
    "an unknown type": header(tensor(b"a", (4,), kind=999), tensors=1),
    "a broken block": header(tensor(b"a", (33,), kind=8), tensors=1),
    "many dimensions": header(tensor(b"a", (1,) * 9), tensors=1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused_in_one_line(folder: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ModelError) as error:
        loaded(folder, path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_bytes_turned_at_random_end_in_weights_or_one_line(folder: Path, file: Path, tmp_path: Path) -> None:
    sound, rng = np.frombuffer(file.read_bytes(), np.uint8), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        refused += not _loads(folder, _turned(sound, rng), tmp_path / "x.gguf")
    assert 20 < refused < 60


def _turned(sound: NDArray[np.uint8], rng: np.random.Generator) -> bytes:
    turned = sound.copy()
    turned[rng.integers(0, 6000, 3)] = rng.integers(0, 256, 3, dtype=np.uint8)
    return turned[: len(turned) if rng.random() < 0.8 else rng.integers(0, len(turned))].tobytes()


def _loads(folder: Path, content: bytes, path: Path) -> bool:
    path.write_bytes(content)
    try:
        weigh(str(folder), device=CPU, dtype=torch.float32, quantization=Quantization.of(None, [path]))
    except ModelError as error:
        assert "\n" not in str(error)
        return False
    return True


def test_a_missing_file_is_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"nowhere\.gguf: no such file"):
        loaded(folder, Path("nowhere.gguf"))

"""What the denoiser tells the model, and the book of texts that frames read."""

from typing import Any
from unittest.mock import patch

import pytest
import torch

from tests.models.tiny import LAYERS, latents, tiny_dit, words
from vgen.models.cache import KVCache
from vgen.models.denoiser import TextBook, WanDenoiser
from vgen.models.dit import VideoDiT
from vgen.models.passes import PreparedText, TextPerFrame
from vgen.samplers.prompts import Cue

A, B = Cue(prompt=0), Cue(prompt=1)


@pytest.fixture(scope="module")
def dit() -> VideoDiT:
    return tiny_dit()


@pytest.fixture
def book(dit: VideoDiT) -> TextBook:
    return TextBook(dit, [words(1), words(2), words(3)])


def assert_same(text: Any, wanted: PreparedText) -> None:
    assert isinstance(text, PreparedText)
    for ours, theirs in zip(text.layers, wanted.layers, strict=True):
        torch.testing.assert_close(ours.k_BMNK, theirs.k_BMNK, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.v_BMNK, theirs.v_BMNK, rtol=0, atol=1e-6)


@torch.no_grad()
def test_cues_become_the_texts_they_count(dit: VideoDiT, book: TextBook) -> None:
    assert_same(book((B, B)), dit.prepare_text(words(2)))
    mixed = book((A, A, B))
    assert isinstance(mixed, TextPerFrame) and mixed.early is None
    assert mixed.frames[0] is mixed.frames[1] and mixed.frames[2] is book((B,))


@torch.no_grad()
def test_a_share_blends_the_states_of_the_encoder(dit: VideoDiT, book: TextBook) -> None:
    blended = dit.prepare_text(0.75 * words(1) + 0.25 * words(2))
    assert_same(book((Cue(prompt=0, other=1, share=0.25),)), blended)


def test_what_is_equal_is_one_text(book: TextBook) -> None:
    alike = (A, Cue(prompt=0, other=1), Cue(prompt=0, other=0, share=0.5), Cue(prompt=1, other=0, share=1), A)
    assert book(alike) is book((A,))
    assert book((Cue(prompt=0, early=0), A)) is book((A,))


def test_the_same_states_are_the_same_prompt(dit: VideoDiT) -> None:
    negative = words()
    book = TextBook(dit, [negative, words(2), negative])
    assert book((A, Cue(prompt=2), Cue(prompt=0, other=2, share=0.3))) is book((A,))
    assert book((B,)) is not book((A,))


def test_the_first_half_of_the_layers_gets_its_own(book: TextBook) -> None:
    text = book((Cue(prompt=0, early=1), A, Cue(prompt=2, early=1)))
    assert isinstance(text, TextPerFrame) and text.early is not None
    a, b, c = (book((Cue(prompt=i),)) for i in range(3))
    assert text.frames == (a, a, c) and text.early == (b, a, b)


def test_the_book_keeps_the_latest_and_never_prepares_twice_in_a_call(dit: VideoDiT) -> None:
    book = TextBook(dit, [words(i) for i in range(4)], capacity=2)
    cues = [Cue(prompt=i) for i in range(4)]
    with patch.object(VideoDiT, "prepare_text", autospec=True, side_effect=VideoDiT.prepare_text) as prepare:
        first, again = book((A, B)), book((B, A))
        assert prepare.call_count == 2
        assert (
            isinstance(first, TextPerFrame) and isinstance(again, TextPerFrame) and first.frames[0] is again.frames[1]
        )
        book((*cues, *cues))  # more than it keeps: 2 and 3 are new, 0 and 1 go
        assert prepare.call_count == 4
        book((cues[2], cues[3]))
        assert prepare.call_count == 4
        book((A,))
        assert prepare.call_count == 5


def denoise(dit: VideoDiT, **settings: Any) -> WanDenoiser:
    return WanDenoiser(dit=dit, texts=TextBook(dit, [words()]), **settings)


@torch.no_grad()
def test_the_label_is_what_the_model_is_told_and_sigma_how_noisy_it_is(dit: VideoDiT) -> None:
    x, sigma, label = latents(2), torch.tensor([[0.4, 0.8]]), torch.tensor([[0.1, 0.2]])
    x0 = denoise(dit)(x, sigma, frames=(0, 1), cues=(A, A), context=None, label_BT=label)
    velocity = dit(x, label, words())
    assert x0.dtype == torch.float32
    torch.testing.assert_close(x0, x - sigma[:, None, :, None, None] * velocity, rtol=0, atol=1e-6)


@pytest.mark.parametrize("label", [0.0, 0.3, -0.001])
@torch.no_grad()
def test_committed_frames_have_the_label_that_is_asked(dit: VideoDiT, label: float) -> None:
    ours, wanted = (KVCache(layers=LAYERS, capacity=2) for _ in range(2))
    denoise(dit).commit(latents(2), frames=(0, 1), cues=(A, A), context=ours, label=label)
    dit(latents(2), torch.full((1, 1), label), words(), context=wanted, commit=True)
    for layer in range(LAYERS):
        held, right = ours.read(layer), wanted.read(layer)
        assert held is not None and right is not None
        torch.testing.assert_close(held, right, rtol=0, atol=1e-6)


class Noting:
    """Attention that does nothing but note its noise level."""

    def __init__(self) -> None:
        self.sigmas: set[float | None] = set()

    def __call__(self, q_BLNK, k_BMNK, v_BMNK, *, query, key, layer, sigma=None):  # type: ignore[no-untyped-def]
        self.sigmas.add(sigma)
        return q_BLNK


def test_attention_is_told_the_highest_noise_level_and_that_commits_are_clean(dit: VideoDiT) -> None:
    attention, cache = Noting(), KVCache(layers=LAYERS, capacity=2)
    noting = denoise(dit, attention=attention)
    noting(latents(2), torch.tensor([[0.25, 0.75]]), frames=(0, 1), cues=(A, A), context=None)
    assert attention.sigmas == {0.75}
    noting.commit(latents(2), frames=(0, 1), cues=(A, A), context=cache, label=0.5)
    assert attention.sigmas == {0.75, 0.0}

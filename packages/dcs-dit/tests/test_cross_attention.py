"""Texts: what lies beyond a text's length does not exist, and no text is a condition of its own."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dcs_dit import TextEncoder, TextStates

from .labelled_files import error
from .small_dit import (
    CLOSE,
    KINDS,
    LEVELS,
    PICTURE,
    TEXT_WIDTH,
    Inputs,
    changed,
    fresh,
    inputs,
    lively,
    model,
    randn,
    small_config,
)


def _given(levels: list[int], lengths: list[int], states: int = 4) -> Inputs:
    text = TextStates(randn(len(levels), states, TEXT_WIDTH, seed=5), torch.tensor(lengths))
    return replace(inputs(levels, "text"), text=text)


@given(
    samples=st.lists(st.tuples(st.integers(1, LEVELS), st.integers(0, 4)), min_size=1, max_size=4),
    filler=st.sampled_from([0.0, -1e3, 1e30]),
)
def test_states_beyond_the_length_change_nothing(
    samples: list[tuple[int, int]], filler: float
) -> None:
    levels, lengths = map(list, zip(*samples, strict=True))
    dit, given_ = model("text"), _given(levels, lengths)
    states = given_.text.states.clone()
    for row, length in zip(states, lengths, strict=True):
        row[length:] = filler
    other = replace(given_, text=TextStates(states, given_.text.lengths))
    assert torch.equal(other.velocity(dit), given_.velocity(dit))


def test_longer_padding_changes_nothing() -> None:
    dit, given_ = model("text"), _given([4, 2, 4], [0, 3, 4])
    more = torch.cat([given_.text.states, randn(3, 9, TEXT_WIDTH)], dim=1)
    other = replace(given_, text=TextStates(more, given_.text.lengths))
    torch.testing.assert_close(other.velocity(dit), given_.velocity(dit), **CLOSE)


def test_a_text_of_length_0_is_no_text() -> None:
    dit, given_ = model("text"), _given([4, 2, 4], [0, 0, 0])
    nothing = replace(given_, text=None).velocity(dit)
    torch.testing.assert_close(given_.velocity(dit), nothing, **CLOSE)
    # One with a text, one without: the second is as if nobody had one.
    mixed = replace(given_, text=replace(given_.text, lengths=torch.tensor([2, 0, 3])))
    found = mixed.velocity(dit)
    torch.testing.assert_close(found[1], nothing[1], **CLOSE)
    assert (found[0] - nothing[0]).abs().max() > 1e-3


@pytest.mark.parametrize("place", [0, 2])
def test_every_state_of_a_text_matters_to_all_tokens_of_its_sample(place: int) -> None:
    dit, given_ = model("text"), _given([4, 2, 3], [1, 3, 4])
    states = changed(given_.text.states, 1, place)
    before = given_.velocity(dit)
    after = replace(given_, text=replace(given_.text, states=states)).velocity(dit)
    is_active = torch.arange(LEVELS) < 2
    assert torch.equal((after != before).any(dim=-1)[1], is_active.expand(*PICTURE, LEVELS))
    assert torch.equal(after[[0, 2]], before[[0, 2]])


def test_a_text_is_a_set_of_states() -> None:
    """Positions of words are the encoder's to tell."""
    dit, given_ = model("text"), _given([3], [3])
    states = given_.text.states[:, [2, 0, 1, 3]]
    other = replace(given_, text=replace(given_.text, states=states))
    torch.testing.assert_close(other.velocity(dit), given_.velocity(dit), **CLOSE)


def test_text_starts_without_effect() -> None:
    dit, given_ = lively(fresh(small_config(**KINDS["text"]))).double(), _given([4, 2], [2, 3])
    for block in dit.blocks:
        torch.nn.init.zeros_(block.text_attention.out.weight)
        torch.nn.init.zeros_(block.text_attention.out.bias)
    assert torch.equal(given_.velocity(dit), replace(given_, text=None).velocity(dit))
    for block in fresh(small_config(**KINDS["text"])).blocks:
        assert not block.text_attention.out.weight.any()
        assert not block.text_attention.out.bias.any()


def test_a_model_without_text_does_not_look_at_it() -> None:
    dit, given_ = model("plain"), _given([4, 2], [2, 3])
    assert torch.equal(given_.velocity(dit), replace(given_, text=None).velocity(dit))
    assert dit.text_keys(given_.text, 2) is None


# ---------------------------------------------------------------------- messages


@pytest.mark.parametrize(
    ("states", "message"),
    [
        (
            torch.zeros(2, 3),
            "`states` must be floats of shape (b, s, text_width), but are torch.float32 of shape "
            "(2, 3).",
        ),
        (
            torch.zeros(2, 3, 4, dtype=torch.int64),
            "`states` must be floats of shape (b, s, text_width), but are torch.int64 of shape "
            "(2, 3, 4).",
        ),
    ],
)
def test_states_of_another_kind(states: torch.Tensor, message: str) -> None:
    with error(message):
        TextStates(states, torch.tensor([1, 1]))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        (
            torch.tensor([1, 2, 3]),
            "`lengths` must be 2 integers, one for each text, but are torch.int64 of shape (3,).",
        ),
        (
            torch.tensor([1.0, 2.0]),
            "`lengths` must be 2 integers, one for each text, but are torch.float32 of shape (2,).",
        ),
        (
            torch.tensor([[1, 2]]),
            "`lengths` must be 2 integers, one for each text, but are torch.int64 of shape (1, 2).",
        ),
        (
            torch.tensor([-1, 4]),
            "`lengths` must be between 0 and the 3 states there are, but range from -1 to 4.",
        ),
        (
            torch.tensor([0, 4]),
            "`lengths` must be between 0 and the 3 states there are, but range from 0 to 4.",
        ),
    ],
)
def test_lengths_of_another_kind(lengths: torch.Tensor, message: str) -> None:
    with error(message):
        TextStates(torch.zeros(2, 3, 4), lengths)


def test_no_texts_and_no_states_are_fine() -> None:
    assert TextStates(torch.zeros(0, 3, 4), torch.zeros(0, dtype=torch.int64)).states.shape[0] == 0
    assert TextStates(torch.zeros(2, 0, 4), torch.zeros(2, dtype=torch.int64)).lengths.sum() == 0


def test_an_encoder_is_known_by_what_it_does() -> None:
    class Encoder:
        width = TEXT_WIDTH

        def encode(self, texts: list[str]) -> TextStates:
            raise NotImplementedError

    assert isinstance(Encoder(), TextEncoder)
    assert not isinstance(object(), TextEncoder)

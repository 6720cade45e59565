"""Captions in place of classes: their tables, the small encoder, latents, training and samples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from captioned_pictures import CAPTIONS, captioned_options

from dcs_dit import DCSDiT
from dcs_dit.transformers_text import TransformersTextEncoder
from dcs_eval.labelled_files import find_levels
from dcs_tok.pictures import write_picture
from launching import Context, Options
from sources import photos
from systems import caption_data, caption_stages
from systems.caption_data import ENCODER, captioned, check_captions, prepare_captions, prompts
from systems.caption_stages import matched_share, measure_matches, sample_captions
from systems.generator_stages import encoder_of, latents_of, train
from systems.photo_captions import TRAINED, UNSEEN
from systems.sheets import with_caption
from systems.small_text_encoder import WIDTH, write_text_encoder
from text_to_image import measure

# ---------------------------------------------------------------- the encoder


def test_the_small_encoder_knows_its_words_and_is_drawn_from_a_seed(
    encoder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(5)
    assert write_text_encoder(tmp_path / "same", [*CAPTIONS, "a fox"]) == 7 + 3
    assert write_text_encoder(tmp_path / "other", [*CAPTIONS, "a fox"], seed=1) == 7 + 3
    text, same, other = map(
        TransformersTextEncoder, (encoder, tmp_path / "same", tmp_path / "other")
    )
    assert text.width == WIDTH
    assert text.fingerprint == same.fingerprint != other.fingerprint
    found = text.encode(["a bee", "a wasp", "", "an owl at night"])
    assert found.lengths.tolist() == [3, 3, 0, 5]
    assert not torch.equal(found.states[0, 1], found.states[1, 1])


# ---------------------------------------------------------------- captions


def test_every_photo_has_captions_that_no_other_has() -> None:
    assert set(TRAINED) == set(UNSEEN) == set(photos.TRAIN)
    for wordings in (TRAINED, UNSEEN):
        every = [caption for captions in wordings.values() for caption in captions]
        assert len(set(every)) == len(every)
    assert not {c for some in TRAINED.values() for c in some} & {
        c for some in UNSEEN.values() for c in some
    }


@pytest.mark.parametrize("photo", sorted(photos.TRAIN))
def test_a_wording_never_trained_on_shares_a_word_that_names_its_photo(photo: str) -> None:
    def words(captions: tuple[str, ...]) -> set[str]:
        return {word for caption in captions for word in caption.split()}

    others = {word for name, some in TRAINED.items() if name != photo for word in words(some)}
    assert words(TRAINED[photo]) & words(UNSEEN[photo]) - others


def test_classes_are_left_out_and_captions_must_be_there(tmp_path: Path) -> None:
    options = captioned_options(tmp_path, {"0.png": "an owl", "1.png": "a bee", "2.png": ""})
    context = Context(stage="prepare", run=tmp_path / "run", options=options)
    with pytest.raises(ValueError) as refusal:
        captioned(context, "held-out")
    assert str(refusal.value) == (
        f"Every picture must have a caption, but 1 of 3 have none, {tmp_path}/pictures/2.png "
        f"first. Fill the column `caption` of {tmp_path}/table.csv."
    )
    text = Path(str(options.labels)).read_text()
    Path(str(options.labels)).write_text(text.replace("2.png,,", "2.png,fox,a fox"))
    found = captioned(context, "train", source=1)
    assert [picture.caption for picture in found.pictures] == ["an owl", "a bee", "a fox"]
    assert ({picture.label for picture in found.pictures}, found.label_names) == ({None}, ())
    assert len(captioned(context, "train").pictures) == 6
    assert prompts(context, "held-out", 2) == [("00000", "an owl"), ("00001", "a bee")]
    with pytest.raises(ValueError) as refusal:
        captioned(replace(context, options=replace(options, labels=None)), "train")
    assert str(refusal.value) == (
        "Pictures must have captions, but `--labels` is missing. Name a table with the columns "
        "name, class (which may be empty) and caption."
    )


def test_the_papers_first_stage_looks_for_all_there_is(tmp_path: Path, encoder: Path) -> None:
    options = captioned_options(tmp_path, {"0.png": "an owl", "1.png": "a bee"})
    context = Context(stage="prepare", run=tmp_path / "run", options=options)
    known: dict[str, Any] = {"tokenizer": "dcs-tok-nano", "text_encoder": str(encoder)}
    assert check_captions(context, **known, width=WIDTH) == {"train": 4, "held-out": 2}
    with pytest.raises(ValueError) as refusal:
        check_captions(context, **known, width=WIDTH + 1)
    assert str(refusal.value) == (
        f"The text encoder's states must have the width {WIDTH + 1}, but those of {encoder} have "
        f"{WIDTH}. Correct TEXT_WIDTH beside TEXT_ENCODER."
    )
    with pytest.raises(ValueError, match=r"^The model must be there, but runs/nowhere is not\."):
        check_captions(context, **known | {"tokenizer": "runs/nowhere"}, width=WIDTH)


# ---------------------------------------------------------------- stages


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Context:
    """A run of two photos with captions, one step of training; what it draws is noise."""
    run = tmp_path_factory.mktemp("run")
    context = Context(stage="prepare", run=run, options=Options())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(photos, "TRAIN", ("cat", "brick"))
        said = prepare_captions(context, counts={"train": 4, "held-out": 3}, size=32)
    assert (said["train"], said["held-out"]) == (8, 6)
    settings = {"size": 32, "patches": 2, "levels": 2, "batch_size": 8, "dtype": "float32"}
    for name in ("train", "held-out"):
        caption_stages.cache(context, name=name, tokenizer="dcs-tok-nano-gen", settings=settings)
    context.folder_of("train").mkdir(parents=True)
    model = {"width": 16, "heads": 2, "blocks": 1, "num_levels": 2, "grid": [1, 2, 2]}
    train(
        replace(context, stage="train"),
        size="small",
        seed=0,
        steps=1,
        model=model,
        text_encoder=ENCODER,
    )
    return context


def test_the_generator_has_captions_and_no_classes(trained: Context) -> None:
    assert latents_of(trained, "train").is_dir()
    dit = DCSDiT.from_pretrained(trained.folder_of("train") / "run" / "model")
    assert (dit.config.labels, dit.config.text_width) == ((), WIDTH)
    assert dit.config.has_unconditional
    assert dit.config.text_encoder == encoder_of(trained, ENCODER)
    assert encoder_of(trained, "google/some") == "google/some"


def test_samples_lie_in_the_class_that_their_caption_names(
    trained: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: TRAINED[name] for name in ("brick", "cat")}
    monkeypatch.setattr(caption_data, "TRAINED", few)
    name = "trained-paper-seed-0"
    drawn: dict[str, Any] = {"model": "train", "text_encoder": ENCODER, "batch_size": 4, "seed": 0}
    said = sample_captions(
        replace(trained, stage=name),
        wording="trained",
        count=3,
        settings={"steps": 2, "guidance_scale": 2.0},
        **drawn,
    )
    assert said == {"samples": 6, "levels": 2}
    levels = find_levels(trained.run / "samples" / name)
    assert {level: files.labels for level, files in levels.items()} == {
        n: ("brick",) * 3 + ("cat",) * 3 for n in (1, 2)
    }
    found = measure(trained, names=[name])
    assert 0 <= found["samples"][name]["2"]["recognised"] <= 1
    assert found["real"]["recognised"] == 1


def test_samples_of_data_are_held_against_their_captions_pictures(
    tmp_path: Path, trained: Context
) -> None:
    options = captioned_options(tmp_path, {f"{i}.png": f"number {i}" for i in range(5)})
    context = Context(stage="measure", run=tmp_path / "run", options=options)
    folder = context.run / "samples" / "held-out-paper-seed-0" / "level-1"
    folder.mkdir(parents=True)
    for i in range(4):  # greys of the five pictures, two of them exchanged
        place = (0, 2, 1, 3)[i]
        write_picture(folder / f"{i:05d}.png", torch.full((3, 16, 16), place / 5))
    found = measure_matches(context, names=["held-out-paper-seed-0"])
    values = found["samples"]["held-out-paper-seed-0"]["1"]
    assert values["recognised"] is None
    # Of 12 pairs the two lose one each, to one another, and are as far in one each.
    assert values["matched"] == pytest.approx(9 / 12, abs=1 / 12)


def test_pairs_are_won_by_the_nearer_picture() -> None:
    pictures = torch.tensor([[0.0], [1.0], [3.0]])
    assert matched_share(pictures, pictures) == 1
    assert matched_share(torch.zeros(3, 1), torch.zeros(3, 1)) == 0.5
    # Sample 0 lies on picture 1: it loses to that one, and beats the third.
    assert matched_share(torch.tensor([[1.0], [1.0], [3.0]]), pictures) == pytest.approx(5 / 6)


# ---------------------------------------------------------------- sheets


def test_a_caption_stands_above_its_pictures() -> None:
    pictures = torch.zeros(3, 8, 120)
    one, long = with_caption(pictures, "a bee"), with_caption(pictures, "a bee " * 200)
    assert one.shape == long.shape
    assert torch.equal(one[:, -8:], pictures)
    assert one[:, :12].min() == 1  # one line stands next to its pictures
    assert one[:, 12:-8].min() < 0.5
    assert long[:, :12].min() < 0.5

"""``dcs-dit sample``: pictures, latents, states and a sheet, in folders."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from dcs_common.protocols import ImageTokenizer
from dcs_dit import DCSDiT, GenerationState, Latents, TextStates, sample
from dcs_dit.sampling import command

from .sample_command import (
    TOKENIZER,
    Command,
    ToyTokenizer,
    assert_same_pictures,
    bytes_of,
    files_of,
    pixels_of,
    seeds_of,
)
from .sampling_models import perturbed, progressive
from .small_dit import CLIP, LABELS, LEVELS, TEXT_WIDTH, Finished


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models: of classes, of nothing, of text, of clips."""
    folder = tmp_path_factory.mktemp("models")
    trained = {"patch_pixels": 4, "tokenizer": TOKENIZER, "tokenizer_model": "toy-nano"}
    for name, changes in {
        "classes": {},
        "plain": {"labels": ()},
        "text": {"labels": (), "text_width": TEXT_WIDTH},
        "clip": {"labels": (), "grid": CLIP, "fps": 12, "segments_per_second": 3},
    }.items():
        perturbed(torch.float32, **trained, **changes).save_pretrained(folder / name)
    return folder


@pytest.fixture
def run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(folder, tmp_path, capsys)


# ---------------------------------------------------------------------- pictures


def test_every_level_of_every_sample_has_a_picture(run: Command) -> None:
    finished = run("--label", "OWL", "0", "--count", 2, "--progressive", "--seed", 5)
    assert finished.code == 0
    assert re.fullmatch(
        rf"wrote {re.escape(str(run.out))}: 16 pictures and contact-sheet\.png in \d+\.\d s\n",
        finished.out,
    )
    lines = finished.err.splitlines()
    assert len(lines) == LEVELS
    for level, line in enumerate(lines, start=1):
        assert re.fullmatch(rf"dcs-dit: level {level} after \d+\.\d s", line)
    names = [f"{name}/0000{i}" for name in ("owl", "bee") for i in range(2)]
    expected = [f"level-{m}/{name}.png" for m in range(1, LEVELS + 1) for name in names]
    found = [str(path.relative_to(run.out)) for path in files_of(run.out)]
    assert sorted(found) == sorted(["contact-sheet.png", *expected])
    seeds = [*seeds_of(2, 2, seed=5), *seeds_of(0, 2, seed=5)]
    steps = progressive(run.model(), labels=[2, 2, 0, 0], seeds=seeds, steps=2)
    for step in steps:
        pictures = ToyTokenizer().decode(step.latents)
        for name, picture in zip(names, pictures, strict=True):
            path = run.out / f"level-{step.level}" / f"{name}.png"
            assert_same_pictures(pixels_of(path), bytes_of(picture))


def test_all_levels_at_once_write_the_last_one_alone(run: Command) -> None:
    settings = {
        "steps": 3,
        "guidance_scale": 2.0,
        "guidance_interval": (0.0, 0.5),
        "guidance_channels": 2,
        "time_shift": 0.5,
        "levels": 3,
    }
    options = [
        ("--" + name.replace("_", "-"), value)
        for name, value in settings.items()
        if name != "guidance_interval"
    ]
    files = run.files(
        "--label", "fox", "--guidance-interval", ":0.5", *(x for option in options for x in option)
    )
    assert files == ["contact-sheet.png", "level-3/fox/00000.png"]
    latents = sample(run.model(), labels=["fox"], seeds=seeds_of(1, 1), **settings)
    assert_same_pictures(
        pixels_of(run.out / "level-3/fox/00000.png"),
        bytes_of(ToyTokenizer().decode(latents)[0]),
    )


def test_the_sheet_has_a_row_for_each_sample_and_a_column_for_each_level(run: Command) -> None:
    run.files("--label", "bee", "fox", "owl", "--levels", 2, "--progressive", "--batch-size", 2)
    sheet, (height, width) = pixels_of(run.out / "contact-sheet.png"), (3 * 4, 5 * 4)
    assert sheet.shape == (18 + 3 * (height + 4), 4 + 2 * (width + 4), 3)
    for row, name in enumerate(LABELS):
        for column in range(2):
            top, left = 18 + row * (height + 4), 4 + column * (width + 4)
            picture = pixels_of(run.out / f"level-{column + 1}/{name}/00000.png")
            assert (sheet[top : top + height, left : left + width] == picture).all()
            assert (sheet[top : top + height, left + width :][:, :4] == 255).all()


def test_the_sheet_shows_the_first_samples_of_many_small(run: Command) -> None:
    run.files("--label", "bee", "--count", 17, "--levels", 1, "--size", "400x300", "--steps", 1)
    # 16 rows at most, each 192 pixels high.
    assert pixels_of(run.out / "contact-sheet.png").shape == (18 + 16 * 196, 4 + 256 + 4, 3)


def test_samples_in_the_middle_of_a_series_are_those_of_the_whole(run: Command) -> None:
    request = ("--label", "fox", "owl", "--levels", 2)
    run.files(*request, "--count", 4, out="whole")
    files = run.files(*request, "--count", 2, "--first", 2, out="part")
    expected = [f"level-2/{name}/0000{i}.png" for name in ("fox", "owl") for i in (2, 3)]
    assert files == ["contact-sheet.png", *expected]
    for name in expected:
        whole, part = (pixels_of(run.folder / out / name) for out in ("whole", "part"))
        assert_same_pictures(part, whole)
    pictures = [pixels_of(run.folder / "whole" / name) for name in expected]
    for i, picture in enumerate(pictures[:-1]):
        assert (abs(picture - pictures[i + 1]) > 1).any()


@pytest.mark.parametrize("size", [1, 3, 8])
def test_batches_make_no_difference(size: int, run: Command) -> None:
    run.files("--label", "all", "--count", 2, "--batch-size", size, "--latents", "--levels", 1)
    seeds = [seed for label in range(3) for seed in seeds_of(label, 2)]
    expected = sample(run.model(), labels=[0, 0, 1, 1, 2, 2], seeds=seeds, steps=2, levels=1)
    for i in range(6):
        name = f"level-1/{LABELS[i // 2]}/0000{i % 2}.safetensors"
        found = Latents.load(run.out / name)
        torch.testing.assert_close(found.tokens[0], expected.tokens[i], rtol=0, atol=1e-3)


def test_a_class_has_the_same_samples_whatever_classes_stand_beside_it(run: Command) -> None:
    for out, labels in {"all": ["all"], "one": ["owl"], "two": ["owl", "bee"]}.items():
        run.files("--label", *labels, "--levels", 1, out=out)
    owls = [pixels_of(run.folder / out / "level-1/owl/00000.png") for out in ("all", "one", "two")]
    assert_same_pictures(owls[1], owls[0])
    assert_same_pictures(owls[2], owls[0])


def test_seeds(run: Command) -> None:
    pictures = []
    for out, seed in {"a": 1, "b": 1, "c": 2}.items():
        run.files("--seed", seed, "--levels", 1, out=out)
        pictures.append(pixels_of(run.folder / out / "level-1/unconditional/00000.png"))
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != pictures[2]).any()


@pytest.mark.filterwarnings("always")
def test_a_grid_is_columns_by_rows_and_noted_beyond_training(run: Command) -> None:
    finished = run("--grid", "6x2", "--label", "fox", "--levels", 1)
    assert finished.code == 0
    assert finished.err == (
        "dcs-dit: note: This model was trained on a grid of (1, 3, 5); (1, 2, 6) is beyond "
        "training, and what it shows may be repeated or lose its shape.\n"
    )
    assert pixels_of(run.out / "level-1/fox/00000.png").shape == (2 * 4, 6 * 4, 3)


def test_the_trained_grid_is_not_noted(run: Command) -> None:
    assert run("--grid", "5x3", "--label", "fox", "--latents").err == ""


def test_a_size_is_width_by_height(run: Command) -> None:
    run.files("--size", "31X17", "--label", "fox", "--levels", 1)
    assert pixels_of(run.out / "level-1/fox/00000.png").shape == (17, 31, 3)


def test_a_clip_is_an_animated_picture(run: Command) -> None:
    files = run.files("--levels", 1, kind="clip")
    assert files == ["contact-sheet.png", "level-1/unconditional/00000.webp"]
    latents = sample(run.model("clip"), seeds=seeds_of(0, 1), steps=2, levels=1)
    (clip,) = ToyTokenizer().decode(latents)
    with Image.open(run.out / files[1]) as image:
        assert image.n_frames == clip.shape[1] == 12
        for i in range(12):
            image.seek(i)
            found = np.asarray(image.convert("RGB")).astype(int)
            assert_same_pictures(found, bytes_of(clip[:, i]))
            # Milliseconds a frame, rounded.
            assert abs(image.info["duration"] - 1000 / 12) < 1
    sheet = pixels_of(run.out / "contact-sheet.png")
    assert_same_pictures(sheet[18 : 18 + 4, 4 : 4 + 20], bytes_of(clip[:, -1]))


def test_a_clip_of_fewer_segments(run: Command) -> None:
    run.files("--levels", 1, "--grid", "5x1", "--segments", 2, "--latents", kind="clip")
    latents = Latents.load(run.out / "level-1/unconditional/00000.safetensors")
    assert (latents.grid, latents.frames) == ((2, 1, 5), 8)


@pytest.mark.parametrize("cache", ["device", "cpu", "recompute"])
def test_kinds_of_cache_and_precision(cache: str, run: Command) -> None:
    request = ("--label", "fox", "--progressive", "--latents")
    run.files(*request, "--cache", cache)
    expected = sample(run.model(), labels=["fox"], seeds=seeds_of(1, 1), steps=2)
    path = run.out / "level-4/fox/00000.safetensors"
    torch.testing.assert_close(Latents.load(path).tokens, expected.tokens, rtol=0, atol=1e-3)
    run.files(*request, "--cache", cache, "--precision", "bfloat16")
    rounded = Latents.load(path).tokens
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, expected.tokens)


# ---------------------------------------------------------------------- latents


def test_latents_need_neither_tokenizer_nor_pillow(
    run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    finished = run("--label", "bee", "owl", "--progressive", "--levels", 2, "--latents")
    assert finished.code == 0
    said = rf"wrote {re.escape(str(run.out))}: 4 latents in \d+\.\d s\n"
    assert re.fullmatch(said, finished.out)
    assert run.tokenizer.asked == []
    seeds = [*seeds_of(0, 1), *seeds_of(2, 1)]
    for step in progressive(run.model(), labels=[0, 2], seeds=seeds, steps=2, levels=2):
        for i, name in enumerate(("bee", "owl")):
            path = run.out / f"level-{step.level}/{name}/00000.safetensors"
            found = Latents.load(path)
            assert torch.equal(found.tokens[0], step.latents.tokens[i])
            assert (found.size, found.tokenizer) == ((12, 20), TOKENIZER)
    assert len(files_of(run.out)) == 4


def test_pictures_need_pillow(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert run.refusal("--label", "bee") == (
        "Writing pictures needs Pillow, which is not installed. Install `dcs-dit[decode]`, or "
        "write latents alone with `--latents`."
    )


# ---------------------------------------------------------------------- the tokenizer


def test_the_tokenizer_is_the_one_of_training_or_the_one_that_is_named(run: Command) -> None:
    run.files("--levels", 1, "--label", "fox")
    run.files("--levels", 1, "--label", "fox", "--tokenizer", "elsewhere")
    assert run.tokenizer.asked == ["toy-nano", "elsewhere"]


@pytest.mark.parametrize("found", ["fedcba9876543210", None])
def test_a_foreign_tokenizer(found: str | None, run: Command) -> None:
    run.tokenizer.fingerprint = found
    assert run.refusal("--label", "fox", "--tokenizer", "elsewhere") == (
        "Samples must be decoded by the tokenizer that the generator was trained on, "
        f"{TOKENIZER} (toy-nano), but 'elsewhere' is {found}. Name it with `--tokenizer`."
    )


def test_a_tokenizer_that_is_not_there(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(self: ToyTokenizer, name: str, model: str | None = None) -> ImageTokenizer:
        raise ValueError("There is none.")

    monkeypatch.setattr(ToyTokenizer, "find", find)
    assert run.refusal("--label", "fox") == (
        "There is none. Decoding needs `dcs-dit[decode]`; `--latents` needs no tokenizer."
    )


# ---------------------------------------------------------------------- states


@pytest.mark.parametrize("cache", ["device", "recompute"])
def test_a_run_that_goes_on_from_a_state_ends_as_if_it_had_not_stopped(
    cache: str, run: Command
) -> None:
    request = ("--label", "fox", "--count", 2, "--progressive", "--cache", cache)
    state, later = run.folder / "state", run.folder / "later"
    run.files(*request, out="whole")
    run.files(*request, "--levels", 2, "--state", state, out="part")
    assert GenerationState.load(state).level == 2
    going_on = ("--progressive", "--continue", state, "--cache", cache)
    files = run.files(*going_on, "--levels", 3, "--state", later, out="part")
    assert [name for name in files if "level-3" in name] == [
        f"level-3/fox/0000{i}.png" for i in range(2)
    ]
    assert GenerationState.load(later).level == 3
    run.files("--progressive", "--continue", later, "--levels", 4, "--cache", cache, out="part")
    names = [path.relative_to(run.folder / "whole") for path in files_of(run.folder / "whole")]
    assert len(names) == 2 * LEVELS + 1
    for name in names:
        if name.name != "contact-sheet.png":
            whole, part = (pixels_of(run.folder / out / name) for out in ("whole", "part"))
            assert_same_pictures(part, whole)


def test_a_state_is_kept_after_every_level(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    save = GenerationState.save

    def watched(state: GenerationState, path: Path) -> None:
        kept.append(state.level)
        save(state, path)

    monkeypatch.setattr(GenerationState, "save", watched)
    run.files("--progressive", "--state", run.folder / "state", "--label", "fox")
    assert kept == [1, 2, 3, 4]


def test_a_state_is_of_one_batch_of_a_progressive_run(run: Command) -> None:
    options = ("--label", "fox", "--state", run.folder / "state")
    assert run.refusal(*options) == (
        "`--state` is of a run that goes level by level. Add `--progressive`."
    )
    assert run.refusal(*options, "--progressive", "--count", 3, "--batch-size", 2) == (
        "`--state` holds one batch, but there are 2. Raise `--batch-size` to 3."
    )


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ([], "Add `--progressive`."),
        (["--progressive", "--label", "fox"], "Leave out `--label`."),
        (["--progressive", "--grid", "2x2", "--seed", 3], "Leave out `--grid`, `--seed`."),
        (["--progressive", "--steps", 9], "Leave out `--steps`."),
    ],
)
def test_going_on_takes_no_request(options: Sequence[object], remedy: str, run: Command) -> None:
    state = run.folder / "state"
    run.files("--progressive", "--state", state, "--levels", 1, "--latents")
    assert run.refusal("--continue", state, *options) == (
        "`--continue` goes on with the request of its state, coarse to fine. " + remedy
    )


def test_going_on_keeps_the_names_of_several_classes(run: Command) -> None:
    state = run.folder / "state"
    request = ("--label", "fox", "BEE", "--count", 2, "--first", 3, "--progressive")
    first = run.files(*request, "--levels", 1, "--state", state, out="part")
    later = run.files("--progressive", "--continue", state, "--levels", 2, out="part")
    expected = [name.replace("level-1", "level-2") for name in first if "level-1" in name]
    assert sorted(name for name in later if "level-2" in name) == sorted(expected)


@pytest.mark.parametrize("options", [["--label", "fox", "fox"], ["--label", "fox", "FOX"]])
def test_samples_do_not_overwrite_one_another(options: Sequence[object], run: Command) -> None:
    assert run.refusal(*options) == (
        "Samples of different conditions must go to different folders, but 'fox' is that of "
        "several. Name each label or text once, and use `--count`; or run twice."
    )


def test_outputs_are_checked_before_anything_is_computed(run: Command) -> None:
    taken = run.folder / "taken"
    taken.write_text("here")
    assert run.refusal("--output", taken) == (
        f"`--output` must be a folder, but {taken} is a file."
    )
    assert run.refusal("--progressive", "--state", run.folder) == (
        f"`--state` must be a file, but {run.folder} is a folder."
    )


def test_states_that_do_not_serve(run: Command) -> None:
    state, finished = run.folder / "state", run.folder / "finished"
    none = run.folder / "none"
    run.files("--progressive", "--state", state, "--levels", 1, "--latents")
    run.files("--progressive", "--state", finished, "--latents")
    going_on = ("--progressive", "--latents", "--continue")
    assert run.refusal(*going_on, none) == (
        f"A state file must exist, but {none} does not. Check the path."
    )
    assert run.refusal(*going_on, finished).startswith("`levels` must be more than the 4 that")
    assert run.refusal(*going_on, state, kind="plain").startswith("A state must be of the model")
    state.write_bytes(state.read_bytes()[:-1])
    assert run.refusal(*going_on, state).startswith("A state file must be a whole safetensors")


# ---------------------------------------------------------------------- texts


class ToyEncoder:
    """Stands in for an encoder of transformers."""

    width = TEXT_WIDTH

    def __init__(self, name: str, *, device: str) -> None:
        assert (name, device) == ("toy-encoder", "cpu")

    def encode(self, texts: Sequence[str]) -> TextStates:
        lengths = torch.tensor([len(text) for text in texts])
        states = torch.arange(1.0, int(lengths.max()) + 1)[None, :, None] * lengths[:, None, None]
        return TextStates(states.expand(-1, -1, TEXT_WIDTH).cos(), lengths)


def test_texts_name_their_folders(run: Command) -> None:
    with patch("dcs_dit.transformers_text.TransformersTextEncoder", ToyEncoder):
        texts = ["a fox, at night", "owls/bees"]
        options = ("--text", *texts, "--text-encoder", "toy-encoder", "--latents", "--levels", 1)
        files = run.files(*options, kind="text")
    names = [f"level-1/{name}/00000.safetensors" for name in ("a fox_ at night", "owls_bees")]
    assert files == names
    encoded = ToyEncoder("toy-encoder", device="cpu").encode(texts)
    seeds = seeds_of(0, 1) * 2  # texts share their noise
    expected = sample(run.model("text"), texts=encoded, seeds=seeds, steps=2, levels=1)
    for name, tokens in zip(names, expected.tokens, strict=True):
        assert torch.equal(Latents.load(run.out / name).tokens[0], tokens)


def test_texts_that_cannot_be(run: Command) -> None:
    assert run.refusal("--text", "fox", kind="text") == (
        "`--text` needs `--text-encoder`, the encoder that the model was trained with, but "
        "there is none. Give its folder or hub id."
    )
    with patch("dcs_dit.transformers_text.TransformersTextEncoder", ToyEncoder):
        given = ("--text", "fox", "--text-encoder", "toy-encoder")
        assert run.refusal(*given, "--label", "fox") == (
            "Give `--label` or `--text`, but not both: they would have to be paired."
        )
        assert run.refusal(*given, "--latents").startswith("`texts` must be None for a model")


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "cat"], r"A label must be .*'cat'\. They are: bee \(0\), fox \(1\), owl .*"),
        (["--label", "3"], r"A label must be .* but is 3\. They are: .*"),
        (["--count", 0], r"`--count` must be at least 1, but is 0\."),
        (["--batch-size", -1], r"`--batch-size` must be at least 1, but is -1\."),
        (["--first", -1], r"`--first` must be 0 or more, but is -1\."),
        (["--seed", 2**64], r"`--seed` must fit into 64 bits, but is 18446744073709551616\. .*"),
        (["--device", "abacus"], r"`--device` must name a device of this machine, but is .*"),
        (["--levels", 5], r"`levels` must be between 1 and 4, but is 5\. .*"),
        (["--steps", 0], r"`steps` must be an integer from 1 on, but is 0\. .*"),
        (["--guidance-scale", 3], r"Guidance needs a label or text to guide towards, .*"),
        (["--guidance-interval", "0.5:0.1"], r"`guidance_interval` must be .*"),
        (["--guidance-channels", 0], r"`guidance_channels` must be at least 1, .*"),
        (["--time-shift", -1], r"`time_shift` must be positive and finite, .*"),
        (["--grid", "5x3", "--segments", 2], r"`grid` must have one segment for a model of .*"),
        (["--model", "/nowhere"], r"A model must be one of .*"),
    ],
)
@pytest.mark.parametrize("progressive_", [True, False])
def test_refusals_are_one_line(
    options: Sequence[object], message: str, progressive_: bool, run: Command
) -> None:
    said = run.refusal(*options, *(["--progressive"] if progressive_ else []))
    assert re.fullmatch(message, said), said


def test_a_model_without_classes(run: Command) -> None:
    assert run.refusal("--label", "fox", kind="plain") == (
        "`labels` must be None for a model without classes, but are ['fox']. "
        "Leave them out, or load a class-conditional model."
    )


@pytest.mark.parametrize("option", ["--output", "--state"])
def test_a_folder_that_is_not_there_is_told_before_any_work(option: str, run: Command) -> None:
    missing = run.folder / "missing"
    with patch.object(DCSDiT, "from_pretrained", None):  # not even loaded
        said = run.refusal("--progressive", option, missing / "name")
    assert said == f"The output's folder must exist, but {missing} does not. Create it first."


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--grid", "16"], "must be WIDTHxHEIGHT such as 16x32, but is '16'"),
        (["--grid", "0x4"], "must be WIDTHxHEIGHT such as 16x32, but is '0x4'"),
        (["--size", "4x-4"], "must be WIDTHxHEIGHT such as 16x32, but is '4x-4'"),
        (["--size", "4x4x4"], "must be WIDTHxHEIGHT such as 16x32, but is '4x4x4'"),
        (["--guidance-interval", "0.1"], "must be START:STOP such as 0.1:1, but is '0.1'"),
        (["--guidance-interval", "a:b"], "must be START:STOP such as 0.1:1, but is 'a:b'"),
    ],
)
def test_misspelt_arguments(options: Sequence[object], message: str, run: Command) -> None:
    assert run.misuse(*options) == f"argument {options[0]}: {message}"


def test_intervals_may_leave_out_an_end() -> None:
    assert command.parse_interval(":") == (0, 1)
    assert command.parse_interval("0.2:") == (0.2, 1)
    assert command.parse_interval(":0.7") == (0, 0.7)


def test_an_unknown_cache(run: Command) -> None:
    assert run.misuse("--cache", "disk").startswith("argument --cache: invalid choice: 'disk'")


def test_an_interrupt(run: Command) -> None:
    with patch.object(command, "sample", side_effect=KeyboardInterrupt):
        assert run() == Finished(130, "", "dcs-dit: interrupted\n")


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("CUDA out of memory.\nMore of it."), "CUDA out of memory."),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "DefaultCPUAllocator: .*"),
    ],
)
def test_too_little_memory(error: Exception, shown: str, run: Command) -> None:
    with patch.object(command, "sample", side_effect=error):
        said = run.refusal("--label", "fox")
    assert re.fullmatch(
        rf"The result must fit into memory, but does not \({shown}\)\. "
        r"Ask for fewer samples, levels or patches\.",
        said,
    )


def test_what_nobody_foresaw_is_shown_as_it_is(run: Command) -> None:
    with (
        patch.object(command, "sample", side_effect=RuntimeError("a defect")),
        pytest.raises(RuntimeError, match="a defect"),
    ):
        run("--label", "fox")

"""What cannot become or be a cache is refused, with the whole story."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dcs_dit.data import CacheConfig, LatentCache
from dcs_dit.data.cache_plan import CACHE_FILE, CachePlan

from .labelled_files import (
    SMALL,
    ToyTokenizer,
    class_folder,
    error,
    flat_folder,
    make_cache,
    save_picture,
    table,
)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return class_folder(tmp_path / "pictures")


@pytest.fixture
def cache(tmp_path: Path, pictures: Path) -> Path:
    make_cache(tmp_path / "cache", [pictures])
    return tmp_path / "cache"


def edit_plan(folder: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    path = folder / CACHE_FILE
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


# ---------------------------------------------------------------- configs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"samples_per_shard": 0}, "`samples_per_shard` must be at least 1, but is 0."),
        ({"batch_size": -1}, "`batch_size` must be at least 1, but is -1."),
        ({"size": (0, 8)}, "`size` must be at least 1 pixel each way, but is (0, 8)."),
        (
            {"samples_per_shard": 5, "flips": True},
            "`samples_per_shard` must be a multiple of the 2 samples of each file, but is 5. "
            "They share a shard.",
        ),
        (
            {"samples_per_shard": 8, "flips": True, "clips_per_file": 3, "fps": 24},
            "`samples_per_shard` must be a multiple of the 6 samples of each file, but is 8. "
            "They share a shard.",
        ),
        (
            {"clips_per_file": 2},
            "`clips_per_file` must be 1 for pictures, but is 2. Give the frame rate of clips as "
            "`fps`.",
        ),
        ({"fps": 0}, "`fps` must be at least 1, but is 0."),
        (
            {"fps": 24, "seconds": 0.0},
            "`seconds` must be a duration above 0, but is 0.0. 2/3 s at 24 frames per second are "
            "16 frames.",
        ),
        (
            {"dtype": "int8"},
            "`dtype` must be one of float16, bfloat16, float32, but is 'int8'.",
        ),
        ({"max_corrupt": 5}, "`max_corrupt` must be in [0, 1], but is 5."),
    ],
)
def test_settings_must_make_sense(changes: dict[str, Any], message: str) -> None:
    with error(message):
        CacheConfig(**changes)


# ---------------------------------------------------------------- making


@pytest.mark.parametrize(("jobs", "job"), [(0, 0), (3, 3), (3, -1)])
def test_a_job_must_be_one_of_the_jobs(tmp_path: Path, pictures: Path, jobs: int, job: int) -> None:
    with error(
        f"`job` must be between 0 and `jobs` - 1, but is {job} of {jobs}. The first of N jobs has "
        "the number 0."
    ):
        make_cache(tmp_path / "cache", [pictures], jobs=jobs, job=job)
    assert not (tmp_path / "cache").exists()


def test_the_folder_of_the_output_must_exist(tmp_path: Path, pictures: Path) -> None:
    with error(
        f"The output's folder must exist, but {tmp_path}/nowhere does not. Create it first."
    ):
        make_cache(tmp_path / "nowhere" / "cache", [pictures])


def test_the_output_must_be_a_folder(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "cache").touch()
    with error(
        f"The output must be a folder, but {tmp_path}/cache cannot be one (File exists). "
        "Name another."
    ):
        make_cache(tmp_path / "cache", [pictures])


def test_the_output_must_hold_nothing_else(tmp_path: Path, pictures: Path) -> None:
    with error(
        f"The output must be a new folder or a cache, but {pictures} holds something else. "
        "Name another."
    ):
        make_cache(pictures, [pictures])


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"size": (12, 24)},
            "size (12, 12) there and (12, 24) here; grid (1, 2, 2) there and (1, 2, 4) here",
        ),
        ({"levels": 2}, "levels 3 there and 2 here"),
        ({"dtype": "bfloat16"}, "dtype 'float16' there and 'bfloat16' here"),
        ({"flips": True}, "samples 17 there and 34 here; flips False there and True here"),
        ({"samples_per_shard": 8}, "samples_per_shard 4 there and 8 here"),
        ({"seed": 1}, "seed 0 there and 1 here"),
    ],
)
def test_another_plan_is_refused(
    cache: Path, pictures: Path, changes: dict[str, Any], difference: str
) -> None:
    with error(
        f"A cache must be continued as it was begun, but {cache} differs: {difference}. Name "
        "another folder, or repeat the command that began it."
    ):
        make_cache(cache, [pictures], replace(SMALL, **changes))


def test_another_tokenizer_is_refused(cache: Path, pictures: Path) -> None:
    with error(
        f"A cache must be continued as it was begun, but {cache} differs: fingerprint of the "
        "tokenizer 'toy-1' there and 'toy-2' here. Name another folder, or repeat the command "
        "that began it."
    ):
        make_cache(cache, [pictures], tokenizer=ToyTokenizer("toy-2"))


def test_other_pictures_are_refused(cache: Path, pictures: Path) -> None:
    before = CachePlan.read(cache).pictures
    (pictures / "bee" / "bee-0.png").rename(pictures / "owl" / "new.png")
    with pytest.raises(ValueError, match="differs: hash of the files' names") as caught:
        make_cache(cache, [pictures])
    assert str(caught.value).startswith(
        f"A cache must be continued as it was begun, but {cache} differs: hash of the files' "
        f"names, sizes, labels and captions {before!r} there and '"
    )


def test_another_spelling_of_the_model_is_no_difference(cache: Path, pictures: Path) -> None:
    edit_plan(cache, lambda content: content.update(model="/elsewhere/toy"))
    assert make_cache(cache, [pictures]).kept == 5
    assert LatentCache.open(cache).tokenizer_model == "/elsewhere/toy"


def test_a_tokenizer_must_have_a_fingerprint(tmp_path: Path, pictures: Path) -> None:
    with error(
        "A tokenizer must have a fingerprint, but 'toy' has none. Save its model and load it "
        "from there."
    ):
        make_cache(tmp_path / "cache", [pictures], tokenizer=ToyTokenizer(None))


def test_latents_must_fit_into_their_dtype(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 1)
    Image.new("RGB", (12, 12), "white").save(folder / "0.png")
    with error("Latents must fit into float16, but reach 80000. Use bfloat16 or float32."):
        make_cache(tmp_path / "cache", [folder], tokenizer=ToyTokenizer(scale=80000))
    config = replace(SMALL, dtype="bfloat16")
    make_cache(tmp_path / "wide", [folder], config, tokenizer=ToyTokenizer(scale=80000))
    assert LatentCache.open(tmp_path / "wide").tokens([0]).max() == pytest.approx(80000, rel=0.01)


def test_latents_must_be_finite(tmp_path: Path, pictures: Path) -> None:
    with error(
        "Latents must be finite, but the tokenizer gave some that are not. Use another model or "
        "device."
    ):
        make_cache(tmp_path / "cache", [pictures], tokenizer=ToyTokenizer(scale=float("nan")))


def test_too_many_unreadable_pictures_stop_the_run(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 40)
    for number in (13, 3, 23):
        (folder / f"{number}.png").write_bytes(b"")
    with error(
        "At most 5 % of a job's pictures may be unreadable, but 3 already are: "
        f"{folder}/13.png (Pillow cannot identify it), {folder}/23.png (Pillow cannot identify "
        f"it), {folder}/3.png (Pillow cannot identify it). Repair or remove them, or raise "
        "`max_corrupt`."
    ):
        make_cache(tmp_path / "cache", [folder])
    for number in (13, 3, 23):
        save_picture(folder / f"{number}.png", number)
    # Their sizes were zero: that was another set.
    with pytest.raises(ValueError, match="A cache must be continued as it was begun"):
        make_cache(tmp_path / "cache", [folder])


# ---------------------------------------------------------------- opening


def test_there_must_be_a_cache(tmp_path: Path) -> None:
    with error(
        f"A cache of latents must hold cache.json, but {tmp_path} does not. Check the path, or "
        "make a cache with `dcs-dit cache`."
    ):
        LatentCache.open(tmp_path)
    with error("There must be a cache of latents, but there is none. Name one."):
        LatentCache.open_all([])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"kind": "dcs-latents", "format": 1}'])
def test_the_plan_must_be_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / CACHE_FILE
    path.write_text(content)
    with error(
        f"cache.json must describe a cache of latents, but {path} does not. Check the path, or "
        "make the cache again."
    ):
        LatentCache.open(tmp_path)


def test_the_format_must_be_known(cache: Path) -> None:
    path = edit_plan(cache, lambda content: content.update(format=2))
    with error(
        f"The format of a cache must be 1, but {path} has 2. Update dcs-dit, or make the cache "
        "again."
    ):
        LatentCache.open(cache)


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda content: content.update(levels=0), "a number below 1, or an unknown dtype"),
        (lambda content: content.update(dtype="int8"), "a number below 1, or an unknown dtype"),
        (lambda content: content.update(grid=[2, 2]), "a grid or size of another shape"),
        (
            lambda content: content.pop("flips"),
            "CachePlan.__init__() missing 1 required keyword-only argument: 'flips'",
        ),
    ],
)
def test_the_plan_must_be_consistent(
    cache: Path, edit: Callable[[dict[str, Any]], object], problem: str
) -> None:
    path = edit_plan(cache, edit)
    with error(
        f"cache.json must be consistent, but {path} is not ({problem}). Make the cache again."
    ):
        LatentCache.open(cache)


def test_all_shards_must_be_there(cache: Path) -> None:
    for number in (0, 2, 3, 4):
        (cache / f"shard-0000{number}.safetensors").unlink()
    with error(
        f"A cache must hold all its 5 shards, but {cache} lacks 4 (shard-00000.safetensors, "
        "shard-00002.safetensors, shard-00003.safetensors and 1 more). Run the command that began "
        "it again, or those of its jobs that have not finished; shards that are there are kept."
    ):
        LatentCache.open(cache)


@pytest.mark.parametrize("action", ["open", "continue"])
def test_a_cut_shard_is_refused(cache: Path, pictures: Path, action: str) -> None:
    path = cache / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="A shard must be a whole safetensors file") as caught:
        LatentCache.open(cache) if action == "open" else make_cache(cache, [pictures])
    said = str(caught.value)
    assert said.startswith(f"A shard must be a whole safetensors file, but {path} is not (")
    assert said.endswith("). Delete it and run `dcs-dit cache` again.")
    path.unlink()
    make_cache(cache, [pictures])
    LatentCache.open(cache)


def test_a_shard_of_another_place_is_refused(cache: Path) -> None:
    path = cache / "shard-00001.safetensors"
    shutil.copy(cache / "shard-00002.safetensors", path)
    digest = CachePlan.read(cache).digest
    with error(
        f"A shard must belong to its cache, but {path} is shard 2 of {digest} and not 1 of "
        f"{digest}. Delete it and run `dcs-dit cache` again."
    ):
        LatentCache.open(cache)


@pytest.mark.parametrize("action", ["open", "continue"])
def test_a_shard_of_another_cache_is_refused(
    cache: Path, pictures: Path, tmp_path: Path, action: str
) -> None:
    make_cache(tmp_path / "other", [pictures], replace(SMALL, seed=1))
    path = cache / "shard-00001.safetensors"
    shutil.copy(tmp_path / "other" / path.name, path)
    ours, theirs = CachePlan.read(cache).digest, CachePlan.read(tmp_path / "other").digest
    with error(
        f"A shard must belong to its cache, but {path} is shard 1 of {theirs} and not 1 of "
        f"{ours}. Delete it and run `dcs-dit cache` again."
    ):
        LatentCache.open(cache) if action == "open" else make_cache(cache, [pictures])


def test_a_shard_of_another_tokenizer_is_refused(
    cache: Path, pictures: Path, tmp_path: Path
) -> None:
    make_cache(tmp_path / "other", [pictures], tokenizer=ToyTokenizer("toy-2"))
    path = cache / "shard-00001.safetensors"
    shutil.copy(tmp_path / "other" / path.name, path)
    with error(
        f"A cache must come from one tokenizer, toy-1, but {path} comes from toy-2. Delete it and "
        "run `dcs-dit cache` again."
    ):
        LatentCache.open(cache)


def test_a_file_of_other_tensors_is_no_shard(cache: Path) -> None:
    path = cache / "shard-00000.safetensors"
    tensors = {"tokens": torch.zeros(4, 1, 2, 2, 3, 2), "labels": torch.zeros(4)}
    save_file({**tensors, "sample": torch.zeros(4)}, path)
    with error(
        f"A shard must be consistent, but {path} is not ('NoneType' object is not subscriptable). "
        "Delete it and run `dcs-dit cache` again."
    ):
        LatentCache.open(cache)


def test_a_shard_must_have_the_shape_of_the_plan(cache: Path) -> None:
    path = cache / "shard-00000.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    tensors["tokens"] = tensors["tokens"][:, :, :, :1].float().clone()
    save_file(tensors, path, metadata)
    with error(
        f"A shard must be consistent, but {path} is not (F32 of shape (4, 1, 2, 1, 3, 2) and not "
        "float16 of shape (4, 1, 2, 2, 3, 2)). Delete it and run `dcs-dit cache` again."
    ):
        LatentCache.open(cache)


def test_a_cache_must_hold_latents(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "pictures", 1)
    (folder / "0.png").write_bytes(b"")
    make_cache(tmp_path / "cache", [folder], replace(SMALL, max_corrupt=1.0))
    with error("A cache must hold latents, but this one has none. Make it again."):
        LatentCache.open(tmp_path / "cache")


@pytest.mark.parametrize("indices", [[0, 17], [-1, 16]])
def test_an_index_must_be_in_the_cache(cache: Path, indices: list[int]) -> None:
    with error(
        f"An index must be between 0 and 16, but they range from {indices[0]} to {indices[1]}. "
        "The cache holds 17 samples."
    ):
        LatentCache.open(cache).tokens(indices)


def test_caches_that_are_used_together_must_go_together(
    cache: Path, pictures: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    labels = table(
        tmp_path / "labels.csv",
        ["name", "class"],
        *[[path.name, "all"] for path in pictures.rglob("*.png")],
    )
    make_cache(other, [pictures], labels=labels)
    with error(
        f"Caches that are used together must have the same label_names, but {cache} has "
        f"('bee', 'fox', 'owl') and {other} has ('all',). Make them with one tokenizer, grid and "
        "table of labels."
    ):
        LatentCache.open_all([cache, other])

"""Table 1: 50,000 pictures of each kind, however they are divided, and what the verdicts take."""

from pathlib import Path
from typing import Any

import pytest
import torch
from finished_run import finished_run
from PIL import Image

from costs import paper_scale
from dcs_tok import DCSTok
from imagenet_system import EXPERIMENT, SAMPLE_JOBS, check
from launching import Context, Options
from reports.imagenet_system import report
from systems import protocol_stages
from systems.class_data import folders
from systems.class_folders import crops, write_crops
from systems.pooled_colours import PooledColours
from systems.shipped_tokenizers import OnePatchSize, square

PAPER = Options(
    preset="paper", data=("train",), held_out=("val", "adm.npz"), device="cuda", feature_weights="w"
)


def test_the_samples_of_all_jobs_are_50000_of_1000_classes() -> None:
    stages = {stage.name: stage for stage in EXPERIMENT.stages(PAPER)}
    for name, scale in (("unguided", 1), ("guided", 6)):
        counts = [stages[f"{name}.{job}"].arguments["counts"] for job in range(SAMPLE_JOBS)]
        numbers = [n for c in counts for n in range(c["first"], c["first"] + c["count"])]
        assert sorted(numbers) == list(range(50))
        assert {stages[f"{name}.{i}"].arguments["guidance_scale"] for i in range(50)} == {scale}
        assert set(stages[f"gfid-{name}.0"].after) == {f"{name}.{job}" for job in range(50)}
    assert len(stages["rfid"].after) == stages["rfid"].arguments["jobs"] == 32


def commands_of(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Record what is asked of ``dcs-eval`` in place of running it."""
    asked: list[tuple[str, ...]] = []

    def dcs_eval(*arguments: object) -> str:
        asked.append(tuple(map(str, arguments)))
        return "a line\n3 of 32 shards are missing"

    monkeypatch.setattr(protocol_stages, "dcs_eval", dcs_eval)
    return asked


def test_what_is_asked_of_the_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = commands_of(monkeypatch)
    context = finished_run(tmp_path, EXPERIMENT, PAPER, {})
    stages = {stage.name: stage for stage in EXPERIMENT.stages(PAPER)}
    for name in ("rfid.3", "gfid-guided.5"):
        function = getattr(protocol_stages, stages[name].function.partition(":")[2])
        here = Context(stage=name, run=tmp_path, options=PAPER)
        assert function(here, **stages[name].arguments) == {"said": "3 of 32 shards are missing"}
    model = "runs/train_tokenizer-paper/stages/stage-3-decoder/run/model"
    assert asked[0] == (
        *("reconstruction", "--protocol", "imagenet256-rfid", "--levels", "1"),
        *("--tokenizer", "dcs-tok", "--model", model, "--data", "val", "--jobs", "32"),
        *("--job", "3", "--output", str(tmp_path / "protocols" / "rfid")),
        *("--device", "cuda", "--weights", "w"),
    )
    assert asked[1] == (
        *("generation", str(tmp_path / "samples" / "guided"), "--protocol", "imagenet256-gfid"),
        *("--reference", "adm.npz", "--jobs", "8", "--job", "5"),
        *("--output", str(tmp_path / "protocols" / "gfid-guided")),
        *("--device", "cuda", "--weights", "w"),
    )
    assert context.stages == ()


def test_the_statistics_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import imagenet_system

    monkeypatch.setattr(imagenet_system, "check_model", lambda *_: None)
    options = Options(preset="paper", data=("train",), held_out=("val",))
    with pytest.raises(ValueError) as caught:
        check(Context(stage="check", run=tmp_path, options=options))
    assert str(caught.value) == (
        "`--held-out` must name VIRTUAL_imagenet256_labeled.npz of ADM's evaluation beside the "
        "validation pictures, but names 0 files of that kind. Download it and add its path."
    )


def test_statistics_are_no_pictures_to_measure_on(tmp_path: Path) -> None:
    context = Context(stage="check", run=tmp_path, options=PAPER)
    assert folders(context, "held-out") == (Path("val"),)
    assert folders(context, "train") == (Path("train"),)


def test_data_without_held_out_data(tmp_path: Path) -> None:
    context = Context(stage="prepare", run=tmp_path, options=Options(data=("train",)))
    with pytest.raises(ValueError, match=r"^`--data` and `--held-out` must be given together, but"):
        folders(context, "train")


# ---------------------------------------------------------------- the small form


def test_one_level_of_256_px_is_256_tokens_of_16_numbers() -> None:
    tokenizer = OnePatchSize(DCSTok.from_pretrained("dcs-tok-nano"))
    for size, tokens in ((256, 256), (128, 64)):
        latents = tokenizer.encode(torch.rand(1, 3, size, size), levels=1)
        assert latents.tokens.shape[1:4].numel() == tokens
        assert latents.tokens.shape[4:] == (1, 16)
        assert tokenizer.decode(latents, levels=1).shape == (1, 3, size, size)


def test_the_square_in_the_centre() -> None:
    pixels = torch.zeros(3, 4, 8)
    pixels[:, :, 2:6] = 1
    assert torch.equal(square(pixels, 4), torch.ones(3, 4, 4))
    assert square(torch.rand(3, 5, 6, 4), 8).shape == (3, 5, 8, 8)


def test_crops_are_drawn_from_their_seed_alone(tmp_path: Path) -> None:
    photo = torch.rand(3, 40, 60, generator=torch.Generator().manual_seed(0))
    first, again, other = (crops(photo, 4, 16, seed) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    # More crops begin with the fewer ones.
    assert torch.equal(crops(photo, 2, 16, 1)[1], first[1])
    image = Image.fromarray((photo.permute(1, 2, 0) * 255).byte().numpy())
    (tmp_path / "photos").mkdir()
    for name in ("owl", "bee"):
        image.save(tmp_path / "photos" / f"{name}.png")
    found = write_crops([tmp_path / "photos"], tmp_path / "classes", count=2, size=16, seed=0)
    assert found == ("bee", "owl")
    written = sorted(path.relative_to(tmp_path) for path in (tmp_path / "classes").rglob("*.png"))
    assert [str(path) for path in written] == [
        f"classes/{name}/{name}-00{i}.png" for name in ("bee", "owl") for i in (0, 1)
    ]


def test_pooled_colours_are_means_of_places() -> None:
    pictures = torch.zeros(2, 3, 8, 8)
    pictures[0, 1, :2, 2:4] = 1  # the second of 16 places, green
    features = PooledColours()(pictures)
    assert features.shape == (2, PooledColours.size)
    expected = torch.zeros(2, 3, 16)
    expected[0, 1, 1] = 1
    assert torch.equal(features, expected.flatten(1))


# ---------------------------------------------------------------- the report


def paper_results(**changes: float) -> dict[str, Any]:
    """Return the paper's own figures as the protocols would give them."""
    found = {"psnr": 26.91, "rfid": 0.90, "gfid": 7.68, "guided": 2.50} | changes

    def drawn(frechet: float, score: float) -> dict[str, Any]:
        return {"values": [{"frechet": frechet, "score": {"mean": score, "deviation": 2.0}}]}

    kept = {"psnr": found["psnr"], "ssim": 0.778, "frechet": found["rfid"]}
    return {
        "rfid": {"values": [kept]},
        "gfid-unguided": drawn(found["gfid"], 111.4),
        "gfid-guided": drawn(found["guided"], 281.8),
    }


@pytest.mark.parametrize(
    ("changes", "verdicts"),
    [
        ({}, ["reproduced in sign"] * 2),
        ({"psnr": 26.3}, ["not reproduced", "reproduced in sign"]),
        ({"rfid": 1.2}, ["not reproduced", "reproduced in sign"]),
        ({"guided": 3.1}, ["reproduced in sign", "not reproduced"]),
    ],
)
def test_the_papers_own_figures_give_its_verdicts(
    tmp_path: Path, changes: dict[str, float], verdicts: list[str]
) -> None:
    context = finished_run(tmp_path, EXPERIMENT, PAPER, paper_results(**changes))
    found = report(context)
    assert [claim.verdict for claim in found.claims] == verdicts
    assert {claim.key for claim in found.claims} == {
        "imagenet-reconstruction",
        "imagenet-generation",
    }
    assert found.tables[0].rows[-1][0] == "ours"


def test_models_are_looked_for_where_their_experiments_write(tmp_path: Path) -> None:
    import train_dit
    import train_tokenizer

    found = {
        paper_scale.PAPER_TOKENIZER: (train_tokenizer, "stage-3-decoder"),
        paper_scale.PAPER_GENERATOR: (train_dit, "train"),
    }
    for path, (script, stage) in found.items():
        name = script.EXPERIMENT.name
        assert path == f"runs/{name}-paper/stages/{stage}/run/model"
        assert stage in {s.name for s in script.EXPERIMENT.stages(PAPER)}

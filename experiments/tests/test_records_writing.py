"""A run's record: the same bytes each time, all that decides a figure, and no paths."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from launching import Options
from records import Claim, Picture, Plot, Report, Table, this_machine, write
from records.data_summary import summarise_data
from records.record import load_record
from records.without_paths import WithoutPaths

EXPERIMENT = {"name": "toy", "title": "Figure 0", "paper": "It\n  says so.", "seeds": {"tiny": 1}}


def report(**parts: Any) -> Report:
    figure = Figure(figsize=(3, 2))
    axes = figure.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], label="ours")
    axes.fill_between([1, 2], [0, 0], [1, 1], hatch="/")  # hatches and clips have generated ids
    axes.legend()
    picture = Picture(name="map", pixels=torch.linspace(0, 1, 35).reshape(5, 7), caption="a map")
    return Report(plots=(Plot(name="curve", figure=figure, caption="PSNR"),), pictures=(picture,))


def stage(**arguments: object) -> dict[str, Any]:
    return {"stage": "train", "arguments": arguments, "seconds": 12.345, "result": {"x": 1}}


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, EXPERIMENT, Options(), [stage(steps=3)], report())
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert sorted(first) == ["plots/curve.svg", "plots/map.png", "record.json", "report.md"]
    assert first == second
    assert b"<dc:date>" not in first["plots/curve.svg"]


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    claim = Claim(statement="a", source="b", paper="c", ours="1", verdict="not reproduced")
    table = Table(title="t", columns=("x", "y"), rows=(("a", 1.5), ("b", None)), note="n")
    found = Report(tables=(table,), claims=(claim,), notes=("Small.",))
    written = write(tmp_path, EXPERIMENT, Options(), [stage(steps=3)], found)
    assert load_record(tmp_path / "record.json") == written
    assert (written.tables, written.claims, written.notes) == ((table,), (claim,), ("Small.",))
    assert (written.paper, written.seconds) == ("It says so.", 12.3)
    assert written.machine == this_machine()
    assert written.libraries["torch"] == torch.__version__
    assert re.fullmatch("[0-9a-f]{40}", written.commit or "0" * 40)


def test_no_file_names_a_place_of_the_machine(tmp_path: Path) -> None:
    data, run = tmp_path / "photos", tmp_path / "run"
    data.mkdir()
    run.mkdir()
    (data / "a.txt").write_text("a")
    text = f"from {data}/a.txt of {run}, not {data}s"
    found = Report(
        tables=(Table(title=text, columns=("x",), rows=((str(data),),)),),
        claims=(Claim(statement=text, source="", paper="", ours="1", verdict="not reproduced"),),
        pictures=(Picture(name="map", pixels=torch.zeros(2, 2), caption=text),),
        notes=(text,),
    )
    arguments = {"data": [str(data)], "nested": {"init": "/elsewhere/model"}, "share": 0.5}
    written = write(run, EXPERIMENT, Options(data=(str(data),)), [stage(**arguments)], found)
    assert written.notes == (f"from photos/a.txt of run, not {data}s",)
    assert written.stages[0].arguments == {
        "data": ["photos"],
        "nested": {"init": "model"},
        "share": 0.5,
    }
    for name, content in contents(run).items():
        assert str(tmp_path) not in content.decode(errors="ignore").replace(f"{data}s", ""), name
        assert str(Path.home()) + "/" not in content.decode(errors="ignore"), name


def test_the_longest_path_is_replaced_first() -> None:
    clean = WithoutPaths([Path("/a"), Path("/a/b")])
    assert clean.text("/a/b/c /a/c /ab /a") == "b/c a/c /ab a"
    assert clean.value(["/x/y", "~/z", "C:\\q", "1/2", "/"]) == ["y", "z", "C:\\q", "1/2", "/"]


def test_the_command_says_what_differs_from_a_flagless_run(tmp_path: Path) -> None:
    def command(**options: Any) -> str:
        return write(tmp_path, EXPERIMENT, Options(**options), [], Report()).command

    data = tmp_path / "my photos"
    data.mkdir()
    assert command() == "python experiments/toy.py"
    assert command(data=(str(data),), seeds=3, device="cuda") == (
        "python experiments/toy.py --data 'my photos' --seeds 3 --device cuda"
    )
    assert command(preset="paper", seeds=1) == "python experiments/toy.py --preset paper"
    assert command(preset="paper", seeds=2) == "python experiments/toy.py --preset paper --seeds 2"


def test_digests_are_those_of_sha256sum_and_know_no_place(tmp_path: Path) -> None:
    first, second = tmp_path / "x" / "photos", tmp_path / "y" / "photos"
    for folder in (first, second):
        (folder / "a").mkdir(parents=True)
        (folder / "b").write_bytes(b"bb")
        (folder / "a" / "z").write_bytes(b"z")
    lines = "".join(
        f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        for name, data in [("a/z", b"z"), ("b", b"bb")]
    )
    summary = summarise_data("data", first)
    assert summary == summarise_data("data", second)
    assert (summary.name, summary.files, summary.bytes) == ("photos", 2, 3)
    assert summary.sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert summarise_data("data", first / "b").sha256 == hashlib.sha256(b"bb").hexdigest()
    (second / "b").write_bytes(b"bc")
    assert summarise_data("data", second).sha256 != summary.sha256
    gone = summarise_data("data", tmp_path / "gone")
    assert (gone.files, gone.sha256) == (0, None)


def test_large_data_is_known_by_names_and_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("records.data_summary.MAX_DIGESTED_BYTES", 1)
    (tmp_path / "a").write_bytes(b"abc")
    summary = summarise_data("data", tmp_path)
    assert summary.of == "names and sizes"
    assert summary.sha256 == hashlib.sha256(b"3  a\n").hexdigest()


def test_pictures_keep_their_pixels_and_large_ones_are_jpeg(tmp_path: Path) -> None:
    torch.manual_seed(0)
    pixels = torch.rand(3, 5, 7)
    large = torch.rand(1, 3, 300, 300)
    found = Report(
        pictures=(Picture(name="small", pixels=pixels), Picture(name="large", pixels=large))
    )
    written = write(tmp_path, EXPERIMENT, Options(), [], found)
    assert [figure.file for figure in written.figures] == ["small.png", "large.jpg"]
    with Image.open(tmp_path / "plots" / "small.png") as image:
        array = np.array(image)
    assert np.array_equal(array, pixels.mul(255).round().byte().permute(1, 2, 0).numpy())


def test_plots_of_an_earlier_report_go(tmp_path: Path) -> None:
    write(tmp_path, EXPERIMENT, Options(), [], report())
    write(tmp_path, EXPERIMENT, Options(), [], Report())
    assert list((tmp_path / "plots").iterdir()) == []


def test_a_missing_record(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    message = (
        f"A run folder must hold its record, but {path} does not exist. Let the experiment finish: "
        "its last stage writes it."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_record(path)


def test_a_newer_record(tmp_path: Path) -> None:
    write(tmp_path, EXPERIMENT, Options(), [], Report())
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2, "more": 1}))
    message = (
        f"A record must have format 1, but {path} has 2. Use the release that wrote it, or run the "
        "experiment's last stage again."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        load_record(path)


@pytest.mark.parametrize("change", [{"more": 1}, {"claims": [{"statement": "x"}]}, {"notes": None}])
def test_a_damaged_record(tmp_path: Path, change: dict[str, Any]) -> None:
    write(tmp_path, EXPERIMENT, Options(), [], Report())
    path = tmp_path / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    start = f"A record must be a whole file of this release, but {path} is not (TypeError: "
    with pytest.raises(ValueError, match=f"^{re.escape(start)}.*Run the experiment's last"):
        load_record(path)

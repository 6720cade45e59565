"""The page of all records: rebuilt to the same bytes, in need of nothing, and up to date."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure

import results_page
from launching import Options
from records import Claim, Picture, Plot, Report, Table, write

BEFORE, AFTER = "# Results\n\n<!-- experiments -->", "<!-- end of experiments -->\n\n## More\n"
VOID = {"meta", "img", "br"}


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "experiments").mkdir(parents=True)
    (tmp_path / "docs" / "results.md").write_text(f"{BEFORE}\n{AFTER}")
    return tmp_path / "docs"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, written: Path) -> Path:
    """Return a run folder that the test may change."""
    return Path(shutil.copytree(written, tmp_path / "coarse_to_fine-tiny"))


def write_run(
    folder: Path, ours: str = "1.03 ± 0.02", plot: str = "time", held_out: tuple[str, ...] = ()
) -> None:
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([1, 2])
    claim = Claim(
        statement="As cheap | <b>& whole</b>",
        source="Fig. 5",
        paper="identical",
        ours=ours,
        verdict="reproduced in sign",
        key="same-cost",
    )
    table = Table(title="Cost", columns=("cache", "ratio"), rows=(("device", 1.03), ("none", None)))
    found = Report(
        tables=(table,),
        claims=(claim,),
        plots=(Plot(name=plot, figure=figure, caption='Time "here"'),),
        pictures=(Picture(name="map", pixels=torch.zeros(2, 2)),),
        notes=("One machine.",),
    )
    about = {"name": "coarse_to_fine", "title": "Figure 5", "paper": "Equal.", "seeds": {"tiny": 2}}
    stages = [{"stage": "time", "arguments": {"steps": 4}, "seconds": 61.0}]
    write(folder, about, Options(seeds=2, held_out=held_out), stages, found)


def build(docs: Path, *arguments: object) -> int:
    places = ["--records", docs / "experiments", "--results", docs / "results.md"]
    return results_page.main([str(argument) for argument in (*arguments, *places)])


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


class Balance(HTMLParser):
    """Collects text, sources and ids, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.sources += [values["src"] or ""] if "src" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        self.ids |= {values["id"] or ""} if "id" in values else set()
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_a_run_is_collected_and_shown(
    docs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert build(docs, run) == 0
    experiments = docs / "experiments"
    assert capsys.readouterr().out == (
        f"1 record; wrote {experiments / 'index.html'} and {docs / 'results.md'}\n"
    )
    assert sorted(contents(experiments)) == [
        *("coarse_to_fine.json", "coarse_to_fine/map.png", "coarse_to_fine/time.svg", "index.html")
    ]
    assert (experiments / "coarse_to_fine.json").read_bytes() == (run / "record.json").read_bytes()
    text = (docs / "results.md").read_text()
    assert text.startswith(BEFORE)
    assert text.endswith(AFTER)
    assert (
        "| As cheap \\| &lt;b>& whole&lt;/b> | Fig. 5 | identical | 1.03 ± 0.02 | "
        "**reproduced in sign** | [coarse_to_fine](#coarse_to_fine) |" in text
    )
    assert "| The first level is a preview, early | Fig. 10; Sec. 4.4 |" in text
    assert "| cache | ratio |\n| --- | ---: |\n| device | 1.03 |\n| none | not run |" in text
    assert "- `python experiments/ablation_margin.py`: Table 6" in text
    assert "`python experiments/coarse_to_fine.py`: the photos that ship with scikit-image" in text
    assert "1 stage, 61 s in all" in text
    assert "(experiments/coarse_to_fine/time.svg)" in text


def test_a_run_on_other_data_stands_beside_the_first(
    docs: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, other = tmp_path / "kodak", tmp_path / "other"
    photos.mkdir()
    (photos / "1.png").write_bytes(b"1")
    other.mkdir()
    write_run(other, ours="1.11 ± 0.01", held_out=(str(photos),))
    assert build(docs, other, run) == 0
    experiments = docs / "experiments"
    name = "coarse_to_fine-kodak"
    assert (experiments / f"{name}.json").read_bytes() == (other / "record.json").read_bytes()
    assert (experiments / name / "time.svg").is_file()
    assert (experiments / "coarse_to_fine" / "time.svg").is_file()
    text = (docs / "results.md").read_text()
    first, again = (text.index(ours) for ours in ("1.03 ± 0.02", "1.11 ± 0.01"))
    assert first < text.index("Again, on other data:") < again
    assert (
        "| As cheap \\| &lt;b>& whole&lt;/b> | 1.11 ± 0.01 | **reproduced in sign** | "
        f"[{name}](#{name}) |" in text
    )
    assert f'<a id="{name}"></a>\n\n### Figure 5 (on kodak)' in text
    assert "1 reproduced in sign" in text
    page = (experiments / "index.html").read_text()
    assert "<b>1</b> reproduced in sign</li>" in page
    assert "1 run more on other data, 2 min in all" in page
    found = Balance()
    found.feed(page)
    assert {"coarse_to_fine", name} <= found.ids
    assert build(docs, "--check") == 0


def test_figures_of_data_that_is_not_to_be_published_stay_where_they_are(
    docs: Path, run: Path
) -> None:
    assert build(docs, run, "--without-figures") == 0
    assert sorted(contents(docs / "experiments")) == ["coarse_to_fine.json", "index.html"]
    text = (docs / "results.md").read_text()
    assert "1.03 ± 0.02" in text
    assert "time.svg" not in text
    assert (run / "plots" / "time.svg").is_file()
    assert json.loads((run / "record.json").read_text())["figures"]  # the run keeps its own
    assert build(docs, "--check") == 0


def test_the_page_is_whole_and_names_what_lies_beside_it(docs: Path, run: Path) -> None:
    build(docs, run)
    text = (docs / "experiments" / "index.html").read_text()
    found = Balance()
    found.feed(text)
    assert found.open == []
    assert len(found.sources) == 2
    assert all((docs / "experiments" / source).is_file() for source in found.sources)
    within = {link[1:] for link in found.links if link.startswith("#")}
    assert within == {"coarse_to_fine"} <= found.ids
    beside = [link for link in found.links if not link.startswith("#")]
    assert all((docs / "experiments" / link).is_file() for link in beside)
    assert "url(" not in text
    assert "As cheap | &lt;b&gt;&amp; whole&lt;/b&gt;" in text
    assert "<script" not in text
    assert 'alt="Time &quot;here&quot;"' in text
    assert "<b>1</b> reproduced in sign</li>" in text


def test_the_same_records_give_the_same_bytes(docs: Path, run: Path) -> None:
    build(docs, run)
    first = contents(docs)
    (docs / "experiments" / "index.html").unlink()
    assert build(docs) == 0  # from what is collected
    assert contents(docs) == first
    assert build(docs, run) == 0
    assert contents(docs) == first


def test_check_changes_nothing_and_fails_where_something_would(
    docs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(docs)
    assert build(docs, run, "--check") == 1
    assert contents(docs) == before
    assert str(docs / "experiments" / "coarse_to_fine" / "time.svg") in capsys.readouterr().out
    build(docs, run)
    assert build(docs, run, "--check") == 0
    assert capsys.readouterr().out.endswith("1 record: all pages are as they should be\n")
    results = docs / "results.md"
    results.write_text(results.read_text().replace("1.03 ± 0.02", "1.00 ± 0.00"))
    assert build(docs, "--check") == 1
    assert capsys.readouterr().out == (
        f"These would change; run the command without --check:\n  {results}\n"
    )


def test_a_newer_run_replaces_the_older_and_its_plots(docs: Path, run: Path) -> None:
    build(docs, run)
    write_run(run, ours="1.50 ± 0.10", plot="cost")
    assert build(docs, "--check") == 0
    assert build(docs, run, "--check") == 1
    assert build(docs, run) == 0
    assert sorted(path.name for path in (docs / "experiments" / "coarse_to_fine").iterdir()) == [
        *("cost.svg", "map.png")
    ]
    text = (docs / "results.md").read_text()
    assert "1.50 ± 0.10" in text
    assert "1.03 ± 0.02" not in text


def test_without_records_everything_was_not_run(docs: Path) -> None:
    assert build(docs) == 0
    text = (docs / "results.md").read_text()
    assert re.search(r"^[0-9]+ claims: [0-9]+ not run\. ", text, flags=re.MULTILINE)


def refusal(docs: Path, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    before = contents(docs)
    capsys.readouterr()
    assert build(docs, *arguments) == 2
    assert contents(docs) == before
    return capsys.readouterr().err


def test_what_is_refused(docs: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(docs, capsys, docs) == (
        f"results_page: error: A run folder must hold its record, but {docs / 'record.json'} does "
        "not exist. Let the experiment finish: its last stage writes it.\n"
    )
    (docs / "results.md").write_text("# Results\n\n<!-- experiments -->\n")
    assert refusal(docs, capsys, run) == (
        f"results_page: error: {docs / 'results.md'} must hold the lines <!-- experiments --> and "
        "<!-- end of experiments -->, one below the other, but does not. Put them where the "
        "experiments should stand.\n"
    )
    (docs / "results.md").write_text(f"{BEFORE}\n{AFTER}")
    (run / "plots" / "time.svg").unlink()
    assert refusal(docs, capsys, run) == (
        "results_page: error: Every plot of a record must lie beside it, but "
        f"{run / 'plots' / 'time.svg'} does not exist. Run the experiment's last stage again.\n"
    )


def test_a_record_under_another_name(
    docs: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    build(docs, run)
    experiments = docs / "experiments"
    (experiments / "coarse_to_fine.json").rename(experiments / "other.json")
    (experiments / "coarse_to_fine").rename(experiments / "other")
    assert refusal(docs, capsys) == (
        f"results_page: error: A record must be named after its experiment, but "
        f"{experiments / 'other.json'} is of coarse_to_fine. Rename it to coarse_to_fine.json.\n"
    )


def test_a_plot_cannot_be_named_out_of_its_folder(docs: Path, run: Path) -> None:
    """A record from elsewhere may say what it likes: only names inside its folder are read."""
    content = json.loads((run / "record.json").read_text())
    content["figures"][0]["file"] = "../record.json"
    (run / "record.json").write_text(json.dumps(content))
    assert build(docs, run) == 2


def test_the_committed_pages_are_built_from_the_committed_records() -> None:
    assert results_page.main(["--check"]) == 0

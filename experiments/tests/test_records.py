"""What a report may hold, how figures are shown, and what becomes of claims without a record."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from records import EXPERIMENTS, Claim, Picture, Plot, Report, Table
from records.cells import cell_text, duration, number_columns, size
from records.claims import CLAIMS
from records.data_summary import DataSummary
from records.record import Record
from records.verdicts import counts, judge

SCRIPTS = Path(__file__).parents[1]
CLAIM = Claim(
    statement="Levels help",
    source="Fig. 1",
    paper="+1 dB",
    ours="+0.9 ± 0.1 dB",
    verdict="reproduced in sign",
)


def raises(message: str) -> Any:
    return pytest.raises(ValueError, match=f"^{re.escape(message)}$")


def record(experiment: str, *claims: Claim) -> Record:
    return Record(
        experiment=experiment,
        title=f"Title of {experiment}",
        paper="",
        preset="tiny",
        command="",
        options={},
        data=(),
        stages=(),
        commit=None,
        dirty=None,
        packages={},
        libraries={},
        python="3",
        machine={},
        tables=(),
        claims=claims,
        figures=(),
        notes=(),
    )


def data_summary(use: str, name: str) -> DataSummary:
    return DataSummary(use=use, name=name, files=1, bytes=1, sha256=None, of="contents")


def test_a_verdict_is_one_of_four() -> None:
    with raises(
        "A verdict must be one of reproduced in sign, not reproduced, not testable here, not run, "
        "but is 'yes' for 'Levels help'. Choose one of these."
    ):
        replace(CLAIM, verdict="yes")


def test_a_verdict_needs_a_figure() -> None:
    message = (
        "`ours` must hold the measured figure where the verdict is 'reproduced in sign', but is "
        "'seen' for 'Levels help'. Give the figure and its spread."
    )
    with raises(message):
        replace(CLAIM, ours="seen")
    assert replace(CLAIM, ours="no weights", verdict="not testable here").ours == "no weights"


def test_a_key_is_a_claim_of_the_paper() -> None:
    with raises(
        f"A claim's key must be one of {', '.join(CLAIMS)}, but is 'sublinar'. Add the claim to "
        "records/claims.py, or leave the key out."
    ):
        replace(CLAIM, key="sublinar")


def test_rows_fit_columns() -> None:
    with raises(
        "A row of the table 'PSNR' must have 2 cells, one for each column, but has 1: ('a',). Give "
        "None for what was not run."
    ):
        Table(title="PSNR", columns=("x", "y"), rows=(("a",),))


@pytest.mark.parametrize("cell", [float("nan"), float("inf"), True, torch.tensor(1.0), [1]])
def test_cells_are_what_a_table_can_show(cell: object) -> None:
    with raises(
        "A cell of the table 'PSNR' must be text, an integer, a finite number or None, but is "
        f"{cell!r} ({type(cell).__name__}). Write it as text, or None for what was not run."
    ):
        Table(title="PSNR", columns=("x",), rows=((cell,),))  # type: ignore[arg-type]


def test_plots_have_names_of_their_own() -> None:
    pixels = torch.zeros(3, 2, 2)
    pictures = tuple(Picture(name=name, pixels=pixels) for name in ("levels", "Levels"))
    with raises(
        "Plots and pictures must have names of their own, but there are two of levels. Rename one."
    ):
        Report(pictures=pictures)
    with raises(
        "A plot's name must be letters, digits, - and _, as it names a file, but is '../x'. Put "
        "the rest into the caption."
    ):
        Plot(name="../x", figure=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 3, 5, 7), (1, 5, 7), (5, 7)])
def test_pictures_in_colour_and_grey(shape: tuple[int, ...]) -> None:
    assert Picture(name="x", pixels=torch.zeros(shape)).pixels.shape == shape


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 3, 5, 7), (7,), (1, 1, 3, 5, 7)])
def test_no_other_shapes(shape: tuple[int, ...]) -> None:
    with raises(
        f"The pixels of 'x' must be (3, H, W), or (H, W) for grey, but are {shape}. Put several "
        "pictures into one sheet."
    ):
        Picture(name="x", pixels=torch.zeros(shape))


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        *((None, "not run"), ("31.2 ± 0.4", "31.2 ± 0.4"), (12345, "12,345"), (0, "0")),
        *((26.914, "26.91"), (0.00123456, "0.001235"), (12345.6, "12,346"), (-1234.5, "-1,234")),
    ],
)
def test_cells(cell: object, text: str) -> None:
    assert cell_text(cell) == text  # type: ignore[arg-type]


def test_columns_of_numbers_stand_to_the_right() -> None:
    rows = ((1, "1 ± 2", "-0.5 dB", "a", None), (2, "not run", "–", "1", "2"))
    table = Table(title="", columns=("a", "b", "c", "d", "e"), rows=rows)
    assert number_columns(table) == [False, True, True, False, True]


def test_times_and_sizes_in_words() -> None:
    assert [duration(s) for s in (None, 3.14159, 59.6, 119, 121, 3 * 3600 + 59)] == [
        *("time not kept", "3.1 s", "60 s", "119 s", "2 min", "3 h 1 min")
    ]
    assert [size(n) for n in (12, 1234, 5_000_000, 12_345_000_000)] == [
        *("12 bytes", "1.23 kB", "5 MB", "12.3 GB")
    ]


def test_keys_are_unique() -> None:
    keys = [claim.key for experiment in EXPERIMENTS for claim in experiment.claims]
    assert sorted(CLAIMS) == sorted(keys)
    assert len({experiment.name for experiment in EXPERIMENTS}) == len(EXPERIMENTS)


def test_a_listed_claim_is_answered_in_its_own_words() -> None:
    found = Claim.answering("sublinear", ours="power 0.6 ± 0.1", verdict="reproduced in sign")
    asked = CLAIMS["sublinear"]
    assert found == Claim(
        key="sublinear",
        statement=asked.statement,
        source=asked.source,
        paper=asked.evidence,
        ours="power 0.6 ± 0.1",
        verdict="reproduced in sign",
    )


def test_listed_experiments_are_files_and_files_are_listed() -> None:
    files = {path.stem for path in SCRIPTS.glob("*.py") if "= Experiment(" in path.read_text()}
    assert files == {experiment.name for experiment in EXPERIMENTS}


def test_without_records_every_claim_was_not_run() -> None:
    judged = judge([])
    assert [part.name for part in judged] == [part.name for part in EXPERIMENTS]
    assert counts(judged) == {
        "reproduced in sign": 0,
        "not reproduced": 0,
        "not testable here": 0,
        "not run": len(CLAIMS),
    }


def test_a_record_answers_by_key_and_leaves_the_rest_open() -> None:
    answer = replace(CLAIM, key="denoising-inflates")
    judged = {part.name: part for part in judge([record("ablation_margin", answer, CLAIM)])}
    claims = judged["ablation_margin"].claims
    assert claims[:2] == (answer, CLAIM)
    assert [claim.key for claim in claims[2:]] == [
        "l2-collapses",
        "margin-restores",
        "no-fragments",
    ]
    assert {claim.verdict for claim in claims[2:]} == {"not run"}
    assert judged["ablation_margin"].title == "Title of ablation_margin"
    assert judged["coarse_to_fine"].record is None


def test_another_experiment_may_answer() -> None:
    """What one record answers is nowhere "not run", and experiments of one's own are shown last."""
    answer = replace(CLAIM, key="no-fragments")
    judged = judge([record("mine", answer)])
    assert (judged[-1].name, judged[-1].claims) == ("mine", (answer,))
    assert [claim.key for part in judged for claim in part.claims].count("no-fragments") == 1


def test_runs_on_other_data_stand_after_the_one_without_flags_and_are_not_counted() -> None:
    answer, other = replace(CLAIM, key="same-cost"), replace(CLAIM, verdict="not reproduced")
    plain = record("coarse_to_fine", answer)
    train, held_out = (
        data_summary(use, name) for use, name in (("data", "a"), ("held-out", "K 1"))
    )
    again = replace(record("coarse_to_fine", other), data=(train, held_out))
    assert (plain.name, plain.conditions) == ("coarse_to_fine", "")
    assert (again.name, again.conditions) == ("coarse_to_fine-k-1", "on K 1")
    judged = [part for part in judge([again, plain]) if part.record]
    assert [(part.name, part.is_repeat) for part in judged] == [
        ("coarse_to_fine", False),
        ("coarse_to_fine-k-1", True),
    ]
    assert judged[1].title == "Title of coarse_to_fine (on K 1)"
    assert judged[1].claims == (other,)
    assert counts(judged)["not reproduced"] == 0
    assert counts(judge([again]))["not reproduced"] == 1  # alone it is the run that counts


def test_a_run_at_the_papers_scale_comes_first() -> None:
    plain = record("coarse_to_fine", CLAIM)
    paper = replace(plain, preset="paper", data=(data_summary("data", "train"),))
    assert (paper.name, paper.conditions) == (
        "coarse_to_fine-paper-train",
        "preset paper, on train",
    )
    judged = [part for part in judge([plain, paper]) if part.record]
    assert [part.name for part in judged] == [paper.name, plain.name]
    assert [part.is_repeat for part in judged] == [False, True]

"""Progress counts every patch once, whatever the pieces, and commands show it on a terminal."""

import io
import sys
from collections.abc import Callable

import pytest
import torch

from dcs_common import Latents
from dcs_tok import DCSTok, progress
from dcs_tok.progress import show_progress

from .tiny_models import CONFIGS, NAMES, perturbed, random_levels, random_pixels

PIXELS = random_pixels(2, 3, 13, 22, dtype=torch.float32)
CLIP = random_pixels(1, 3, 5, 13, 22, dtype=torch.float32)
IN_ALL = 2 * 3 * 5


def counts(tok: DCSTok, work: Callable[[], object]) -> list[tuple[int, int]]:
    """Return the reports of (just done, in all) during work."""
    reports: list[tuple[int, int]] = []
    tok.on_progress = lambda done, total: reports.append((done, total))
    work()
    tok.on_progress = None
    return reports


@pytest.fixture(params=[2**29, 1], ids=["at once", "patch by patch"])
def ceiling(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.mark.parametrize("name", NAMES)
def test_encoding_and_decoding_count_every_patch_once(name: str, ceiling: int) -> None:
    tok = perturbed(CONFIGS[name](), torch.float32)
    tok.max_memory = ceiling
    latents = tok.encode(PIXELS)
    for work in (lambda: tok.encode(PIXELS), lambda: tok.decode(latents, (9, 31))):
        reports = counts(tok, work)
        assert sum(done for done, _ in reports) == IN_ALL
        assert {total for _, total in reports} == {IN_ALL}
        assert min(done for done, _ in reports) > 0
        if ceiling == 1:
            assert len(reports) >= IN_ALL / 2


def test_patches_of_different_level_counts_count_once_each(ceiling: int) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    tok.max_memory = ceiling
    levels = random_levels(2, 1, 3, 5)
    reports = counts(tok, lambda: tok.encode(PIXELS, levels=levels))
    assert sum(done for done, _ in reports) == IN_ALL
    latents = tok.encode(PIXELS, levels=levels)
    reports = counts(tok, lambda: tok.decode(latents))
    assert sum(done for done, _ in reports) == IN_ALL


def test_all_segments_of_a_clip_count(ceiling: int) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    tok.max_memory = ceiling
    latents = tok.encode(CLIP, 5)
    assert latents.grid == (2, 3, 5)
    for work in (lambda: tok.encode(CLIP, 5), lambda: tok.decode(latents, fps=7)):
        reports = counts(tok, work)
        assert {total for _, total in reports} == {30}
        assert sum(done for done, _ in reports) == 30


def test_every_preview_counts_the_patches_that_it_changes() -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    levels = random_levels(2, 1, 3, 5)
    latents: Latents = tok.encode(PIXELS, levels=levels)
    done: list[int] = []
    tok.on_progress = lambda count, total: done.append(count)
    for step in tok.decode_progressive(latents):
        assert sum(done) == int((levels >= step.level).sum())
        done.clear()


class Bar:
    """Stands in for tqdm and keeps what it was told."""

    def __init__(self, **options: object) -> None:
        self.options = options
        self.total: int | None = None
        self.shown: list[int] = []
        self.open = False

    def __enter__(self) -> "Bar":
        self.open = True
        return self

    def __exit__(self, *problem: object) -> None:
        self.open = False

    def update(self, done: int) -> None:
        assert self.open
        self.shown.append(done)


class Terminal(io.StringIO):
    """A stream that a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    """The bars that were made."""
    made: list[Bar] = []

    def make(**options: object) -> Bar:
        made.append(Bar(**options))
        return made[-1]

    monkeypatch.setattr(progress, "tqdm", make)
    return made


def test_the_bar_counts_up_to_all_patches(bars: list[Bar]) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    with show_progress(tok, "encoding"):
        tok.encode(PIXELS)
    (bar,) = bars
    assert bar.options["desc"] == "encoding"
    assert sum(bar.shown) == bar.total == IN_ALL
    assert tok.on_progress is None


def test_the_bar_goes_away_when_the_work_fails(bars: list[Bar]) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    with pytest.raises(RuntimeError, match="halfway"), show_progress(tok, "encoding"):
        raise RuntimeError("halfway")
    assert not bars[0].open
    assert tok.on_progress is None


def test_a_terminal_sees_the_bar_and_a_file_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    tok = perturbed(CONFIGS["nano"](), torch.float32)
    written = {}
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stderr", stream)
        with show_progress(tok, "encoding"):
            tok.encode(PIXELS)
        written[type(stream)] = stream.getvalue()
    assert "encoding" in written[Terminal]
    assert written[io.StringIO] == ""

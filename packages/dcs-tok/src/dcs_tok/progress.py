"""A progress bar for long commands."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from dcs_tok.tokenizer import DCSTok


@contextmanager
def show_progress(tok: DCSTok, label: str) -> Iterator[None]:
    """Show how many patches a tokenizer has worked through, on a terminal's stderr."""
    with tqdm(desc=label, unit=" patches", leave=False, disable=not sys.stderr.isatty()) as bar:

        def report(done: int, total: int) -> None:
            bar.total = total
            bar.update(done)

        tok.on_progress = report
        try:
            yield
        finally:
            tok.on_progress = None

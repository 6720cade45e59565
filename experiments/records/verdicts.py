"""Every claim and what became of it, claims without a record included."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from records.cells import NOT_RUN
from records.claims import EXPERIMENTS, PaperExperiment
from records.record import Record
from records.report import VERDICTS, Claim, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """An experiment and its claims.

    Attributes:
        experiment: its name.
        title: what it reproduces.
        claims: those of its record, then those of the paper that no record answers.
        record: None where it was not run.
    """

    experiment: str
    title: str
    claims: tuple[Claim, ...]
    record: Record | None


def judge(records: Mapping[str, Record]) -> list[Judged]:
    """Return every experiment, listed ones first, whether it was run or not."""
    answered = {claim.key for record in records.values() for claim in record.claims}
    listed = {experiment.name: experiment for experiment in EXPERIMENTS}
    others = [name for name in sorted(records) if name not in listed]
    judged = []
    for name in (*listed, *others):
        record = records.get(name)
        found = record.claims if record else ()
        open_claims = _open(listed[name], answered) if name in listed else ()
        title = record.title if record else listed[name].title
        judged.append(
            Judged(experiment=name, title=title, claims=(*found, *open_claims), record=record)
        )
    return judged


def counts(judged: Iterable[Judged]) -> dict[Verdict, int]:
    """Return how many claims have each verdict, in the order of verdicts."""
    found = Counter(claim.verdict for part in judged for claim in part.claims)
    return {verdict: found[verdict] for verdict in VERDICTS}


def _open(experiment: PaperExperiment, answered: set[str]) -> tuple[Claim, ...]:
    return tuple(
        Claim(
            statement=claim.statement,
            source=claim.source,
            paper=claim.evidence,
            ours=NOT_RUN,
            verdict="not run",
            key=claim.key,
        )
        for claim in experiment.claims
        if claim.key not in answered
    )

"""Every claim and what became of it, claims without a record included."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from records.cells import NOT_RUN
from records.claims import EXPERIMENTS, PaperExperiment
from records.record import Record
from records.report import VERDICTS, Claim, Verdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """An experiment and its claims, or a further run of it.

    Attributes:
        name: of the record, or of the experiment without one.
        title: what it reproduces, and under which conditions.
        claims: those of its record, then those of the paper that no record answers.
        record: None where it was not run.
        is_repeat: whether the experiment has a run before this one, whose verdicts count.
    """

    name: str
    title: str
    claims: tuple[Claim, ...]
    record: Record | None
    is_repeat: bool = False


def judge(records: Collection[Record]) -> list[Judged]:
    """Return every experiment, listed ones first, whether it was run or not.

    Of several runs of one, that at the paper's scale comes first, then that without flags.
    """
    answered = {claim.key for record in records for claim in record.claims}
    listed = {experiment.name: experiment for experiment in EXPERIMENTS}
    others = sorted({record.experiment for record in records} - listed.keys())
    judged = []
    for name in (*listed, *others):
        runs = [record for record in records if record.experiment == name]
        runs.sort(key=lambda run: (run.preset != "paper", bool(run.data), run.name))
        open_claims = _open(listed[name], answered) if name in listed else ()
        if not runs:
            title = listed[name].title
            judged.append(Judged(name=name, title=title, claims=open_claims, record=None))
        judged += [
            Judged(
                name=run.name,
                title=f"{run.title} ({run.conditions})" if run.conditions else run.title,
                claims=run.claims if number else (*run.claims, *open_claims),
                record=run,
                is_repeat=number > 0,
            )
            for number, run in enumerate(runs)
        ]
    return judged


def counts(judged: Iterable[Judged]) -> dict[Verdict, int]:
    """Return how many claims have each verdict, in the order of verdicts; repeats do not count."""
    found = Counter(claim.verdict for part in judged if not part.is_repeat for claim in part.claims)
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

"""Stages that measure by a protocol of ``dcs-eval``: features shared among jobs, then figures."""

import json
from pathlib import Path
from typing import Any

from costs.paper_scale import PAPER_TOKENIZER
from launching import Context, Resources, Stage
from systems.class_data import pictures_held_out
from systems.commands import dcs_eval
from systems.generator_stages import TOKENIZER

PROTOCOL_FILE = "protocol.json"


def reconstruct(context: Context, *, protocol: str, jobs: int, job: int) -> dict[str, Any]:
    """Measure the paper's tokenizer at one level as ``dcs-eval reconstruction`` does.

    Args:
        context: of the stage; stages NAME.0, NAME.1 and so on share the folder of NAME.
        protocol: its name.
        jobs, job: how many share the features, and which of them this is.
    """
    options = context.options
    more: list[object] = []
    if options.lpips_trunk is not None:
        more += ["--lpips-trunk", options.lpips_trunk]
    if options.lpips_heads is not None:
        more += ["--lpips-heads", options.lpips_heads]
    said = dcs_eval(
        *("reconstruction", "--protocol", protocol, "--levels", 1),
        *("--tokenizer", TOKENIZER, "--model", PAPER_TOKENIZER, "--data", *real_data(context)),
        *_shared(context, jobs, job),
        *more,
    )
    return _result(context, said)


def generate(
    context: Context, *, protocol: str, samples: str, jobs: int, job: int
) -> dict[str, Any]:
    """Measure samples of this run as ``dcs-eval generation`` does.

    Args:
        context, protocol, jobs, job: as for :func:`reconstruct`.
        samples: their name.
    """
    is_adm = protocol == "imagenet256-gfid"
    reference = [held_out_statistics(context)] if is_adm else real_data(context)
    said = dcs_eval(
        *("generation", context.run / "samples" / samples, "--protocol", protocol),
        *("--reference", *reference),
        *_shared(context, jobs, job),
    )
    return _result(context, said)


def real_data(context: Context) -> list[Path]:
    """Return what is held out, or what was chosen of it."""
    chosen = context.run / "reference"
    return [chosen] if chosen.is_dir() else [Path(path) for path in pictures_held_out(context)]


def held_out_statistics(context: Context) -> Path:
    """Return the file of ADM's evaluation.

    Raises:
        ValueError: if ``--held-out`` does not name it.
    """
    found = [path for path in context.options.held_out if path.endswith(".npz")]
    if len(found) != 1:
        raise ValueError(
            "`--held-out` must name VIRTUAL_imagenet256_labeled.npz of ADM's evaluation beside the "
            f"validation pictures, but names {len(found)} files of that kind. Download it and add "
            "its path."
        )
    return Path(found[0])


def _shared(context: Context, jobs: int, job: int) -> list[object]:
    output = output_of(context, context.stage)
    output.mkdir(parents=True, exist_ok=True)
    shared: list[object] = ["--jobs", jobs, "--job", job, "--output", output]
    shared += ["--device", context.device]
    weights = context.options.feature_weights
    return shared if weights is None else [*shared, "--weights", weights]


def output_of(context: Context, stage: str) -> Path:
    """Return a protocol's folder."""
    return context.run / "protocols" / stage.partition(".")[0]


def _result(context: Context, said: str) -> dict[str, Any]:
    """Return the figures, or what the command said where features are still missing."""
    path = output_of(context, context.stage) / PROTOCOL_FILE
    if not path.exists():
        return {"said": said.splitlines()[-1]}
    content = json.loads(path.read_text(encoding="utf-8"))
    return {key: content[key] for key in ("columns", "rows", "values", "space", "counts")}


def protocol_stages(
    name: str,
    function: str,
    protocol: str,
    *,
    jobs: int,
    after: tuple[str, ...],
    resources: Resources,
    **more: str,
) -> list[Stage]:
    """Return the stages of a protocol: NAME.0 to NAME.n share the features, NAME measures.

    Args:
        name: of the last one.
        function: of this module.
        protocol: its name.
        jobs: that share the features.
        after: what they wait for.
        resources: of each.
        more: arguments of the function.
    """
    path = f"systems.protocol_stages:{function}"
    common = {"protocol": protocol, "jobs": jobs, **more}
    features = [
        Stage(
            name=f"{name}.{job}",
            function=path,
            arguments={**common, "job": job},
            after=after,
            resources=resources,
            array=name,
        )
        for job in range(jobs)
    ]
    names = tuple(stage.name for stage in features)
    last = Stage(
        name=name,
        function=path,
        arguments={**common, "job": 0},
        after=names,
        resources=resources,
    )
    return [*features, last]

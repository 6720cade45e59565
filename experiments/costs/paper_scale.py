"""What the paper's runs ask of a cluster, their data, and where their models are.

The paper: "four nodes, each equipped with eight GPUs", about a week for the tokenizer and four days
for the generator.
"""

from pathlib import Path

from launching import Options, Resources

TRAINING = Resources(
    nodes=4, tasks_per_node=8, gpus_per_node=8, cpus_per_task=12, memory_gb=800, minutes=24 * 60
)
"""Of a training run; after a day it saves, is queued again and goes on."""
MODELS = Resources(gpus_per_node=1, cpus_per_task=12, memory_gb=120, minutes=24 * 60)
"""Of what needs one GPU: latents, samples, measurements."""


def paper_model(experiment: str, stage: str) -> str:
    """Return where an experiment's paper preset leaves the model of a stage, below ``runs/``."""
    return f"runs/{experiment}-paper/stages/{stage}/run/model"


PAPER_TOKENIZER = paper_model("train_tokenizer", "stage-3-decoder")
PAPER_GENERATOR = paper_model("train_dit", "train")
"""The models that other experiments measure or build on."""


def check_model(model: str, maker: str) -> None:
    """Check that a model is there, where it is another experiment's.

    Raises:
        ValueError: if it is a folder below ``runs/`` that does not exist.
    """
    if model.startswith("runs/") and not Path(model).is_dir():
        raise ValueError(
            f"The model must be there, but {model} is not. Run `python experiments/{maker}.py "
            "--preset paper` first, from the same folder."
        )


def paper_data(options: Options, what: str) -> tuple[str, ...]:
    """Return the data of a preset that has none of its own.

    Args:
        options: of the command line.
        what: the data is to be, for the message.

    Raises:
        ValueError: if ``--data`` or ``--held-out`` is missing.
    """
    for name, values in (("--data", options.data), ("--held-out", options.held_out)):
        if not values:
            raise ValueError(
                f"`--preset paper` must be given `{name}`, but it is missing. Name {what}: "
                "folders, zips or WebDataset shards that every node sees. `--plan` needs none."
            )
    return options.data

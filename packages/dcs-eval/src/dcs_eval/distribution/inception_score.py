"""The Inception score (Salimans et al. 2016): are single pictures clear, and all of them diverse?

It needs the logits of a classifier. With any other than the Inception network of FID its figures
cannot be compared with published ones: name the network.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from dcs_eval.distribution.feature_rows import feature_rows

SPLITS = 10  # of 50,000 pictures: 5,000 each, as ADM's evaluation has them


@dataclass(frozen=True, kw_only=True, slots=True)
class InceptionScore:
    """The score over splits: at least 1, at most the number of classes; more is better.

    Attributes:
        mean: over splits.
        deviation: of splits, without Bessel's correction.
        splits: into how many parts the pictures were divided.
    """

    mean: float
    deviation: float
    splits: int


def inception_score(logits: Tensor, *, splits: int = SPLITS) -> InceptionScore:
    """Return the Inception score of pictures: ``exp(mean KL(p(y|x), p(y)))`` of each split.

    Splits follow the order of the pictures, as in ADM's evaluation, and are equal to within one
    picture. Nothing is shuffled: pictures in the order of their classes give a lower score. Fewer
    pictures in a split do so, too. Computed in float64.

    Args:
        logits: (N, classes), before the softmax. The Inception network of FID takes its own
            without the bias, for that is how the original score was computed.
        splits: into how many parts to divide.

    Raises:
        ValueError: if there are fewer pictures than splits, or the logits are not usable.
    """
    exact = feature_rows(logits)
    if not 1 <= splits <= len(exact):
        raise ValueError(
            f"`splits` must be between 1 and the number of pictures, {len(exact)}, but is "
            f"{splits}. The usual are {SPLITS}, of 5,000 pictures each."
        )
    ends = [index * len(exact) // splits for index in range(splits + 1)]
    scores = torch.stack([_score(exact[start:end]) for start, end in pairwise(ends)])
    return InceptionScore(
        mean=float(scores.mean()), deviation=float(scores.std(correction=0)), splits=splits
    )


def _score(logits: Tensor) -> Tensor:
    """Return the score of one split (n, classes)."""
    logs = logits.log_softmax(1)
    # Logarithms all the way: a probability that underflows to 0 must not become 0 times infinity.
    overall = logs.logsumexp(0) - torch.log(torch.tensor(float(len(logs)), dtype=logs.dtype))
    return (logs.exp() * (logs - overall)).sum(1).mean().exp()

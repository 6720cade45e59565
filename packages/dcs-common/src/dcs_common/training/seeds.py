"""Random numbers that depend on what they are for and on nothing that happened before.

Every draw of a run comes from a generator seeded by its purpose (the run's seed, the step, the
sample), so that a run can be continued at any step, and divided among processes and workers in
any way, without a random state to carry along.
"""

from collections.abc import Sequence
from hashlib import blake2b

import torch

from dcs_common.training.task import Share


def seeded_generator(*key: int | str) -> torch.Generator:
    """Return a generator on the CPU that is seeded by 64 bits of a hash of ``key``."""
    digest = blake2b(repr(key).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little", signed=True))


def sample_generators(seed: int, share: Share, stream: str) -> Sequence[torch.Generator]:
    """Return one generator for each sample of a share, the same in any division of the step.

    Args:
        seed: the run's.
        share: the samples.
        stream: what the numbers are for; each purpose has its own.
    """
    return [seeded_generator(seed, stream, share.step, g) for g in range(share.start, share.stop)]

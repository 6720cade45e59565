"""What commands are told about the machine, checked before anything runs."""

import torch


def check_seed(seed: int) -> int:
    """Return ``--seed``.

    Raises:
        ValueError: if torch could not take it.
    """
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"`--seed` must fit into 64 bits, but is {seed}. Choose another.")
    return seed


def check_device(name: str, *, each_its_own: bool = False) -> torch.device:
    """Return the device of ``--device`` after trying it.

    Args:
        name: as torch names devices.
        each_its_own: leave plain ``cuda`` untried, as each process takes one of its own.

    Raises:
        ValueError: if this machine has none of that name.
    """
    try:
        device = torch.device(name)
        if not (each_its_own and device == torch.device("cuda")):
            torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"`--device` must name a device of this machine, but is {name!r} "
            f"({str(error).splitlines()[0]}). Use cpu."
        ) from None
    return device

"""Operations that a training step gives a device, by the memory it may use at once.

An accelerator takes some microseconds for each, however small: below that size it waits. They are
counted on tensors without values, so that none is needed.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dcs_common import sample_level_map
from dcs_common.training.cost import fake_mode
from dcs_tok import DCSTok, dcs_tok_b
from dcs_tok.patch_work import DEFAULT_MAX_MEMORY, plan_work, share_of

SIZE, BATCH = 256, 8


class Operations(TorchDispatchMode):
    """Counts the operations under it that compute something."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Count an operation, unless it returns a view or asks for a property."""
        returned = [value.alias_info for value in func._schema.returns]
        is_view = any(alias is not None and not alias.is_write for alias in returned)
        self.count += not is_view and func.namespace != "prim"
        return func(*args, **(kwargs or {}))


def count(patches_at_once: int) -> int:
    """Return the operations of a step, forward and backward, without losses."""
    config = dcs_tok_b()
    with fake_mode():
        tok = DCSTok(config)
    tok.max_memory, tok.patches_at_once = 2**40, patches_at_once
    pixels = torch.zeros(BATCH, 3, SIZE, SIZE)
    generator = torch.Generator().manual_seed(0)
    levels = sample_level_map((BATCH, 1, 16, 16), config.num_levels, generator=generator)
    with Operations() as operations:
        with torch.autocast("cpu", torch.bfloat16):
            rebuilt, _ = tok(pixels, None, levels, 16)
        rebuilt.backward(torch.zeros_like(rebuilt))
    return operations.count


def run() -> list[str]:
    """Return a Markdown table."""
    config = dcs_tok_b()
    assert config.patchifier is not None
    pixels = (SIZE // 16) ** 2
    lines = [
        f"| step of dcs-tok-b, {SIZE} px, batch {BATCH} | patches at once | operations |",
        "|---|---|---|",
    ]
    for name, ceiling in (("512 MiB", DEFAULT_MAX_MEMORY), ("an 80 GB device", share_of(80e9))):
        plan = plan_work(
            pixels + config.num_levels,
            config.patchifier.width,
            3 * pixels,
            4,
            ceiling,
            on_cpu=False,
        )
        lines.append(f"| {name} | {plan.patches_at_once} | {count(plan.patches_at_once)} |")
    return lines

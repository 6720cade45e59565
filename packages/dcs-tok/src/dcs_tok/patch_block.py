"""The transformer block of patchifier and depatchifier, inside one patch (Fig. 4a)."""

from torch import Tensor, nn

from dcs_common.feed_forward import SwiGLU
from dcs_common.norms import RMSNorm


class PatchBlock(nn.Module):
    """Pre-norm block whose attention pattern is given by the caller.

    The queries may be fewer than the keys: a last block needs only the outputs it hands on.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(
                f"`width` must be a multiple of `heads`, but is {width} for {heads} heads."
            )
        self.heads = heads
        self.attention_norm = RMSNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.feed_forward_norm = RMSNorm(width)
        self.feed_forward = SwiGLU(width)

    def queries(self, normed: Tensor) -> Tensor:
        """Project (p, tokens, width) to (p, tokens, heads, head_dim)."""
        return self.query(normed).unflatten(-1, (self.heads, -1))

    def keys_values(self, normed: Tensor) -> tuple[Tensor, Tensor]:
        """Project (p, tokens, width) to keys and values (p, tokens, heads, head_dim)."""
        return self.key_value(normed).unflatten(-1, (2, self.heads, -1)).unbind(-3)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add attention (p, tokens, heads, head_dim) and feed-forward to x (p, tokens, width)."""
        x = x + self.out(attended.flatten(2))
        return x + self.feed_forward(self.feed_forward_norm(x))

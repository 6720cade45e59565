"""The adversarial loss and its adaptive weight (lambda and L_adv of Eq. 6).

The paper does not describe its discriminator. As in the work it cites for the adaptive weight
(VFRTok, MAETok): hinge losses, per frame, with LeCAM regularisation.
"""

import torch
from torch import Tensor, nn

from dcs_tok.losses.process_mean import process_mean

ADAPTIVE_WEIGHT_EPSILON = 1e-4
LARGEST_ADAPTIVE_WEIGHT = 1e4


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return ``(mean relu(1 - D(x)) + mean relu(1 + D(G(x)))) / 2``, the discriminator's loss.

    Logits have any shape. Those beyond 1 on their own side no longer count.
    """
    return ((1 - real_logits).relu().mean() + (1 + fake_logits).relu().mean()) / 2


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """Return ``-mean D(G(x))``, the tokenizer's loss (L_adv of Eq. 6)."""
    return -fake_logits.mean()


class LeCAM(nn.Module):
    """LeCAM regularisation of a discriminator (Tseng et al. 2021, in its authors' hinge form).

        weight * (mean relu(D(x) - f)^2 + mean relu(r - D(G(x)))^2)

    with r and f moving averages of the real and fake logits. It pulls the logits of each side
    towards the other's average, so that a discriminator with little data does not run away.
    Its state is two buffers; the averages run over all processes and stay the same in each.

    Args:
        decay: of the moving averages, which start at 0, per call in training mode.
        weight: of the result.

    Raises:
        ValueError: if ``decay`` is not in [0, 1).
    """

    real_average: Tensor
    fake_average: Tensor

    def __init__(self, *, decay: float = 0.999, weight: float = 0.001) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"`decay` must be in [0, 1), but is {decay}. Use 0.999.")
        self.decay = decay
        self.weight = weight
        self.register_buffer("real_average", torch.zeros(()))
        self.register_buffer("fake_average", torch.zeros(()))

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Move the averages to this batch (in training mode), then return the weighted loss."""
        if self.training:
            means = torch.stack([real_logits.detach().mean(), fake_logits.detach().mean()])
            real, fake = process_mean(means.to(self.real_average.dtype))
            self.real_average.lerp_(real, 1 - self.decay)
            self.fake_average.lerp_(fake, 1 - self.decay)
        real_part = (real_logits - self.fake_average).relu().square().mean()
        fake_part = (self.real_average - fake_logits).relu().square().mean()
        return self.weight * (real_part + fake_part)


def adaptive_weight(
    main_loss: Tensor, adversarial_loss: Tensor, last_layer_weight: Tensor
) -> Tensor:
    """Return lambda of Eq. 6: how much the adversarial loss must weigh to pull like the others.

        clamp(|dL_main/dW| / (|dL_adv/dW| + 1e-4), 0, 1e4)

    with W the last layer's weight and Euclidean norms, as in VQGAN, whose use VFRTok and MAETok
    follow. The result is a scalar without gradient; Eq. 6 multiplies it by 0.2. In a run of
    several processes the gradients are averaged first, so all get the weight of the whole batch.

    Both graphs stay usable. Each gradient runs back from the pixels to W alone.

    Args:
        main_loss: reconstruction plus perceptual loss, a scalar.
        adversarial_loss: :func:`hinge_generator_loss`, a scalar.
        last_layer_weight: W, through which both losses were computed.
    """

    def norm(loss: Tensor) -> Tensor:
        (gradient,) = torch.autograd.grad(loss, last_layer_weight, retain_graph=True)
        return process_mean(gradient.float()).norm()

    ratio = norm(main_loss) / (norm(adversarial_loss) + ADAPTIVE_WEIGHT_EPSILON)
    return ratio.clamp(0, LARGEST_ADAPTIVE_WEIGHT)

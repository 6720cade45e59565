"""The losses of DCS-Tok, one file per term of Eq. 6.

    L = L_recon + 1 L_percept + 0.2 lambda L_adv + 0.001 L_margin

========================================  =======================
:mod:`~dcs_tok.losses.reconstruction`     L_recon
:mod:`~dcs_tok.losses.perceptual`         L_percept
:mod:`~dcs_tok.losses.adversarial`        L_adv and lambda
:mod:`~dcs_tok.losses.margin`             L_margin
:mod:`~dcs_tok.losses.kl`                 of a rival: latents with a variance
========================================  =======================
"""

"""DCS-DiT: the diffusion transformer over the hierarchical latents of DCS-Tok (Sec. 5).

Nothing is released here yet. The package holds its name, its place below the experiments and
the latent format that it will read and write: the model and its presets (Table 3), rectified
flow, guidance, `sample` and the coarse-to-fine `sample_progressive` (Fig. 5) come next.
"""

from importlib.metadata import version

from dcs_common.latents import LATENT_FORMAT

__version__ = version("dcs-dit")

__all__ = ["LATENT_FORMAT"]

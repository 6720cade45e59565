"""Every experiment and every claim of the paper, so that what has no record shows as "not run".

An experiment's report answers a claim by its key: ``Claim(..., key="sublinear")``.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperClaim:
    """A claim as the paper has it.

    Attributes:
        key: by which a report answers it.
        statement: what is claimed.
        source: figure, table or section.
        evidence: the paper's figures, or what its figures show.
    """

    key: str
    statement: str
    source: str
    evidence: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PaperExperiment:
    """An experiment, `experiments/NAME.py`, and the claims that it must answer."""

    name: str
    title: str
    claims: tuple[PaperClaim, ...]


#: In the order of pages: what the latent space claims, what training claims, then whole systems.
EXPERIMENTS = (
    PaperExperiment(
        name="complexity_and_scale",
        title="Figures 6 and 7: levels, scale and content",
        claims=(
            PaperClaim(
                key="sublinear",
                statement="At equal quality the latent grows more slowly than the scale",
                source="Fig. 6, 7; Sec. 4.2",
                evidence="seen sample by sample; no exponent given",
            ),
            PaperClaim(
                key="linear-raises",
                statement="Tokens that grow with the scale raise PSNR with scale (vanilla)",
                source="Sec. 4.2",
                evidence="stated; no figure given",
            ),
            PaperClaim(
                key="fixed-lowers",
                statement="A fixed number of tokens lowers PSNR with scale (as VFRTok has it)",
                source="Sec. 4.2",
                evidence="stated; no figure given",
            ),
            PaperClaim(
                key="content-decides",
                statement="Content decides quality, not scale: a large simple sample beats a "
                "small complex one at equal levels",
                source="Fig. 6, 7; Sec. 4.2",
                evidence="two simple and two complex pictures",
            ),
        ),
    ),
    PaperExperiment(
        name="variable_scale",
        title="Figure 9: one latent at every size, frame rate and aspect ratio",
        claims=(
            PaperClaim(
                key="every-size",
                statement="One latent decodes to every size with the same content",
                source="Fig. 9a",
                evidence="pictures: 4 levels, 256 to 512 px",
            ),
            PaperClaim(
                key="every-rate",
                statement="One latent decodes to every frame rate with the same content",
                source="Fig. 9b",
                evidence="clips: 1 level, 12, 24 and 48 fps",
            ),
            PaperClaim(
                key="aspect-ratio",
                statement="The noise's shape alone sets the aspect ratio",
                source="Fig. 9c; Sec. 4.3",
                evidence="pictures: 1:2 from a 16 x 32 grid",
            ),
        ),
    ),
    PaperExperiment(
        name="coarse_to_fine",
        title="Figures 5 and 10: generation level by level",
        claims=(
            PaperClaim(
                key="same-cost",
                statement="Level by level costs what all levels at once cost",
                source="Fig. 5; Sec. 3.3",
                evidence="identical, by construction",
            ),
            PaperClaim(
                key="early-preview",
                statement="The first level is a preview, early",
                source="Fig. 10; Sec. 4.4",
                evidence="pictures of 1 to 4 levels; no time given",
            ),
        ),
    ),
    PaperExperiment(
        name="adaptive_allocation",
        title="Figure 11: levels where they gain most",
        claims=(
            PaperClaim(
                key="allocation-gains",
                statement="Levels allocated by entropy beat a uniform count at equal budget",
                source="Fig. 11; Sec. 4.6",
                evidence="+0.74 dB (34.25 to 34.99) at an average of 2 of 1 to 3 levels",
            ),
        ),
    ),
    PaperExperiment(
        name="ablation_token_drop",
        title="Figure 15: dropping tokens in training",
        claims=(
            PaperClaim(
                key="dropping-orders-levels",
                statement="Dropping tail tokens makes levels coarse to fine; without it the "
                "levels divide the picture among them",
                source="Fig. 15; Sec. 7.1",
                evidence="maps of 4 levels: horizontal bands without, the whole picture with",
            ),
            PaperClaim(
                key="detail-where-complex",
                statement="Higher levels improve the complex regions most",
                source="Fig. 15b; Sec. 7.1",
                evidence="maps of residual and distortion",
            ),
        ),
    ),
    PaperExperiment(
        name="ablation_margin",
        title="Table 6: denoising, L2-margin and the deviation of levels",
        claims=(
            PaperClaim(
                key="denoising-inflates",
                statement="Denoising alone inflates the latents",
                source="Table 6; Sec. 7.2",
                evidence="deviation of level 1: 3.64 to 82.0, of level 8: 2.75 to 40.7",
            ),
            PaperClaim(
                key="l2-collapses",
                statement="Plain L2 (margin 0) collapses the high levels",
                source="Table 6; Sec. 7.2",
                evidence="deviation of level 8: 0.45; levels 5 to 8 add 0.14 dB (29.50 to 29.64)",
            ),
            PaperClaim(
                key="margin-restores",
                statement="A margin of 1 restores the high levels",
                source="Table 6; Sec. 7.2",
                evidence="deviation of level 8: 2.69; levels 5 to 8 add 3.13 dB (29.48 to 32.61)",
            ),
            PaperClaim(
                key="no-fragments",
                statement="Denoising with L2 ends the fragmentation of generated pictures",
                source="Table 6, Fig. 16",
                evidence="fragmented without either and with denoising alone, whole with both",
            ),
        ),
    ),
    PaperExperiment(
        name="train_tokenizer",
        title="Table 4: the tokenizer's stages of training",
        claims=(
            PaperClaim(
                key="decoder-restores",
                statement="Training the decoder alone at the end restores reconstruction",
                source="Table 4; Sec. 6.3",
                evidence="stated; no figure given",
            ),
        ),
    ),
    PaperExperiment(
        name="train_dit",
        title="Table 5: the generator's training and sampling",
        claims=(),
    ),
    PaperExperiment(
        name="text_to_image",
        title="Table 5: text to image",
        claims=(
            PaperClaim(
                key="captions-guide",
                statement="With cross-attention, a caption says what is generated",
                source="Fig. 8, 9, 10; Sec. 3.2, 4.1",
                evidence="pictures; no figure given",
            ),
        ),
    ),
    PaperExperiment(
        name="imagenet_system",
        title="Table 1: ImageNet at 256 px",
        claims=(
            PaperClaim(
                key="imagenet-reconstruction",
                statement="One level reconstructs on a par with vanilla latent diffusion",
                source="Table 1; Sec. 4.5",
                evidence="PSNR 26.91, SSIM 0.778, rFID 0.90 (SD-VAE: 26.04, 0.834, 0.62)",
            ),
            PaperClaim(
                key="imagenet-generation",
                statement="One level generates on a par with vanilla latent diffusion",
                source="Table 1; Sec. 4.5",
                evidence="gFID 7.68, IS 111.4; guided 2.50, 281.8 (DiT: 9.62, 121.5; 2.77, 278.2)",
            ),
        ),
    ),
    PaperExperiment(
        name="ucf101_system",
        title="Table 2: UCF101 at 256 px and 24 fps",
        claims=(
            PaperClaim(
                key="ucf101-reconstruction",
                statement="One level reconstructs clips on a par with other tokenizers",
                source="Table 2; Sec. 4.5",
                evidence="PSNR 28.55, rFVD 17.51 (OmniTokenizer: 28.95, 10.21)",
            ),
            PaperClaim(
                key="ucf101-generation",
                statement="One level generates clips on a par with other systems",
                source="Table 2; Sec. 4.5",
                evidence="gFVD 452.99, guided 86.87 (OmniTokenizer: 480.60, 88.89)",
            ),
        ),
    ),
)

#: Every claim by its key.
CLAIMS = {claim.key: claim for experiment in EXPERIMENTS for claim in experiment.claims}

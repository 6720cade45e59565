"""The protocols by name."""

from fractions import Fraction

from dcs_eval.features.i3d import I3D_SPACE
from dcs_eval.features.inception import INCEPTION_SPACE
from dcs_eval.features.squeezenet import SqueezeNetFeatures
from dcs_eval.protocols.clip_rule import ClipRule
from dcs_eval.protocols.protocol import Protocol, Task

SQUEEZENET_SPACE = SqueezeNetFeatures.name

_KODAK = ((512, 768), (768, 512))
# UCF101 comes at 25 frames per second and is reported at 24; the paper does not say how it gets
# there, nor which frames it takes. This is our rule. Its videos have 320x240 pixels.
_CLIPS = ClipRule(frames=16, fps=Fraction(24))

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="imagenet256-rfid",
            task="reconstruction",
            sizes=((256, 256),),
            resize="adm-centre-crop",
            space=INCEPTION_SPACE,
            reference="same",
            count=50_000,
            metrics=("PSNR, dB", "SSIM", "LPIPS", "rFID"),
            citation="Heusel et al. 2017; the pictures are ImageNet's validation set, cropped as "
            "by Dhariwal and Nichol 2021",
        ),
        Protocol(
            name="imagenet256-gfid",
            task="generation",
            sizes=((256, 256),),
            space=INCEPTION_SPACE,
            reference="adm-statistics",
            count=50_000,
            reference_count=10_000,
            metrics=("gFID", "sFID", "IS", "precision", "recall"),
            guided=True,
            citation="Dhariwal and Nichol 2021: VIRTUAL_imagenet256_labeled.npz",
        ),
        Protocol(
            name="ucf101-rfvd",
            task="reconstruction",
            media="clip",
            sizes=((256, 256),),
            resize="centre-square",
            space=I3D_SPACE,
            reference="same",
            count=2048,
            metrics=("PSNR, dB", "SSIM", "LPIPS", "rFVD"),
            clip=_CLIPS,
            citation="Unterthiner et al. 2018; counts of Skorokhodov et al. 2022 (StyleGAN-V)",
        ),
        Protocol(
            name="ucf101-gfvd",
            task="generation",
            media="clip",
            sizes=((256, 256),),
            resize="centre-square",
            space=I3D_SPACE,
            reference="held-out",
            count=2048,
            reference_count=2048,
            metrics=("gFVD",),
            guided=True,
            clip=_CLIPS,
            citation="Unterthiner et al. 2018; counts of Skorokhodov et al. 2022 (StyleGAN-V)",
        ),
        Protocol(
            name="squeezenet128-rfd",
            task="reconstruction",
            sizes=((128, 128),),
            space=SQUEEZENET_SPACE,
            reference="same",
            count=1000,
            metrics=("PSNR, dB", "SSIM", "LPIPS", f"Fréchet distance on {SQUEEZENET_SPACE}"),
            citation="ours, for what needs no Inception network; it is not FID",
        ),
        Protocol(
            name="squeezenet128-gfd",
            task="generation",
            sizes=((128, 128),),
            space=SQUEEZENET_SPACE,
            reference="held-out",
            count=1000,
            seeds=3,
            metrics=(f"Fréchet distance on {SQUEEZENET_SPACE}", "recognised, %"),
            guided=True,
            citation="ours, for what needs no Inception network; it is not FID",
        ),
        Protocol(
            name="kodak",
            task="reconstruction",
            sizes=_KODAK,
            reference="same",
            count=24,
            metrics=("PSNR, dB", "SSIM", "LPIPS"),
            citation="Kodak Lossless True Color Image Suite, 24 pictures at their native size",
        ),
    )
}


def protocol_names(task: Task) -> tuple[str, ...]:
    """Return the names of the protocols of a task."""
    return tuple(name for name, protocol in PROTOCOLS.items() if protocol.task == task)


def find_protocol(name: str, task: Task) -> Protocol:
    """Return a protocol by its name.

    Raises:
        ValueError: if there is none of that name for the task.
    """
    if name not in protocol_names(task):
        where = f", which is of {PROTOCOLS[name].task}" if name in PROTOCOLS else ""
        raise ValueError(
            f"The protocol of a {task} must be one of {', '.join(protocol_names(task))}, but is "
            f"{name!r}{where}. Choose one of these."
        )
    return PROTOCOLS[name]

"""Content-adaptive allocation at an average of 2 levels, 1 to 3 (Fig. 11): PSNR and time.

    python benchmarks/allocation.py --data FOLDER

FOLDER holds ``eval/kodak/*.png`` (24 pictures) and ``photos/photos-03.zip`` (every fourth is
taken). Pictures at short side 256, k = 16. Times are those of ``allocate_levels`` and of encoding
alone, which it shares with its caller.
"""

import argparse
from pathlib import Path
from statistics import fmean

from measure import seconds
from quality import short_side, validation_photos

from dcs_common import psnr
from dcs_tok import DCSTok, allocate_levels
from dcs_tok.allocation import METHODS

AVERAGE, MINIMUM, MAXIMUM = 2, 1, 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    args = parser.parse_args()
    tok = DCSTok.from_pretrained()
    sets = {
        "Kodak": [short_side(p, 256) for p in sorted((args.data / "eval/kodak").glob("*.png"))],
        "validation photos": validation_photos(args.data),
    }
    print("| pictures | allocation | dB | gain | levels, mean | s a picture | encoding, s |")
    print("|---|---|---|---|---|---|---|")
    for name, pictures in sets.items():
        encoding = fmean(seconds(lambda x=x: tok.encode(x, levels=MAXIMUM)) for x in pictures)
        uniform = fmean(psnr(tok.decode(tok.encode(x, levels=AVERAGE)), x) for x in pictures)
        label = f"{name} ({len(pictures)})"
        print(f"| {label} | uniform | {uniform:.2f} | | {AVERAGE} | | {encoding:.3f} |")
        for method in METHODS:
            decibels, means, times = [], [], []
            for x in pictures:
                maps = []
                times.append(
                    seconds(
                        lambda x=x, maps=maps, method=method: maps.append(
                            allocate_levels(x, AVERAGE, MINIMUM, MAXIMUM, method, tok)
                        )
                    )
                )
                means.append(float(maps[0].double().mean()))
                decibels.append(psnr(tok.decode(tok.encode(x, levels=maps[0])), x))
            print(
                f"| {name} | {method} | {fmean(decibels):.2f} | {fmean(decibels) - uniform:+.2f} "
                f"| {fmean(means):.3f} | {fmean(times):.3f} | |",
                flush=True,
            )


if __name__ == "__main__":
    main()

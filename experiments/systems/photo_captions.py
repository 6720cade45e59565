"""What the photos that serve as classes show, in several wordings.

A wording that training never saw says the same with the same nouns: an encoder whose weights are
drawn at random knows no synonyms.
"""

TRAINED: dict[str, tuple[str, ...]] = {
    "brick": (
        "a pavement of brick",
        "rows of grey brick with pale joints",
        "brick laid close together on the ground",
    ),
    "camera": (
        "a man with a camera on a tripod",
        "a photographer in a dark coat looks through his camera",
        "the camera and its photographer stand in a park",
    ),
    "cat": (
        "a tabby cat with green eyes",
        "close photo of a cat and its whiskers",
        "the face of a cat in warm light",
    ),
    "coins": (
        "old coins in rows",
        "ancient coins on a dark table",
        "a collection of silver coins",
    ),
    "grass": (
        "grass seen from above",
        "a lawn of short grass without colour",
        "blades of grass on the ground",
    ),
    "gravel": (
        "gravel of small grey stones",
        "the ground is covered with gravel",
        "many sharp pieces of gravel seen from above",
    ),
    "hubble_deep_field": (
        "galaxies in dark space",
        "many small galaxies seen by a telescope",
        "the night sky is full of distant galaxies",
    ),
    "immunohistochemistry": (
        "brown and blue tissue under a microscope",
        "stained tissue of the gut",
        "a thin slice of tissue with cells in rows",
    ),
    "retina": (
        "the retina of an eye",
        "a round red retina with a net of vessels",
        "photo of a retina taken by a doctor",
    ),
    "rocket": (
        "a rocket before its launch",
        "a white rocket between two towers at night",
        "lights shine below the rocket and the blue sky",
    ),
}
UNSEEN: dict[str, tuple[str, ...]] = {
    "brick": ("here we look down on brick",),
    "camera": ("in the park a camera is used by its photographer",),
    "cat": ("here we look at the whiskers of a cat",),
    "coins": ("here are silver coins on show",),
    "grass": ("we stand on grass",),
    "gravel": ("a path of gravel",),
    "hubble_deep_field": ("here are galaxies a telescope took",),
    "immunohistochemistry": ("a doctor took this tissue",),
    "retina": ("here we look into a retina",),
    "rocket": ("at night we look at the rocket",),
}
WORDINGS = {"trained": TRAINED, "unseen": UNSEEN}


def caption(wording: str, photo: str, number: int) -> str:
    """Return the caption of a photo's crop: wordings take turns."""
    captions = WORDINGS[wording][photo]
    return captions[number % len(captions)]

"""Pictures and their classes are found in folders, zips and tables, in one order."""

from pathlib import Path

import pytest

from dcs_dit.data import PictureSet, find_labelled_pictures
from dcs_dit.data.label_table import LabelTable

from .labelled_files import class_folder, error, flat_folder, save_picture, table, zip_of


def labelled(found: PictureSet) -> list[tuple[str, str | None]]:
    return [
        (
            picture.file.name,
            None if picture.label is None else found.label_names[picture.label],
        )
        for picture in found.pictures
    ]


def test_sub_folders_are_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    found = find_labelled_pictures([class_folder(tmp_path, {"owl": 1, "bee": 2})])
    assert found.label_names == ("bee", "owl")
    assert labelled(found) == [
        ("bee/bee-0.png", "bee"),
        ("bee/bee-1.png", "bee"),
        ("owl/owl-0.png", "owl"),
    ]


@pytest.mark.parametrize("prefix", ["", "all/", "data/train/"])
def test_a_zip_is_the_folder_that_it_was_made_of(tmp_path: Path, prefix: str) -> None:
    folder = class_folder(tmp_path / "folder")
    archive = zip_of(folder, tmp_path / "pictures.zip", prefix)
    in_folder, in_zip = find_labelled_pictures([folder]), find_labelled_pictures([archive])
    assert labelled(in_zip) == [(prefix + name, label) for name, label in labelled(in_folder)]
    assert (in_zip.digest == in_folder.digest) is (prefix == "")


def test_one_class_alone_is_a_class(tmp_path: Path) -> None:
    found = find_labelled_pictures([class_folder(tmp_path, {"owl": 2})])
    assert labelled(found) == [("owl/owl-0.png", "owl"), ("owl/owl-1.png", "owl")]


def test_sources_share_their_classes(tmp_path: Path) -> None:
    first = class_folder(tmp_path / "1", {"owl": 1})
    second = class_folder(tmp_path / "2", {"bee": 1, "owl": 1})
    found = find_labelled_pictures([first, second, flat_folder(tmp_path / "3", 1)])
    assert found.label_names == ("bee", "owl")
    assert [picture.label for picture in found.pictures] == [1, 0, 1, None]


def test_pictures_without_folders_have_no_label(tmp_path: Path) -> None:
    found = find_labelled_pictures([flat_folder(tmp_path, 2)])
    assert found.label_names == ()
    assert labelled(found) == [("0.png", None), ("1.png", None)]


def test_hidden_files_and_other_endings_are_no_pictures(tmp_path: Path) -> None:
    for name in ("owl/._0.png", ".cache/0.png", "owl/0.txt", "0.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    save_picture(tmp_path / "owl" / "0.png")
    (tmp_path / "owl" / "1.png").symlink_to(tmp_path / "nowhere")
    assert labelled(find_labelled_pictures([tmp_path])) == [("owl/0.png", "owl")]


def test_a_table_gives_classes_and_captions(tmp_path: Path) -> None:
    save_picture(tmp_path / "a" / "deep" / "0.png")
    flat_folder(tmp_path / "b", 2)
    path = table(
        tmp_path / "labels.csv",
        ["caption", "name", "class"],
        ["a fox at night", "1.png", "fox"],
        ["", "0.png", "bee"],
        ["", "0.png", "bee"],
        ["of another part", "2.png", "owl"],
    )
    found = find_labelled_pictures([tmp_path / "a", tmp_path / "b"], path)
    assert found.label_names == ("bee", "fox", "owl")
    assert labelled(found) == [("deep/0.png", "bee"), ("0.png", "bee"), ("1.png", "fox")]
    assert [picture.caption for picture in found.pictures] == [None, None, "a fox at night"]


def test_a_table_may_order_its_classes(tmp_path: Path) -> None:
    rows = [["0.png", "fox", 7], ["1.png", "bee", 9], ["2.png", "owl", -1]]
    path = table(tmp_path / "labels.csv", ["name", "class", "label"], *rows)
    assert LabelTable.read(path).label_names == ("owl", "fox", "bee")


def test_an_empty_class_is_no_label(tmp_path: Path) -> None:
    rows = [["0.png", "", ""], ["1.png", "bee", 0]]
    path = table(tmp_path / "labels.csv", ["name", "class", "label"], *rows)
    found = LabelTable.read(path)
    assert found.label_names == ("bee",)
    assert found.rows == {"0.png": (None, None), "1.png": (0, None)}


@pytest.mark.parametrize("change", ["label", "name", "size", "caption"])
def test_the_digest_names_the_set(tmp_path: Path, change: str) -> None:
    def digest(**changed: object) -> str:
        folder = tmp_path / "-".join(map(str, changed or ["as it was"]))
        save_picture(folder / str(changed.get("name", "0.png")), size=(12, changed.get("size", 12)))  # type: ignore[arg-type]
        columns = ["name", "class", "caption"]
        row = ["0.png", changed.get("label", "owl"), changed.get("caption", "")]
        labels = table(tmp_path / "labels.csv", columns, row, ["1.png", "bee", ""])
        return find_labelled_pictures([folder], labels).digest

    other = {"label": "bee", "name": "1.png", "size": 24, "caption": "a bee"}[change]
    assert digest() == digest()
    assert digest(**{change: other}) != digest()


def test_there_must_be_sources() -> None:
    with error("There must be a source of pictures, but there is none. Name one."):
        find_labelled_pictures([])


def test_a_source_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "nowhere"
    with error(
        f"Every source must be a folder or a zip, but is {str(path)!r}. Name existing ones."
    ):
        find_labelled_pictures([path])


def test_a_source_must_hold_pictures(tmp_path: Path) -> None:
    with error(
        "Every source must hold pictures (.bmp, .jpeg, .jpg, .png, .ppm, .tif, .tiff, .webp), but "
        f"{str(tmp_path)!r} holds none. Name others."
    ):
        find_labelled_pictures([tmp_path])


def test_a_zip_must_be_whole(tmp_path: Path) -> None:
    path = zip_of(flat_folder(tmp_path / "folder", 1), tmp_path / "cut.zip")
    path.write_bytes(path.read_bytes()[:-30])
    with error(
        f"Every zip must be whole, but {str(path)!r} is not: File is not a zip file. Copy it again."
    ):
        find_labelled_pictures([path])


@pytest.mark.parametrize(("name", "depth"), [("z.png", 0), ("owl/young/0.png", 2)])
def test_folders_must_be_classes(tmp_path: Path, name: str, depth: int) -> None:
    class_folder(tmp_path, {"bee": 1})
    save_picture(tmp_path / name)
    with error(
        "Without a table the pictures of a source must lie in one sub-folder per class, or all "
        f"without, but {tmp_path}/{name} lies {depth} folders deep and bee/bee-0.png 1. "
        "Name the folder above the classes, or give a table."
    ):
        find_labelled_pictures([tmp_path])


def test_every_picture_must_be_in_the_table(tmp_path: Path) -> None:
    folder = flat_folder(tmp_path / "folder", 6)
    path = table(tmp_path / "labels.csv", ["name", "class"], ["0.png", "owl"])
    with error(
        f"Every picture must have a row in the table, but {path} has none for {folder}/1.png, "
        f"{folder}/2.png, {folder}/3.png and 2 more. Its column `name` holds file names without "
        "folders; add them."
    ):
        find_labelled_pictures([folder], path)


def test_a_table_must_exist(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    with error(f"A table of labels must exist, but {path} does not. Check the path."):
        LabelTable.read(path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (
            b"\xff\xfe",
            "CSV in UTF-8, but {path} is not ('utf-8' codec can't decode byte 0xff in position 0: "
            "invalid start byte). Export it again.",
        ),
        (
            b'name,class\n"0.png',
            "CSV in UTF-8, but {path} is not (unexpected end of data). Export it again.",
        ),
        (
            b"",
            "the columns name and class, but {path} lacks name and class: it has none. "
            "Rename its columns.",
        ),
        (
            b"name,label\n0.png,1\n",
            "the columns name and class, but {path} lacks class: it has name, label. "
            "Rename its columns.",
        ),
    ],
)
def test_a_table_must_be_one(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    verb = "be " if "CSV" in problem else "have "
    with error(f"A table of labels must {verb}{problem.format(path=path)}"):
        LabelTable.read(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [["0.png", "owl"]],
            "Every row of a table must have 3 fields as its header has, but line 2 of {path} has "
            "not. Correct it.",
        ),
        (
            [["0.png", "owl", 1], ["1.png", "owl", 1, "more"]],
            "Every row of a table must have 3 fields as its header has, but line 3 of {path} has "
            "not. Correct it.",
        ),
        (
            [["0.png", "owl", "one"]],
            "The column `label` must hold integers, but line 2 of {path} holds 'one'. Correct it, "
            "or leave the column out.",
        ),
        (
            [["0.png", "owl", 1], ["1.png", "owl", 2]],
            "Every class of a table must have one label, but 'owl' has 1 and 2 in {path}. "
            "Correct line 3.",
        ),
        (
            [["0.png", "owl", 1], ["1.png", "bee", 1]],
            "Every class of a table must have a label of its own, but in {path} there are "
            "2 classes and 1 labels. Correct the column `label`, or leave it out.",
        ),
        (
            [["0.png", "owl", 1], ["0.png", "bee", 2]],
            "Rows of one name must agree, but those of '0.png' in {path} do not. "
            "Rename pictures, or correct line 3.",
        ),
    ],
)
def test_a_table_must_not_contradict_itself(
    tmp_path: Path, rows: list[list[object]], message: str
) -> None:
    path = table(tmp_path / "labels.csv", ["name", "class", "label"], *rows)
    with error(message.format(path=path)):
        LabelTable.read(path)

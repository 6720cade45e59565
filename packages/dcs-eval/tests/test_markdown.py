"""Tables that any name fits into."""

from dcs_eval.markdown import counted, table


def test_a_bar_in_a_name_parts_no_column() -> None:
    assert table(["model", "PSNR, dB"], [["a|b.png", "20.00"]]).splitlines() == [
        "| model | PSNR, dB |",
        "| --- | ---: |",
        "| a\\|b.png | 20.00 |",
    ]


def test_one_is_singular() -> None:
    assert [counted(1), counted(2), counted(0, "clip")] == ["1 picture", "2 pictures", "0 clips"]

"""CSV files: what divides the cells, how they are quoted, and which letters they are in."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asl_llamacpp.sources.content import read_bytes
from asl_llamacpp.sources.csv_table import decoded, likely_delimiter

ROWS = [["Name", "Price"], ["Bolt, long", "3.5"], ['a "q"', ""], ["two\nlines", "x"]]
TABLE = '| Name | Price |\n| --- | --- |\n| Bolt, long | 3.5 |\n| a "q" | |\n| two lines | x |'


def csv_bytes(delimiter: str, encoding: str = "utf-8", line_end: str = "\r\n") -> bytes:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=line_end).writerows(ROWS)
    return file.getvalue().encode(encoding)


@pytest.mark.parametrize("delimiter", ",;\t|")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_dialects(delimiter: str, encoding: str) -> None:
    source = read_bytes(csv_bytes(delimiter, encoding), "a.csv")
    assert (source.text, source.warnings) == (TABLE, ())


def test_line_ends_and_a_declared_delimiter() -> None:
    assert read_bytes(csv_bytes(";", line_end="\n"), "a.tsv").text == TABLE
    assert read_bytes(b"sep=!\r\na!b\r\n1,2,3!4\r\n", "a.csv").text == "| a | b |\n| --- | --- |\n| 1,2,3 | 4 |"
    assert (
        read_bytes(b"a;b\n1,5;2,5\n3,5;4,5\n", "a.csv").text == "| a | b |\n| --- | --- |\n| 1,5 | 2,5 |\n| 3,5 | 4,5 |"
    )
    assert read_bytes(b"one\n", "a.csv").text == "one"


CZECH = "Příliš žluťoučký kůň úpěl ďábelské ódy;1\nPříští věta je také česká a dost dlouhá;2\n"
RUSSIAN = "Съешь ещё этих мягких французских булок;1\nДа выпей же чаю, и ещё немного;2\n"  # noqa: RUF001
FRENCH = "Crème brûlée;4,5\nPâté;3\n"
JAPANESE = "名前;値段\nボルト;3\n"
GERMAN = "Löffel für Käse;3 €\nGrößere Schüsseln;4 €\n"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(CZECH, "cp1250"), (RUSSIAN, "cp1251"), (GERMAN, "cp1252"), (FRENCH, "cp1252"), (JAPANESE, "cp932")],
)
def test_other_encodings_are_told(text: str, encoding: str) -> None:
    source = read_bytes(text.encode(encoding), "a.csv")
    words = [cell.strip() for line in source.text.split("\n") for cell in line.strip("|").split("|")]
    assert text.split(";")[0] in words
    assert len(source.warnings) == 1 and "not UTF-8" in source.warnings[0]


def test_binary_files_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a\.csv is a binary file"):
        read_bytes(b"a,b\n\0\xff", "a.csv")


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=2, max_size=4), min_size=2
    ),
    st.sampled_from(",;\t|"),
)
def test_any_table_is_read_or_refused(rows: list[list[str]], delimiter: str) -> None:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows(rows)
    data = file.getvalue().encode()
    assert likely_delimiter(decoded(data, "a.csv")[0]) in ",;\t|"
    try:
        read_bytes(data, "a.csv")
    except ValueError as error:
        assert "a.csv" in str(error)

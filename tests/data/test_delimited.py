"""Csv files as people and programs write them: what is cut, decoded, kept as text, left out and refused."""

import csv
import gzip
import time

import pyarrow as pa
import pytest

from vergence.core import BadInput
from vergence.data.delimited import names_in, read_csv
from vergence.data.written import decimal_of


def read(tmp_path, text, encoding="utf-8", **options):
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_csv(path, **options)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"height, in m";"weight"\n1.5;60\n1.6;61\n', ["height, in m", "weight"]),
        ("amount, EUR;kind\n1;2\n3;4\n", ["amount, EUR", "kind"]),
        ('a,"b;c;d"\n1,2\n', ["a", "b;c;d"]),
        ("a\tb, c\n1\t2\n", ["a", "b, c"]),
        ('"a|""b"|c\n1|2\n', ['a|"b', "c"]),
        ("user, ts ,kind\nu,1,2\n", ["user", "ts", "kind"]),
        ("only\n1\n2\n", ["only"]),
    ],
)
def test_the_separator_is_told_with_quotes_respected(tmp_path, text, names):
    table, notes = read(tmp_path, text)
    assert table.column_names == names and notes == [] and table.num_rows == text.count("\n") - 1
    assert names_in(tmp_path / "t.csv") == names


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_in_unicode_is_read_without_a_note(tmp_path, encoding):
    table, notes = read(tmp_path, "größe,ort\n1,Köln\n2,Łódź\n", encoding)
    assert table.to_pydict() == {"größe": [1, 2], "ort": ["Köln", "Łódź"]} and notes == []


@pytest.mark.parametrize("text", ["größe,v\n1,2\n", "v,ort\n1,München\n"])
def test_windows_1252_is_read_and_named(tmp_path, text):
    table, notes = read(tmp_path, text, "cp1252")
    assert table.column_names == text.split("\n")[0].split(",")
    assert "Windows-1252 (latin-1)" in notes[0]
    assert str(table.to_pylist()[0][table.column_names[1]]) == text.split("\n")[1].split(",")[1]


def test_bytes_of_no_known_encoding_are_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"neither UTF-8 nor Windows-1252 \(latin-1\); save it in UTF-8"):
        read(tmp_path, b"a,b\x81\n1,2\n")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("h;w\n1,5;2\n1,75;3\n", [{"h": 1.5, "w": 2}, {"h": 1.75, "w": 3}]),
        ("h;w\n1,500;2\n1,750;3\n", [{"h": 1.5, "w": 2}, {"h": 1.75, "w": 3}]),  # with semicolons
        ('h,w\n"1,5",2\n"1,75",3\n', [{"h": 1.5, "w": 2}, {"h": 1.75, "w": 3}]),
    ],
)
def test_decimal_commas_are_numbers(tmp_path, text, rows):
    table, _ = read(tmp_path, text)
    assert table.to_pylist() == rows and decimal_of(table) == ","


def test_thousands_beside_decimal_commas_are_not_taken_for_fractions(tmp_path):
    table, _ = read(tmp_path, "v;h\n950;1,5\n1.500;2,5\n")
    assert pa.types.is_string(table["v"].type)  # 950 and 1500; written.parsed makes numbers of them


@pytest.mark.parametrize(
    "codes", [["01067", "80331"], ["18446744073709551616", "18446744073709551617"], ["007", ""]]
)
def test_codes_keep_their_zeros_and_digits(tmp_path, codes):
    table, _ = read(tmp_path, "n,zip\n" + "".join(f"{i},{code}\n" for i, code in enumerate(codes)))
    assert table["zip"].to_pylist() == [code or None for code in codes]
    assert table["n"].to_pylist() == [0, 1]


def test_comments_above_the_header_are_left_out_and_a_header_with_a_mark_is_not(tmp_path):
    table, notes = read(tmp_path, "# exported\n# by hand\na,b\n1,2\n")
    assert table.to_pydict() == {"a": [1], "b": [2]} and notes[0].startswith("2 lines of comments")
    table, notes = read(tmp_path, "#a,b\n1,2\n")
    assert table.to_pydict() == {"#a": [1], "b": [2]} and notes == []


def test_rows_and_noted_lines_are_all_lines_of_the_file(tmp_path):
    lines = [f"{i},x,{i}" if i % 10 == 3 else f"{i},x" for i in range(100)]
    table, notes = read(tmp_path, "a,b\n" + "\n".join(lines) + "\n")
    assert table.num_rows == 90
    assert notes == [
        "10 lines have more or fewer cells than the header's 2 and were left out, such as '3,x,3'"
    ]
    with pytest.raises(BadInput, match="10 lines have more or fewer cells"):
        read(tmp_path, "a,b\n" + "\n".join(lines) + "\n", limit=0.05)


@pytest.mark.parametrize("rows", ['1,"x\n2,y\n3,z\n', '1,"x\n2,"y\n3,z\n4,w\n'])
def test_a_quote_that_swallows_lines_is_refused(tmp_path, rows):
    with pytest.raises(BadInput, match="the quote in line 2 is never closed"):
        read(tmp_path, "a,b\n" + rows)


def test_columns_that_a_spreadsheet_adds_at_the_end_are_left_out(tmp_path):
    table, notes = read(tmp_path, "a,b,,\n1,2,,\n3,4,,\n")
    assert table.to_pydict() == {"a": [1, 3], "b": [2, 4]}
    assert notes == ["2 columns without name or value were left out"]


def test_codes_in_utf_16_keep_their_zeros(tmp_path):
    assert read(tmp_path, "zip\n01067\n80331\n", "utf-16")[0]["zip"].to_pylist() == ["01067", "80331"]


def test_marks_inside_of_cells_are_no_quotes(tmp_path):
    table, notes = read(tmp_path, 'a,b\n1,5" pipe\n2,"say ""x""\nthen"\n')
    assert table["b"].to_pylist() == ['5" pipe', 'say "x"\nthen'] and notes == []


def test_quoted_line_breaks_in_a_large_file_keep_every_row(tmp_path):
    with (tmp_path / "t.csv").open("w") as file:
        file.write("note,v\n")
        file.writelines(f'"first of {i % 50}\nsecond, and more words to fill",{i}\n' for i in range(400_000))
    table, _ = read_csv(tmp_path / "t.csv")  # 20 MB, more than one block
    assert table.num_rows == 400_000 and table["v"][-1].as_py() == 399_999


def test_a_word_below_decimals_in_a_wide_file_is_read(tmp_path):
    n = 2000
    lines = [",".join(f"{i % 7}.{j}" if i % 2 else str(j) for i in range(n)) for j in range(1, 9)]
    lines[6] = "soon" + lines[6][1:].replace(",1.7", ",late", 1)
    table, notes = read(tmp_path, "\n".join([",".join(f"c{i}" for i in range(n)), *lines]))
    kinds = table.schema.types
    assert kinds[2:5] == [pa.int64(), pa.float64(), pa.int64()] and kinds[:2] == [pa.string()] * 2
    assert table["c1"].to_pylist()[5:8] == ["1.6", "late", "1.8"] and table["c3"][6].as_py() == 3.7
    assert (table.num_columns, notes) == (n, [])


def test_many_columns_take_seconds(tmp_path):
    n = 50_000
    with (tmp_path / "t.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(f"c{i}" for i in range(n))
        rows.writerows([j, j / 2 + 0.25] * (n // 2) for j in range(3))
    began = time.process_time()
    table, _ = read_csv(tmp_path / "t.csv")
    assert table.num_columns == n and time.process_time() - began < 10


def test_compressed_files_are_read_alike(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a;b\n1,5;02\n"))
    assert read_csv(tmp_path / "t.csv.gz")[0].to_pydict() == {"a": [1.5], "b": ["02"]}


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "no lines"),
        (b"# only\n", "no lines"),
        (b"a,b,a\n1,2,3\n", "The first line of .* two columns called 'a'"),
        (b"1,1,05\n2,2,06\n", "The first line of .* two columns called '1'"),
        (b"a,b, a\n01,2,03\n", "The first line of .* two columns called 'a'"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path, raw, said):
    with pytest.raises(BadInput, match=said) as error:
        read(tmp_path, raw)
    assert "\n" not in str(error.value)

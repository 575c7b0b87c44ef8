"""Tables come in as they are, and what is wrong with one is said by name."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchmill.errors import InvalidTable
from batchmill.rows import csvs, read
from batchmill.rows.chunk import LinesChunk
from batchmill.rows.frames import spool_frame
from batchmill.rows.read import describe, glimpse, spool


def columns_of(source, blobs) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for chunk in read.Reading(source, blobs):
        for name in chunk.names():
            found.setdefault(name, []).extend(chunk.values(name))
    return found


def read_csv(world, content, name="t.csv", **how) -> dict[str, list[object]]:
    return columns_of(describe(world.table(name, content), **how), world.blobs)


# ---------------------------------------------------------------------------------------- values


def test_csv_cells_are_text_exactly_as_written(world):
    content = 'id,v\n007,NA\n"1,000"," x "\n,""\n1e5,null\n+5,"a ""b"""\n\t,"two\nlines"\n'
    assert read_csv(world, content) == {
        "id": ["007", "1,000", "", "1e5", "+5", "\t"],
        "v": ["NA", " x ", "", "null", 'a "b"', "two\nlines"],
    }


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_may_end_as_on_any_system(world, end):
    assert read_csv(world, end.join(["a,b", "1,2", "", "3,4"])) == {
        "a": ["1", "3"],
        "b": ["2", "4"],
    }


def test_a_byte_order_mark_is_no_part_of_the_first_column(world):
    assert list(read_csv(world, "\ufeffname,b\n1,2\n")) == ["name", "b"]


def test_other_encodings_are_read_when_said(world):
    content = "name,b\ncafé,2\n"
    for encoding in ("latin-1", "utf-16", "cp1252"):
        assert read_csv(world, content.encode(encoding), encoding=encoding)["name"] == ["café"]


def test_tsv_is_cut_at_tabs(world):
    assert read_csv(world, "a\tb\n1,5\t2\n", name="t.tsv") == {"a": ["1,5"], "b": ["2"]}


def test_a_cell_larger_than_any_block_is_read(world, monkeypatch):
    monkeypatch.setattr(csvs, "BLOCKS", (1000, 20_000))
    small = "".join(f"{n},x\n" for n in range(900))
    found = read_csv(world, f"a,b\n{small}big,{'y' * 9000}\n{small}")
    assert len(found["a"]) == 1801
    assert found["b"][900] == "y" * 9000
    with pytest.raises(InvalidTable, match="row after row 900 is larger"):
        read_csv(world, f"a,b\n{small}big,{'y' * 50_000}\n")


def test_parquet_keeps_its_types(world):
    table = pa.table(
        {"n": pa.array([1, None], pa.int16()), "when": pa.array([0, 1], pa.timestamp("ns", "UTC"))}
    )
    path = str(world.folder / "t.parquet")
    pq.write_table(table, path)
    schema = read.schema_of(describe(path), world.blobs)
    assert schema is not None
    assert schema.field("n").type == pa.int16()
    assert columns_of(describe(path), world.blobs)["n"] == [1, None]


def test_json_lines_may_each_have_other_keys(world):
    content = '{"a":1}\n\n{"b":[true]}\n'
    source = describe(world.table("t.jsonl", content))
    [chunk] = read.Reading(source, world.blobs)
    assert isinstance(chunk, LinesChunk)
    assert chunk.objects == [{"a": 1}, {"b": [True]}]
    assert chunk.lines == [b'{"a":1}', b'{"b":[true]}']
    assert chunk.names() == ["a", "b"]


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1))
def test_whatever_the_csv_module_writes_is_read_verbatim(worlds, pairs):
    import csv

    # A lone carriage return would end the line: the csv module does not quote for it alone.
    pairs = [tuple(t.replace("\r", "").replace("\0", "") for t in pair) for pair in pairs]
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_MINIMAL, lineterminator="\n")
    writer.writerow(["a", "b"])
    writer.writerows(pairs)
    try:
        content = text.getvalue().encode()
    except UnicodeEncodeError:
        return
    found = read_csv(worlds(), content)
    assert list(zip(found.get("a", []), found.get("b", []), strict=True)) == pairs


# ---------------------------------------------------------------------------------------- places


def test_a_directory_is_its_files_in_order(world):
    world.table("in/b.csv", "a\n2\n")
    world.table("in/a.csv", "a\n1\n")
    world.table("in/deep/c.csv", "a\n3\n")
    world.table("in/_SUCCESS", "")
    world.table("in/.hidden.csv", "a\nno\n")
    source = describe(str(world.folder / "in"))
    assert columns_of(source, world.blobs) == {"a": ["1", "2", "3"]}


def test_a_glob_is_what_it_matches(world):
    for name in ("x1.csv", "x2.csv", "y.csv"):
        world.table(name, f"a\n{name}\n")
    source = describe(str(world.folder / "x*.csv"))
    assert columns_of(source, world.blobs) == {"a": ["x1.csv", "x2.csv"]}


def test_only_the_first_rows_are_read_with_a_limit(world):
    world.table("in/a.csv", "a\n1\n2\n")
    world.table("in/b.csv", "a\n3\n4\n")
    for limit in range(6):
        source = describe(str(world.folder / "in"), limit=limit)
        assert columns_of(source, world.blobs).get("a", []) == ["1", "2", "3", "4"][:limit]


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (b"a,b\n1,2\n", "csv"),
        (b"a\tb\n1\t2\n", "tsv"),
        (b'\n{"a": 1}\n', "jsonl"),
        (b'{"custom_id":"x","method":"POST","url":"/v1/embeddings","body":{}}', "requests"),
    ],
)
def test_standard_input_is_kept_and_its_format_found(world, content, format):
    source = spool(io.BytesIO(content), world.blobs, "spool/t/stdin")
    assert source.format == format
    assert source.url == "spool:spool/t/stdin"
    assert sum(len(c) for c in read.Reading(source, world.blobs)) == 1


def test_a_pipe_may_give_a_byte_at_a_time(world):
    class Slow(io.RawIOBase):
        data = b'{"custom_id":"x","method":"POST","url":"/v1/embeddings","body":{}}\n'

        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:1], self.data = self.data[:1], self.data[1:]
            return len(buffer[:1]) if self.data else 0

    assert spool(Slow(), world.blobs, "spool/t/stdin").format == "requests"


def test_parquet_comes_through_a_pipe_too(world):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), sink)
    source = spool(io.BytesIO(sink.getvalue().to_pybytes()), world.blobs, "spool/t/stdin")
    assert columns_of(source, world.blobs) == {"a": [1, 2]}


def test_a_table_of_any_library_is_kept_with_its_types(world):
    import duckdb
    import pandas as pd
    import polars as pl

    table = pa.table({"a": [1, 2], "b": ["x", None], "c": pa.array(["u", "u"]).dictionary_encode()})
    frames = [
        table,
        pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", "u"])}),
        pl.DataFrame(
            {"a": [1, 2], "b": ["x", None], "c": pl.Series(["u", "u"], dtype=pl.Categorical)}
        ),
        duckdb.connect().sql("select * from (values (1,'x','u'), (2,null,'u')) t(a,b,c)"),
    ]
    for number, frame in enumerate(frames):
        source = spool_frame(frame, world.blobs, f"spool/{number}/frame")
        assert columns_of(source, world.blobs) == {"a": [1, 2], "b": ["x", None], "c": ["u", "u"]}


def test_what_is_no_table_is_refused_by_its_type(world):
    with pytest.raises(InvalidTable, match="dict is no table"):
        spool_frame({"a": [1]}, world.blobs, "spool/1/frame")


def test_a_glimpse_shows_columns_and_first_rows(world):
    path = world.table("t.csv", "a,b\n1,2\n3,4\n5,6\n")
    seen = glimpse(describe(path), world.blobs, rows=2)
    assert seen.columns == ("a", "b")
    assert list(seen.rows) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    header_only = glimpse(describe(world.table("h.csv", "a,b\n")), world.blobs)
    assert header_only.columns == ("a", "b")


def test_a_glimpse_of_requests_shows_where_they_want_to_go(world):
    line = {
        "custom_id": "x",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"model": "g"},
    }
    seen = glimpse(describe(world.table("t.jsonl", json.dumps(line))), world.blobs)
    assert (seen.url, seen.model, seen.columns) == ("/v1/chat/completions", "g", ("custom_id",))


# ---------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"", r"t\.csv: is empty"),
        ("t.csv", b"\n\n", r"t\.csv: is empty. Expected a line with the names"),
        ("t.csv", b"a,b\n1,2\n3\n", r"t\.csv, line 3: 1 value, but the first line names 2"),
        ("t.csv", b'a,b\n"x\n\ny",2\n1,2,3\n', r"t\.csv, line 5: 3 values"),
        (
            "t.csv",
            b"a,b\n1,2\n3,\xff\n",
            r"t\.csv, line 3: byte 0xff is not valid UTF-8.*--encoding",
        ),
        ("t.csv", b"a,b,a\n1,2,3\n", r"line 1: columns 1 and 3 are both called 'a'"),
        ("t.csv", b'a,b\n1,"x\n2,y\n', r"t\.csv, line 2: the quote that begins .* never closed"),
        ("t.txt", b"a\n", r"t\.txt: unknown format.*\.csv, \.tsv, \.parquet or \.jsonl"),
        ("t.parquet", b"no parquet", r"t\.parquet: is no readable Parquet file"),
        ("t.jsonl", b'{"a":1}\n[2]\n', r"t\.jsonl, line 2: not a JSON object"),
        ("t.jsonl", b'{"a":1}\n{"a":\n', r"t\.jsonl, line 2: not a JSON object"),
        ("t.jsonl", b'{"a":"\xff"}\n', r"t\.jsonl, line 1: byte 0xff is not valid UTF-8"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(world, name, content, words):
    with pytest.raises(InvalidTable, match=words) as caught:
        list(read.Reading(describe(world.table(name, content)), world.blobs))
    assert "\n" not in str(caught.value)


def test_a_stray_quote_inside_a_cell_is_no_open_quote(world):
    assert read_csv(world, 'a,b\n12" pan,"x\ny"\n')["a"] == ['12" pan']


def test_a_missing_file_is_named(world):
    with pytest.raises(InvalidTable, match=r"gone\.csv: no such file"):
        describe(str(world.folder / "gone.csv"))
    with pytest.raises(InvalidTable, match="no file matches"):
        describe(str(world.folder / "gone*.csv"))
    (world.folder / "empty").mkdir()
    with pytest.raises(InvalidTable, match="the directory holds no table"):
        describe(str(world.folder / "empty"))


def test_an_unknown_encoding_is_refused(world):
    with pytest.raises(InvalidTable, match="no encoding 'klingon'"):
        describe(world.table("t.csv", "a\n1\n"), encoding="klingon")


def test_files_of_one_table_have_one_format_and_the_same_columns(world):
    world.table("in/a.csv", "a,b\n1,2\n")
    world.table("in/b.jsonl", "{}\n")
    with pytest.raises(InvalidTable, match=r"b\.jsonl: is jsonl, but .*a\.csv is csv"):
        describe(str(world.folder / "in"))
    (world.folder / "in/b.jsonl").unlink()
    world.table("in/b.csv", "a,c\n1,2\n")
    with pytest.raises(InvalidTable, match=r"b\.csv: its columns are not those of .*a\.csv"):
        columns_of(describe(str(world.folder / "in")), world.blobs)


def request_line(custom_id="x", **changes) -> str:
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": {}}
    return json.dumps({k: v for k, v in (line | changes).items() if v is not None}) + "\n"


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (request_line("y", method="GET"), "line 2: method is 'GET'. Expected 'POST'"),
        (request_line("y", url="/v1/embeddings"), "line 2: url is '/v1/embeddings', but .* line 1"),
        (request_line("y", body=None), "line 2: is no request line.*body"),
        (request_line("y", body=[1]), "line 2: is no request line"),
        (
            request_line("y") + "\n" + request_line("x"),
            "line 4: custom_id 'x' is already that of .* line 1",
        ),
    ],
)
def test_request_lines_that_cannot_be_sent_together_are_named(world, second, words):
    source = describe(world.table("t.jsonl", request_line("x") + second))
    with pytest.raises(InvalidTable, match=words):
        list(read.Reading(source, world.blobs, unique=True))


# ------------------------------------------------------------------------------------ fingerprints


@pytest.mark.parametrize("limit", [None, 2])
@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.jsonl"])
def test_a_source_that_has_changed_is_refused_by_name(world, name, limit):
    def write(value):
        if name.endswith("parquet"):
            table = pa.table({"a": ["1", value]})
            pq.write_table(table, world.folder / name, compression=None)
        elif name.endswith("csv"):
            world.table(name, f"a\n1\n{value}\n")
        else:
            world.table(name, f'{{"a":"1"}}\n{{"a":"{value}"}}\n')

    write("2")
    reading = read.Reading(describe(str(world.folder / name), limit=limit), world.blobs)
    list(reading)
    known = reading.source()
    list(read.Reading(known, world.blobs))  # unchanged: read once more without a word
    write("3")
    with pytest.raises(InvalidTable, match=f"{name}: has changed since the batch was made"):
        list(read.Reading(known, world.blobs))
    write("longer than it was")
    with pytest.raises(InvalidTable, match=f"{name}: has changed since the batch was made"):
        list(read.Reading(known, world.blobs))
    (world.folder / name).unlink()
    with pytest.raises(InvalidTable, match=f"{name}: is no longer there"):
        list(read.Reading(known, world.blobs))


def test_a_touched_file_is_still_the_same(world):
    import os

    path = world.table("t.csv", "a\n1\n")
    reading = read.Reading(describe(path), world.blobs)
    list(reading)
    os.utime(path, (1, 1))
    list(read.Reading(reading.source(), world.blobs))

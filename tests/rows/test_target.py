"""OUT is whole or not there, replaces only what may be replaced, and keeps the table's parts."""

import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from batchmill.errors import InvalidTable, InvalidTarget, StorageTrouble
from batchmill.rows import target
from batchmill.rows.read import describe, spool
from batchmill.rows.target import check_target, default_target


@pytest.fixture
def done(world):
    world.cut(world.table("t.csv", "a\n1\n2\n"), prompt="{{ a }}")
    world.answer_all()
    return world


def leftovers(folder: Path) -> list[str]:
    return [p.name for p in folder.rglob("*") if p.name.endswith(".tmp")]


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize(
    ("table", "out"),
    [
        ("t.csv", "t.answers.csv"),
        ("my.data.tsv", "my.data.answers.tsv"),
        ("t.ndjson", "t.answers.ndjson"),
        ("in", "in.answers/"),
        ("in/*.csv", "in.answers/"),
    ],
)
def test_out_is_named_after_the_table(world, table, out):
    for name in ("t.csv", "my.data.tsv", "t.ndjson", "in/x.csv"):
        world.table(name, '{"a":1}\n')
    source = describe(str(world.folder / table))
    assert default_target(source) == str(world.folder) + "/" + out


def test_answers_of_standard_input_go_to_standard_output(world):
    import io

    source = spool(io.BytesIO(b"a\n1\n"), world.blobs, "spool/1/stdin")
    assert default_target(source) == "-"


# ------------------------------------------------------------------------------------- replacing


def test_what_is_there_already_is_replaced_only_with_force(done):
    done.table("o.csv", "mine")
    with pytest.raises(InvalidTarget, match=r"o\.csv: is there already.*--force"):
        done.join("o.csv")
    assert (done.folder / "o.csv").read_text() == "mine"
    done.join("o.csv", force=True)
    assert (done.folder / "o.csv").read_text().startswith("a,answer")


def test_what_the_same_batch_wrote_is_replaced_unless_somebody_has_changed_it(done):
    path = done.join("o.csv")
    done.join("o.csv")
    Path(path).write_text(Path(path).read_text() + "a note of mine\n")
    with pytest.raises(InvalidTarget, match="is there already, and not from this batch as it is"):
        done.join("o.csv")


def test_a_crash_before_out_is_in_its_place_does_not_make_it_a_strangers(done, monkeypatch):
    path = done.join("o.csv")
    publish = target.Staged.publish

    def crash_after(staged):
        publish(staged)
        raise KeyboardInterrupt

    monkeypatch.setattr(target.Staged, "publish", crash_after)
    with pytest.raises(KeyboardInterrupt):
        done.join("o.csv")
    monkeypatch.undo()
    assert done.join("o.csv") == path


def test_the_table_itself_is_never_overwritten(done):
    for name in ("t.csv", "./t.csv", "in/../t.csv"):
        with pytest.raises(InvalidTarget, match=r"t\.csv: is the table itself"):
            done.join(name, force=True)
    os.link(done.folder / "t.csv", done.folder / "same.csv")
    with pytest.raises(InvalidTarget, match="is the table itself"):
        done.join("same.csv", force=True)


def test_all_that_can_be_refused_is_refused_before_anything_is_spent(world):
    source = describe(world.table("t.csv", "a\n1\n"))
    world.table("there.csv", "x")
    for out, words in (
        ("there.csv", "is there already"),
        ("t.csv", "is the table itself"),
        ("o.xlsx", "unknown format"),
        ("o", "unknown format"),
    ):
        with pytest.raises(InvalidTarget, match=words):
            check_target(str(world.folder / out), source, world.blobs)
    check_target(str(world.folder / "o.csv"), source, world.blobs)
    check_target("-", source, world.blobs)
    check_target(str(world.folder / "there.csv"), source, world.blobs, force=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_one_may_not_write_is_named(world):
    source = describe(world.table("t.csv", "a\n1\n"))
    (world.folder / "locked").mkdir(mode=0o500)
    with pytest.raises(InvalidTarget, match="not writable"):
        check_target(str(world.folder / "locked/o.csv"), source, world.blobs)


# ----------------------------------------------------------------------------------- never a half


def test_a_full_disk_is_one_line_and_leaves_the_old_out(done):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path = Path(done.join("o.csv"))
    before = path.read_bytes()

    class Full(target.Staged):
        def __init__(self, url):
            super().__init__(url)
            self.file.close()
            self.file = open("/dev/full", "wb")  # noqa: SIM115

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "Staged", Full)
        with pytest.raises(
            StorageTrouble, match=r"o\.csv: cannot be written \(No space left"
        ) as caught:
            done.join("o.csv")
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert leftovers(done.folder) == []


def test_an_error_half_way_leaves_nothing(done):
    done.table("t.csv", "a\n1\n3\n")
    with pytest.raises(InvalidTable):
        done.join("o.csv")
    assert not (done.folder / "o.csv").exists()
    assert leftovers(done.folder) == []


def test_standard_output_gets_the_tables_own_format(done, capfdbinary):
    done.join("-")
    out, _ = capfdbinary.readouterr()
    assert out.startswith(b"a,answer,outcome")
    assert out.count(b"\n") == 3


# ------------------------------------------------------------------------------------------ parts


def test_a_directory_keeps_its_parts(world, csv_rows):
    world.table("in/b.csv", "a\n3\n")
    world.table("in/a.csv", "a\n1\n2\n")
    world.table("in/day=1/c.csv", "a\n4\n")
    world.table("in/e.csv", "a\n")
    world.cut(str(world.folder / "in"), prompt="{{ a }}")
    world.answer_all()
    world.join("out/")
    found = {
        str(p.relative_to(world.folder / "out")): [r["a"] for r in csv_rows(p)]
        for p in sorted((world.folder / "out").rglob("*.csv"))
    }
    assert found == {"a.csv": ["1", "2"], "b.csv": ["3"], "day=1/c.csv": ["4"], "e.csv": []}
    world.join("out/")
    one = csv_rows(world.join("one.csv"))
    assert [(r["a"], r["answer"]) for r in one] == [
        (str(n + 1), f"answer to {n}") for n in range(4)
    ]


def test_parts_may_leave_as_one_table_of_another_format(world):
    world.table("in/a.csv", "a\n1\n")
    world.table("in/b.csv", "a\n2\n")
    world.cut(str(world.folder / "in/*.csv"), prompt="{{ a }}")
    world.answer_all()
    assert pq.read_table(world.join("o.parquet"))["a"].to_pylist() == ["1", "2"]


def test_a_file_may_be_written_into_a_directory_under_its_own_name(done):
    (done.folder / "out").mkdir()
    done.join("out")
    assert (done.folder / "out/t.csv").exists()


def test_parts_cannot_be_written_over_themselves(world):
    world.table("in/a.csv", "a\n1\n")
    world.cut(str(world.folder / "in"), prompt="{{ a }}")
    world.answer_all()
    with pytest.raises(InvalidTarget, match="is the table itself"):
        world.join("in/", force=True)

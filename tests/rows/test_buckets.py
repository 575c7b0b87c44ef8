"""Tables and answers in a bucket: the same as on this machine."""

import pytest

from batchmill.core.limits import Limits
from batchmill.errors import InvalidTable, InvalidTarget
from batchmill.rows.blobs import open_blobs
from batchmill.rows.read import describe, glimpse
from batchmill.rows.target import default_target


def put(bucket, key, content):
    blobs = open_blobs(bucket)
    with blobs.create(key) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def get(bucket, key) -> bytes:
    with open_blobs(bucket).open(key) as file:
        return file.read()


SMALL = Limits(requests_max=2, bytes_max=10**6, request_bytes_max=10**5)


@pytest.fixture
def far(world, bucket):
    """A world that keeps its segments in a bucket."""
    return type(world)(world.folder, open_blobs(f"{bucket}/home"))


@pytest.mark.parametrize("out", ["o.csv", "o.parquet", "o.jsonl"])
def test_a_table_in_a_bucket_comes_back_beside_it(far, bucket, out):
    put(bucket, f"{out}/t.csv", "a\n1\n2\n3\n")
    far.cut(f"{bucket}/{out}/t.csv", prompt="{{ a }}", limits=SMALL)
    far.answer_all()
    path = far.join(f"{bucket}/{out}/{out}")
    source = describe(path)
    seen = glimpse(source, far.blobs)
    assert [(str(r["a"]), r["answer"]) for r in seen.rows] == [
        (str(n + 1), f"answer to {n}") for n in range(3)
    ]
    far.join(path)
    put(bucket, f"{out}/{out}", "somebody else's")
    with pytest.raises(InvalidTarget, match="is there already"):
        far.join(path)


def test_a_parquet_table_is_read_from_a_bucket(far, bucket):
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": range(5)}), sink)
    put(bucket, "p/t.parquet", sink.getvalue().to_pybytes())
    far.cut(f"{bucket}/p/t.parquet", prompt="{{ a }}", limits=SMALL)
    assert far.prompts() == ["0", "1", "2", "3", "4"]


def test_a_prefix_and_a_glob_keep_their_parts(far, bucket):
    put(bucket, "in/b.csv", "a\n2\n")
    put(bucket, "in/a.csv", "a\n1\n")
    put(bucket, "in/day=1/c.csv", "a\n3\n")
    for table in ("in/", "in", "in/*.csv"):
        far.cut(f"{bucket}/{table}", prompt="{{ a }}")
        assert far.prompts() == ["1", "2", "3"]
    assert default_target(describe(f"{bucket}/in/")) == f"{bucket}/in.answers/"
    far.answer_all()
    far.join(f"{bucket}/out/")
    assert open_blobs(bucket).list("out/") == ["out/a.csv", "out/b.csv", "out/day=1/c.csv"]
    assert get(bucket, "out/day=1/c.csv").splitlines()[1].startswith(b"3,answer to 2,succeeded")


def test_an_object_that_has_changed_is_refused_by_name(far, bucket):
    put(bucket, "c/t.csv", "a\n1\n")
    far.cut(f"{bucket}/c/t.csv", prompt="{{ a }}")
    far.answer_all()
    put(bucket, "c/t.csv", "a\n1\n")  # written again, but the same
    far.joined()
    put(bucket, "c/t.csv", "a\n2\n")
    with pytest.raises(InvalidTable, match=r"c/t\.csv: has changed since the batch was made"):
        far.joined()


def test_an_object_that_is_not_there_is_named(bucket):
    with pytest.raises(InvalidTable, match=r"gone/t\.csv: no such file"):
        describe(f"{bucket}/gone/t.csv")


def test_out_in_a_bucket_never_replaces_the_table(far, bucket):
    put(bucket, "s/t.csv", "a\n1\n")
    far.cut(f"{bucket}/s/t.csv", prompt="{{ a }}")
    far.answer_all()
    with pytest.raises(InvalidTarget, match="is the table itself"):
        far.join(f"{bucket}/s/t.csv", force=True)

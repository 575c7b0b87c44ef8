"""Table -> request segments: how many rows a second, and in how much memory."""

import tempfile

from _measure import Spent, Watch, arguments, header, in_child, line, median
from _tables import make_tables

PLAIN = "Classify this product.\nTitle: {{ title }}\nText: {{ text }}"
LOGIC = (
    "Classify this product.\nTitle: {{ title|upper }}\n{% if price > 50 %}Premium. {% else %}"
    "Basic. {% endif %}Text: {{ text }}"
)
CASES = (
    ("parquet, plain columns", "table.parquet", PLAIN),
    ("csv, plain columns", "table.csv", PLAIN),
    ("parquet, with logic", "table.parquet", LOGIC),
    ("csv, with logic", "table.csv", LOGIC.replace("price > 50", "price|float > 50")),
)


def encode(folder: str, table: str, prompt: str) -> tuple[int, int, Spent]:
    import pyarrow as pa

    from batchmill.core.batch import Recipe
    from batchmill.core.limits import Limits
    from batchmill.rows.blobs import open_blobs
    from batchmill.rows.read import describe
    from batchmill.rows.segments import Segments

    limits = Limits(requests_max=50_000, bytes_max=200 << 20, request_bytes_max=32 << 20)
    recipe = Recipe(model="gpt-4o-mini", prompt=prompt, max_tokens=100)
    rows = Segments(open_blobs(f"{folder}/blobs"))
    pa.array([""], pa.string())  # pyarrow looks for pandas at the first one; not our subject
    with Watch() as watch:
        cutting = rows.cut("batch_bench", recipe, describe(f"{folder}/{table}"), limits)
    rows.drop("batch_bench")
    return cutting.rows, cutting.size_bytes, watch.spent


def main() -> None:
    wanted = arguments(__doc__ or "")
    with tempfile.TemporaryDirectory() as folder:
        in_child(make_tables, folder, wanted.rows, wanted.chars)
        header()
        for name, table, prompt in CASES:
            if wanted.only not in name:
                continue
            runs = [in_child(encode, folder, table, prompt) for _ in range(wanted.repeats)]
            rows, size, _ = runs[0]
            line(f"{name} ({size // rows} B)", rows, median([spent for _, _, spent in runs]))


if __name__ == "__main__":
    main()

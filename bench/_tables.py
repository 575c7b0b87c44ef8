"""The table the benchmarks work on: product listings made of a seed, the same on every machine."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

_WORDS = [
    "stainless",
    "steel",
    "bottle",
    "750",
    "ml",
    "matte",
    "black",
    "großer",
    "Deckel",
    "dishwasher",
    "safe",
    '12"',
    "pan",
    "non-stick",
    "cast",
    "iron",
    "wooden",
    "handle",
    "set",
    "of",
    "4",
    "linen",
    "cushion",
    "cover",
    "45x45",
    "cm",
    "café",
    "crème",
    "waterproof",
    "jacket",
    "size",
    "M",
    "3-pack",
    "AA",
    "rechargeable",
    "lamp",
    "USB-C",
    "2m",
    "cable",
    "with",
    "quality",
    "for",
    "kitchen",
    "and",
    "garden",
]
_BATCH = 20_000

SCHEMA = pa.schema(
    [("id", pa.int64()), ("title", pa.string()), ("text", pa.string()), ("price", pa.float64())]
)


def make_tables(folder: str, rows: int, chars: int) -> None:
    """Write `table.csv` and `table.parquet` with *rows* rows of about *chars* characters."""
    dice = random.Random(7)
    words = max(4, chars // 7)
    with (
        pq.ParquetWriter(Path(folder) / "table.parquet", SCHEMA) as parquet,
        pa_csv.CSVWriter(Path(folder) / "table.csv", SCHEMA) as csv,
    ):
        for start in range(0, rows, _BATCH):
            count = min(_BATCH, rows - start)
            columns = [
                list(range(start, start + count)),
                [" ".join(dice.choices(_WORDS, k=5)) for _ in range(count)],
                [_text(dice, words) for _ in range(count)],
                [round(dice.random() * 100, 2) for _ in range(count)],
            ]
            table = pa.table(
                [pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], SCHEMA
            )
            parquet.write_table(table)
            csv.write_table(table)


def _text(dice: random.Random, words: int) -> str:
    half = dice.randrange(words // 3, words)
    first = " ".join(dice.choices(_WORDS, k=half))
    return first + "\n" + " ".join(dice.choices(_WORDS, k=words - half)) + '\nsaid "good"'

#!/bin/sh
# The main job, start to end, on the built-in model: a table of prompts in, the same table with answers out.
# Run it as `./dev demo`; it needs no key, no GPU and no account.
set -eu
cd -- "$(dirname -- "$0")/.."
table=examples/products.csv
answers=examples/products.answers.csv
structured=examples/products.structured.answers.csv

# A row that does not succeed is no accident of the demo: exit status 3, and the table says why.
mill() { batchmill "$@" || [ $? -eq 3 ]; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }

say "1. $table: $(python -c 'import csv,sys; print(sum(1 for _ in csv.reader(open(sys.argv[1]))) - 1)' "$table") messy product listings, one question for each"
mill run "$table" \
    --model local/smollm2-135m \
    --prompt 'What is "{{ title }}"? Explain it to a shopper in one short sentence.' \
    --max-tokens 200 -o "$answers" --force

say "2. A few answers ($answers has all of them, beside every column that was there)"
python - "$answers" <<'PYTHON'
import csv, sys
with open(sys.argv[1], newline="") as file:
    for row in list(csv.DictReader(file))[:6]:
        answer = " ".join(row["answer"].split())
        print(f"  {row['sku']}  {row['title'][:32]:32}  {answer[:76]}")
PYTHON

say "3. The same with a JSON Schema: each of its properties becomes a column"
mill run "$table" \
    --model local/smollm2-135m --limit 8 \
    --prompt "Classify this product listing: {{ title }}, {{ size }}." \
    --schema examples/listing.schema.json --max-tokens 48 -o "$structured" --force
python - "$structured" <<'PYTHON'
import csv, sys
with open(sys.argv[1], newline="") as file:
    for row in csv.DictReader(file):
        print(f"  {row['sku']}  {row['title'][:40]:40}  {row['category']:22} {row['pieces']}")
PYTHON

say "Done. A 135M model on a CPU is fast, not wise; any other model is one changed --model."
echo "Try your own: .venv/bin/batchmill run YOUR.csv --model local/smollm2-135m --prompt \"… {{ some_column }} …\""

"""Fail unless every value of a comparison was reproduced."""

import csv
import sys
from pathlib import Path

with Path(sys.argv[1]).open(encoding="utf-8") as file:
    rows = list(csv.DictReader(file))
missed = [row["quantity"] for row in rows if row["verdict"] != "reproduced"]
print(f"{len(rows) - len(missed)} of {len(rows)} values of {sys.argv[1]} reproduced {missed or ''}")
sys.exit(bool(missed) or not rows)

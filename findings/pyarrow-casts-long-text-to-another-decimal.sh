#!/usr/bin/env bash
# pyarrow 26.0.1, Python 3.11.
#
# Behaviour: some texts with more digits than a decimal128 holds, cast to decimal128(38, 0) or (38, 1), become another
# number without an error, even a negative one: what is left of their digits in 128 bits, if that has no more than 38
# digits. Neighbours with a digit more or less are refused, as they should be, and so are all of them as
# `decimal.Decimal`. decimal256, which has room for them, takes them as they are.
#
# Expected: "does not fit", as for the neighbours.
# Fails if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip --quiet --disable-pip-version-check install pyarrow==26.0.1
cat >see.py <<'PY'
from collections.abc import Callable
from decimal import Decimal

import pyarrow as pa


def see(make: Callable[[], pa.Array]) -> object:
    try:
        return make()[0]
    except pa.ArrowInvalid:
        return "refused"


for said, text, scale in (
    ("1, 38 zeros", "1" + "0" * 38, 0),
    ("39 nines", "9" * 39, 0),
    ("1, 38 zeros, .5", "1" + "0" * 38 + ".5", 1),
    ("1, 39 zeros, .5", "1" + "0" * 39 + ".5", 1),
    ("1, 40 zeros, .5", "1" + "0" * 40 + ".5", 1),
):
    kind = pa.decimal128(38, scale)
    print(f"{said}: {see(lambda: pa.array([text]).cast(kind))}, as a Decimal {see(lambda: pa.array([Decimal(text)], kind))}")
    assert str(pa.array([text]).cast(pa.decimal256(76, scale))[0]) == text
PY
seen=$(venv/bin/python see.py)
echo "$seen"
wanted='1, 38 zeros: refused, as a Decimal refused
39 nines: -20847100762815390390123822295304634369, as a Decimal refused
1, 38 zeros, .5: -2084710076281539039012382229530463436.3, as a Decimal refused
1, 39 zeros, .5: refused, as a Decimal refused
1, 40 zeros, .5: -4301587475590825823213458493985416805.9, as a Decimal refused'
[ "$seen" = "$wanted" ] || { echo "CHANGED: this was seen on 2026-11-30:" && echo "$wanted" && exit 1; }

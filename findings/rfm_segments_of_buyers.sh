#!/bin/sh
# pymc-marketing 0.19.2 (Python, with pandas 3.1.1): segments and counts of buyers by recency, frequency and money.
#
# Guess: the best customers of `rfm_segments` are "Premium Customer" ("top 2 quartiles for all variables"), and a longer unit
# of time makes `rfm_summary` coarser and leaves the end of the period where it is ("events after this date are truncated").
# Seen, for a shop where 60 people bought once and 20 people 2 to 21 times, all 20 in the last three days:
# - nobody is Premium or Repeat: with one purchase as the lower quartiles, the best score of frequency is 2, which the names
#   count as the bottom half. The best recency and the best frequency together are "At Risk Customer": 18 purchases, the last
#   one two days ago. "M" is the mean of an order, so that many orders do not help;
# - one who bought once, 144 days ago, for more, is "Top Spender". A warning says that the score "will not exceed 2", and not
#   that the segments have changed their meaning;
# - time_unit="W" counts a purchase of three days after the end of the period, "D" does not: the end moves to its Sunday.
# The same holds for CDNOW's public list (2,357 buyers): no Premium or Repeat, and 15 of the 49 who bought on ten days or more
# and in the last thirty days are "At Risk Customer".
# Consequence: where most people bought once, scores by quartile are not taken under the names of this library. Segments are
# limits in purchases, days and sums that a person can read, and a period ends on the day that it states, in every unit.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pymc-marketing==0.19.2 pandas==3.1.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import warnings
from datetime import date, timedelta

import pandas
from pymc_marketing.clv.utils import rfm_segments, rfm_summary

NAMES = ["buyer", "day", "value"]
once = [(f"once-{i:02}", date(2025, 1, 1) + timedelta(days=5 * i), 20.0 + i % 30) for i in range(60)]
often = [
    (f"often-{i:02}", date(2025, 12, 30) - timedelta(days=7 * k + i % 3), 30.0 + i % 7)
    for i in range(20)
    for k in range(2 + i)
]
purchases = pandas.DataFrame(once + often, columns=NAMES)
purchases["day"] = pandas.to_datetime(purchases["day"])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    segments = rfm_segments(purchases, *NAMES, observation_period_end="2025-12-31")
said = {str(warning.message) for warning in caught if "RFM" in str(warning.message)}
segments = segments.set_index("customer_id")
print(segments.loc[["often-16", "once-44"]].to_string())
print(segments.groupby([segments.index.str.split("-").str[0], "segment"]).size().to_string())
print("warnings:", *said)
late = pandas.DataFrame({"buyer": ["a", "a"], "day": pandas.to_datetime(["2026-01-05", "2026-04-03"])})
repeated = {
    unit: int(rfm_summary(late, "buyer", "day", observation_period_end="2026-03-31", time_unit=unit)["frequency"].iloc[0])
    for unit in ("D", "W")
}
print("repeated purchases until 31 March, with the second one on 3 April:", repeated)
assert set(segments["segment"]) == {"Inactive Customer", "At Risk Customer", "Top Spender"}
assert tuple(segments.loc["often-16", ["frequency", "recency", "segment"]]) == (18.0, 2.0, "At Risk Customer")
assert tuple(segments.loc["once-44", ["frequency", "recency", "segment"]]) == (1.0, 144.0, "Top Spender")
assert said == {"RFM score will not exceed 2 for f_quartile. Specify a custom segment_config"}
assert repeated == {"D": 0, "W": 1}
PY

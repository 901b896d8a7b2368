#!/bin/sh
# holidays 0.109 and workalendar 17.0.0 (Python), date-holidays 3.37.0 (Node): the last day to answer a request.
#
# Guess: the national holidays of the 27 member states in the current year are the same in three well-used libraries.
# A request is answered within a month (GDPR, article 12(3)); a last day that is a holiday or of a weekend moves to the next
# working day (Regulation 1182/71, article 3(4)), so a holiday that is none makes an answer late.
# Seen for weekdays of 2026, the national holidays that each library takes by itself (`type` is "public" for date-holidays):
# - the three agree for 15 states of 27;
# - Cyprus: workalendar has the Easter of the Western church, a week before that of Cyprus. It gives until 8 April where 3 April is due;
# - Cyprus: date-holidays has Clean Monday on a Tuesday, beside the Monday for Greece: one day late;
# - Denmark: workalendar still keeps Store bededag, abolished from 2024: 4 May instead of 1 May;
# - Poland and Ireland: workalendar lacks 24 December (a holiday since 2025) and Saint Brigid's day (since 2023).
# Each was its newest release in November 2026.
# Consequence: a deadline that depends on a holiday is the earliest by all lists, or moves for Saturdays and Sundays only. Who
# uses a list keeps its name and version with the deadline, and compares two of them for the states they serve, each year.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check holidays==0.109 workalendar==17.0.0
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund date-holidays@3.37.0
states="AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
node - $states > node.json <<'JS'
const Holidays = require("date-holidays");
const free = (state) => new Holidays(state).getHolidays(2026).filter(({ type }) => type === "public");
const days = (state) => free(state).map(({ date }) => date.slice(0, 10));
console.log(JSON.stringify(Object.fromEntries(process.argv.slice(2).map((state) => [state, days(state)]))));
JS
"$folder/venv/bin/python" -W ignore - <<'PY'
import json
from datetime import date, timedelta

import holidays
from workalendar.registry import registry

with open("node.json") as file:
    node = json.load(file)
calendars = {
    state: {
        "holidays": set(holidays.country_holidays(state, years=2026)),
        "workalendar": {day for day, _ in registry.get(state)().holidays(2026)},
        "date-holidays": {date.fromisoformat(day) for day in days},
    }
    for state, days in node.items()
}


def last_day(state, asked):
    """The end of the month after the request by each library."""
    found = {}
    for library, free in calendars[state].items():
        day = asked.replace(month=asked.month + 1)
        while day.weekday() > 4 or day in free:
            day += timedelta(days=1)
        found[library] = str(day)
    print(f"{state}, asked on {asked}:", found)
    return tuple(found.values())


agreed = [
    state for state, lists in calendars.items()
    if len({frozenset(day for day in days if day.weekday() < 5 and day.year == 2026) for days in lists.values()}) == 1
]
print(f"the three agree for {len(agreed)} of {len(calendars)}:", *agreed)
assert len(agreed) == 15 and len(calendars) == 27
assert last_day("CY", date(2026, 3, 3)) == ("2026-04-03", "2026-04-08", "2026-04-03")
assert last_day("CY", date(2026, 1, 24)) == ("2026-02-24", "2026-02-24", "2026-02-25")
assert last_day("DK", date(2026, 4, 1)) == ("2026-05-01", "2026-05-04", "2026-05-01")
assert last_day("PL", date(2026, 11, 24)) == ("2026-12-28", "2026-12-24", "2026-12-28")
assert last_day("IE", date(2026, 1, 2)) == ("2026-02-03", "2026-02-02", "2026-02-03")
PY

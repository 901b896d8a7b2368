#!/bin/sh
# segment-analytics-python 2.4.0, rudder-sdk-python 2.1.9 and posthog 7.91.1: the zone of a time depends on its age.
#
# Guess: a `timestamp` without a zone is local time or UTC, the one or the other, however old it is.
# Seen, with the clock of Berlin and that of New York:
# - local time of this moment is taken as local; local time of six seconds ago is taken as UTC. Of two orders that are
#   reported together, the older one is an hour later than the newer one in Berlin, and five hours earlier in New York
#   (two and four in summer);
# - in segment and rudder each time after the present counts as "less than five seconds old": `utcnow()`, right in Berlin,
#   is five hours in the future in New York. posthog looks at the sign, and is right in both;
# - a queue in front of the client, or a slow transaction, decides by its delay which zone an event gets.
# A test on the present moment and a server in UTC show nothing of this.
# Consequence: the hours of an offset next to `received_at` are no proof of a wrong clock; a withdrawal of consent may be
# dated before the consent that it withdraws. Producers hand over times with a zone, and where the order of two statements
# matters, time of receipt bounds what the client says.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  segment-analytics-python==2.4.0 rudder-sdk-python==2.1.9 posthog==7.91.1
"$folder/venv/bin/python" -W ignore - <<'PY'
import os
import time
from datetime import UTC, datetime, timedelta

import posthog
import rudderstack.analytics.client as rudder
import segment.analytics.client as segment


def by_segment(at):
    return segment.Client("key", send=False).track("user-0001", "order", timestamp=at)[1]["timestamp"]


def by_rudder(at):
    return rudder.Client("key", send=False).track("user-0001", "order", timestamp=at)[1]["timestamp"]


def by_posthog(at):
    seen = []
    client = posthog.Posthog("key", host="http://127.0.0.1:9", send=False, before_send=seen.append)
    client.capture("order", distinct_id="user-0001", timestamp=at)
    return seen[0]["timestamp"]


# Each: the time as its producer states it, by the name of the habit, and the instant that it means.
HABITS = {
    "local, of this moment": lambda: (datetime.now(), datetime.now(UTC)),
    "local, six seconds ago": lambda: (datetime.now() - timedelta(seconds=6), datetime.now(UTC) - timedelta(seconds=6)),
    "utcnow()": lambda: (datetime.now(UTC).replace(tzinfo=None), datetime.now(UTC)),
    "with its zone, six seconds ago": lambda: (datetime.now(UTC) - timedelta(seconds=6),) * 2,
}


def hours_off(client, habit):
    stated, meant = HABITS[habit]()
    sent = client(stated)
    sent = datetime.fromisoformat(sent) if isinstance(sent, str) else sent
    return round((sent - meant).total_seconds() / 3600)


def table(zone):
    os.environ["TZ"] = zone
    time.tzset()
    offset = round(datetime.now().astimezone().utcoffset().total_seconds() / 3600)
    rows = {habit: tuple(hours_off(client, habit) for client in (by_segment, by_rudder, by_posthog)) for habit in HABITS}
    for habit, hours in rows.items():
        print(f"{zone} (UTC{offset:+}), {habit}: hours off by segment, rudder, posthog {hours}")
    assert rows["local, of this moment"] == rows["with its zone, six seconds ago"] == (0, 0, 0)
    assert rows["local, six seconds ago"] == (offset,) * 3
    return offset, rows["utcnow()"]


offset, of_utc = table("Europe/Berlin")
assert offset > 0 and of_utc == (0, 0, 0)
offset, of_utc = table("America/New_York")
assert offset < 0 and of_utc == (-offset, -offset, 0)
PY

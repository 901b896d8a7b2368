"""Unmodified browser SDKs in a real Chromium: with the settings of the documentation, they ask no host but the service."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from cdp.kit.db import Database
from cdp.sources.model import SourceKind
from tests.support.chromium import NODE, chromium, serving_site
from tests.support.documents import blocks
from tests.support.ingest_endpoint import IngestEndpoint, open_ingest_endpoint
from tests.support.policies import ROOT, permit_all
from tests.support.waits import until

pytestmark = pytest.mark.postgres

PAGE = (ROOT / "docs" / "how-to" / "use-an-sdk.md").read_text(encoding="utf-8")
BUNDLES = {
    "@segment/analytics-next": ("@segment/analytics-next/dist/umd/index.js", "AnalyticsNext"),
    "@rudderstack/analytics-js/bundled": (
        "@rudderstack/analytics-js/dist/npm/modern/bundled/umd/index.js",
        "rudderanalytics",
    ),
}


@pytest.fixture
def endpoint(database: Database, tmp_path: Path) -> Iterator[IngestEndpoint]:
    with open_ingest_endpoint(database, permit_all(), tmp_path, {"wk_page": SourceKind.BROWSER}) as endpoint:
        yield endpoint


@pytest.mark.parametrize("sdk", BUNDLES)
def test_the_documented_settings_keep_it_from_other_hosts(endpoint: IngestEndpoint, sdk: str) -> None:
    [example] = [block for block in blocks(PAGE, "javascript") if f'from "{sdk}"' in block]
    imported, _, body = example.partition("\n")
    names = imported.removeprefix("import ").partition(" from")[0]
    body = body.replace("wk_…", "wk_page").replace("http://127.0.0.1:8000", endpoint.url)
    file, module = BUNDLES[sdk]
    with chromium() as browser, serving_site({"/": ""}, "") as site:
        tab = browser.open(site.url + "/")
        # Statistics wait for half a minute; here every timer ends soon.
        tab.run(
            "window.wait = setTimeout; window.setTimeout = (call, time, ...given) => wait(call, Math.min(time, 300), ...given)"
        )
        tab.run(f"{(NODE / file).read_text()};\nconst {names} = globalThis.{module};\n{body}")
        until(lambda: endpoint.accounted().get("stored"), "the event of the example")
        tab.run("await new Promise(done => wait(done, 2000))")
        hosts = {urlsplit(request["url"]).netloc for request in browser.requests()}
    assert hosts == {urlsplit(site.url).netloc, urlsplit(endpoint.url).netloc}

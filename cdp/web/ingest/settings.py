"""What browser SDKs fetch before they send: the settings of Segment's snippet and RudderStack's source config."""

import re
from typing import Any, Final

from starlette.types import Scope

from cdp.sources.model import Source

_HOST: Final = re.compile(rb"[A-Za-z0-9.\-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_FIXED_INSTANT: Final = "2026-01-01T00:00:00.000Z"


def segment_settings(scope: Scope, write_key: str) -> dict[str, Any]:
    """Settings of analytics.js: send everything to this server, load nothing from elsewhere."""
    target: dict[str, Any] = {"apiKey": write_key, "addBundledMetadata": True, "unbundledIntegrations": []}
    host = _host(scope)
    if host is not None:
        target |= {"apiHost": f"{host}/v1", "protocol": scope.get("scheme", "http")}
    return {
        "integrations": {"Segment.io": target},
        "plan": {
            "track": {"__default": {"enabled": True, "integrations": {}}},
            "identify": {"__default": {"enabled": True}},
            "group": {"__default": {"enabled": True}},
        },
        "edgeFunction": {},
        "analyticsNextEnabled": True,
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def rudderstack_config(scope: Scope, source: Source, write_key: str) -> dict[str, Any]:
    """Source config of RudderStack's SDK: no destination in the browser, no statistics sent to anyone."""
    host = _host(scope)
    url = f"{scope.get('scheme', 'http')}://{host}" if host is not None else None
    return {
        "source": {
            "id": str(source.source_id),
            "name": source.name,
            "writeKey": write_key,
            "enabled": True,
            "workspaceId": "cdp",
            "updatedAt": _FIXED_INSTANT,
            "connections": [],
            "destinations": [],
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "dataplanes": {"default": [{"url": url, "default": True}]} if url else {},
        },
        "updatedAt": _FIXED_INSTANT,
    }


def _host(scope: Scope) -> str | None:
    """The host name by which the client reached this server, None when it is invalid."""
    for name, value in scope["headers"]:
        if name == b"host" and _HOST.fullmatch(value) is not None:
            return str(value.decode("ascii"))
    return None

"""What browser SDKs fetch before they send: the settings of Segment's snippet and RudderStack's source config.

Both name this server by a host that is trusted. Without one they would send to the servers of their vendors.
"""

from typing import Any, Final

from cdp.sources.model import Source

_FIXED_INSTANT: Final = "2026-01-01T00:00:00.000Z"


def segment_settings(scheme: str, host: str, write_key: str) -> dict[str, Any]:
    """Settings of analytics.js: send everything to this server, load nothing from elsewhere."""
    target = {
        "apiKey": write_key,
        "addBundledMetadata": True,
        "unbundledIntegrations": [],
        "apiHost": f"{host}/v1",
        "protocol": scheme,
    }
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


def rudderstack_config(scheme: str, host: str, write_key: str, *, source: Source) -> dict[str, Any]:
    """Source config of RudderStack's SDK: no destination in the browser, no statistics sent to anyone."""
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
            "dataplanes": {"default": [{"url": f"{scheme}://{host}", "default": True}]},
        },
        "updatedAt": _FIXED_INSTANT,
    }

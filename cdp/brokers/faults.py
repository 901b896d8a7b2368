"""Faults of brokers, and the libraries of their clients, which are optional extras and loaded when they are used."""

from importlib import import_module
from typing import Any

from cdp.kit.errors import Fault


def unavailable(place: object, reason: str) -> Fault:
    """The broker cannot be reached, or the connection to it was lost: worth another try."""
    return Fault(
        "broker_unavailable",
        "The broker is unavailable",
        f"{place}: {reason}. Only messages that are stored were acknowledged.",
        status=503,
        retry_after_seconds=5,
    )


def refused(place: object, reason: str) -> Fault:
    """The broker, or the check of who it is, refuses the connection: another try makes nothing better."""
    return Fault(
        "broker_refused",
        "The broker refuses the connection",
        f"{place}: {reason}. Check name, password, rights and, with TLS, the files that the URL names.",
        status=403,
    )


def unknown_queue(name: str) -> Fault:
    """The queue or topic does not exist."""
    return Fault(
        "unknown_queue",
        "Unknown queue or topic",
        f"The broker has no {name!r} that this login may read. `cdp consume` creates none.",
        status=404,
    )


def topic_replaced(topic: str) -> Fault:
    """The topic has the name of another one that was read before."""
    return Fault(
        "topic_replaced",
        "The topic is not the one that was read before",
        f"{topic!r} was created again, or belongs to another cluster: its offsets count from 0, and those that are stored would skip "
        "its first messages. Read it into another source, or go on with its oldest message: --reset. Messages with the id of one that "
        "is stored count once.",
        status=409,
    )


def load_client(name: str, extra: str) -> Any:
    """A module of a client library. Raises the fault `client_missing`."""
    try:
        return import_module(name)
    except ImportError:
        raise Fault(
            "client_missing",
            "The library for this broker is not installed",
            f"Install {name.partition('.')[0].replace('_', '-')}, the extra `{extra}`.",
            status=422,
        ) from None

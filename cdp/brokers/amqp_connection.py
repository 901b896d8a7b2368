"""Connections to AMQP brokers, and the faults that pika's errors are."""

import ssl
from typing import TYPE_CHECKING, Any, Final

from cdp.brokers.address import BrokerAddress
from cdp.brokers.faults import refused, unavailable, unknown_queue
from cdp.kit.errors import Fault

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingConnection

_CONNECT_SECONDS: Final = 10
_NOT_FOUND: Final = 404
_ACCESS_REFUSED: Final = 403


def open_connection(pika: Any, address: BrokerAddress) -> "BlockingConnection":
    """Connect to the first host that answers."""
    tls = _tls(address)
    login = pika.PlainCredentials(address.name or "guest", address.password or "guest")
    parameters = [
        pika.ConnectionParameters(
            host=host,
            port=port,
            virtual_host=address.virtual_host,
            credentials=login,
            heartbeat=address.heartbeat_seconds,
            ssl_options=None if tls is None else pika.SSLOptions(tls, host),
            socket_timeout=_CONNECT_SECONDS,
            stack_timeout=_CONNECT_SECONDS,
            blocked_connection_timeout=None,
            client_properties={"connection_name": "cdp consume"},
        )
        for host, port in address.hosts
    ]
    try:
        connection: BlockingConnection = pika.BlockingConnection(parameters)
    except pika.exceptions.AMQPError as error:
        raise fault_of(pika, error, address) from None
    except (OSError, ssl.SSLError) as error:
        raise fault_of(pika, error, address) from None
    return connection


def _tls(address: BrokerAddress) -> ssl.SSLContext | None:
    if not address.is_encrypted:
        return None
    files = address.tls
    try:
        context = ssl.create_default_context(cafile=files.authorities)
        if files.chain is not None:
            context.load_cert_chain(files.chain, files.key)
    except (OSError, ssl.SSLError) as error:
        raise refused(address, f"a file for TLS cannot be read ({type(error).__name__})") from None
    return context


def fault_of(pika: Any, error: Exception, address: BrokerAddress, *, queue: str = "") -> Fault:
    """The fault of an error of pika, of TLS or of the network."""
    known = pika.exceptions
    if isinstance(error, known.ProbableAuthenticationError | known.AuthenticationError):
        return refused(address, "name or password are wrong")
    if isinstance(error, known.ProbableAccessDeniedError):
        return refused(address, "the virtual host does not exist, or this login may not use it")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return refused(address, f"TLS failed ({cause.reason or type(cause).__name__})")
        cause = cause.__cause__ or cause.__context__
    code = getattr(error, "reply_code", None)
    if code == _NOT_FOUND:
        return unknown_queue(queue)
    if code == _ACCESS_REFUSED:
        return refused(address, f"this login may not read the queue {queue!r}")
    return unavailable(address, _reason_of(error))


def _reason_of(error: Exception) -> str:
    """What an error of the client says, without anything of a message."""
    text = getattr(error, "reply_text", None)
    return str(text) if text else f"the connection failed ({type(error).__name__})"

"""An ASGI application on a free loopback port, served by a thread of the test process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from tests.support.waits import PATIENCE_SECONDS, until


@contextmanager
def serve_in_thread(app: Any, *, host: str = "127.0.0.1", **options: Any) -> Iterator[tuple[str, uvicorn.Server]]:
    """Serve until the block ends; yields the URL and the server. `host` may be `::`, for both versions of IP. The options are those of `uvicorn.Config`."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        listener.listen(128)
        config = uvicorn.Config(
            app,
            loop="uvloop",
            lifespan="on",
            log_level="error",
            access_log=False,
            **{"http": "httptools", **options},
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            until(lambda: server.started or not thread.is_alive(), "the start of the server")
            assert server.started, "the server did not start"
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
        finally:
            server.should_exit = True
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "the server did not stop"

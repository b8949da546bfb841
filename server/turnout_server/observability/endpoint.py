"""The HTTP port for machines that watch the service: /metrics, /healthz, /readyz."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

# A client that sends no request holds a thread no longer than this.
REQUEST_TIMEOUT_S = 10


def watch_app(registry: CollectorRegistry, is_ready: Callable[[], bool]) -> WSGIApplication:
    """The answers of the port.

    Args:
        registry: what /metrics shows.
        is_ready: whether /readyz says 200 or 503; called in a thread of its own.
    """
    metrics: WSGIApplication = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                return metrics(environ, start_response)
            case "/healthz":
                status, body = "200 OK", b"ok\n"
            case "/readyz" if is_ready():
                status, body = "200 OK", b"ready\n"
            case "/readyz":
                status, body = "503 Service Unavailable", b"not ready\n"
            case _:
                status, body = "404 Not Found", b"/metrics, /healthz or /readyz\n"
        # A list of this answer's own: the handler adds the length to it.
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [body]

    return app


class _Handler(WSGIRequestHandler):
    timeout = REQUEST_TIMEOUT_S

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: probes come every second."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Not HTTPServer's, which asks the resolver for the host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no event."""


class Endpoint:
    """The port, served by threads of its own until `close`."""

    def __init__(self, host: str, port: int, app: WSGIApplication) -> None:
        """Listens; port 0 takes any free one.

        Raises:
            OSError: the address cannot be had.
        """
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        kind = type("_FamilyServer", (_Server,), {"address_family": family})
        self._server = kind((host, port), _Handler)
        self._server.set_app(app)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_port)

    def close(self) -> None:
        """Stops listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

"""A server of a stranger, on loopback: it answers what a test says, and remembers who came."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What a path is answered with: takes the open request and writes to it.
Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Stranger:
    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    heard: list[str] = field(default_factory=list)  #: "GET /path", in order
    headers: list[dict[str, str]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def shows(self, path: str, body: bytes, kind: str = "image/png", status: int = 200) -> str:
        """Answer *path* with *body*, to HEAD as to GET; return its link."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("content-type", kind)
            request.send_header("content-length", str(len(body)))
            request.end_headers()
            if request.command == "GET":
                request.wfile.write(body)

        self.answers[path] = answer
        return self.url(path)

    def leads(self, path: str, to: str, status: int = 302) -> str:
        """Redirect *path*; return its link."""

        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("location", to)
            request.send_header("content-length", "0")
            request.end_headers()

        self.answers[path] = answer
        return self.url(path)

    def does(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        return self.url(path)


def _talk(stranger: Stranger) -> type[BaseHTTPRequestHandler]:
    class Talk(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            stranger.heard.append(f"{self.command} {path}")
            stranger.headers.append({k.lower(): v for k, v in self.headers.items()})
            answer = stranger.answers.get(path)
            if answer is None:
                self.send_response(404)
                self.send_header("content-length", "0")
                self.end_headers()
            else:
                answer(self)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Talk


@contextmanager
def stranger(host: str = "127.0.0.1") -> Iterator[Stranger]:
    found = Stranger()

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # who hangs up in the middle is not the server's trouble

    server = Server((host, 0), _talk(found))
    found.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

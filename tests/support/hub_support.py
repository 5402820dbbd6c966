"""As much of the Hugging Face hub as the pipeline asks for, on the loopback interface."""

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub.constants

REVISION = "0123456789abcdef0123456789abcdef01234567"


class _Hub(BaseHTTPRequestHandler):
    """One repository: its lists of files, and /{repository}/resolve/{revision}/{file}."""

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool):
        server = self.server
        api, prefix = f"/api/{server.kind}s/{server.repository}", f"{server.place}/resolve/{REVISION}/"
        if self.path in (api, f"{api}/revision/{REVISION}"):
            server.listed += 1
            siblings = [{"rfilename": name} for name in server.files]
            content = json.dumps({"id": server.repository, "sha": REVISION, "siblings": siblings}).encode()
            return self._send(content, body, {"Content-Type": "application/json"})
        if self.path.startswith(f"{api}/tree/{REVISION}?"):
            files = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in server.files.items()
            ]
            return self._send(json.dumps(files).encode(), body, {"Content-Type": "application/json"})
        name = self.path.removeprefix(prefix) if self.path.startswith(prefix) else None
        if body and name:
            server.fetched.append(name)
        if name not in server.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        content = server.files[name]
        etag = hashlib.sha256(content).hexdigest()
        return self._send(content, body, {"X-Repo-Commit": REVISION, "ETag": f'"{etag}"'})

    def _send(self, content: bytes, body: bool, headers: Mapping[str, str]):
        start = 0
        if body and (span := self.headers.get("Range")):
            start = int(span.removeprefix("bytes=").split("-")[0])
        part = content[start:]
        self.send_response(206 if start else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(part)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            self.wfile.write(part)

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def running_hub(
    monkeypatch, repository: str, files: Mapping[str, bytes], kind: str = "model"
) -> Iterator[ThreadingHTTPServer]:
    """A hub that serves ``files`` of ``repository`` at :data:`REVISION`, its only commit.

    ``fetched`` lists the files that were asked for, ``listed`` counts requests for the list of files, ``endpoint`` is
    its address.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.repository, server.kind, server.files = repository, kind, dict(files)
    server.place = f"/spaces/{repository}" if kind == "space" else f"/{repository}"
    server.fetched, server.listed = [], 0
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    server.endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
    template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()

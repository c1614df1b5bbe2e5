"""A server with the faults that real ones have. Prints the port it listens on; every answer's fault is in the path."""
import http.server
import socket
import sys
import threading
import time

DATA = bytes((i * 31 + (i >> 8) * 7) & 0xFF for i in range(300_000))
failures = {}
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def times(self):
        """How often this path was asked for before."""
        with lock:
            failures[self.path] = failures.get(self.path, 0) + 1
            return failures[self.path] - 1

    def answer(self, body, status=200, kind="application/octet-stream", headers=(), length=None):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def ranged(self, cut=None):
        asked = self.headers.get("Range")
        first, last, status, headers = 0, len(DATA) - 1, 200, []
        if asked:
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = int(low), min(int(high) if high else len(DATA) - 1, len(DATA) - 1)
            if first >= len(DATA):
                return self.answer(b"", 416, headers=[("Content-Range", f"bytes */{len(DATA)}")])
            status, headers = 206, [("Content-Range", f"bytes {first}-{last}/{len(DATA)}")]
        body = DATA[first : last + 1]
        if cut is not None and len(body) > cut:
            self.answer(body[:cut], status, headers=headers, length=len(body))
            return self.hang_up()
        self.answer(body, status, headers=headers)

    def do_GET(self):
        name = self.path.split("/")[1]
        if name == "data":
            self.ranged()
        elif name == "cut":  # every answer ends after 100 kB
            self.ranged(cut=100_000)
        elif name == "cut-at-once":
            self.ranged(cut=0)
        elif name == "no-range":
            self.answer(DATA)
        elif name == "no-range-cut":  # once in the middle, then whole, and never a range
            if self.times() == 0:
                self.answer(DATA[:150_000], length=len(DATA))
                self.hang_up()
            else:
                self.answer(DATA)
        elif name == "wrong-range":
            self.answer(DATA[:10], 206, headers=[("Content-Range", f"bytes 0-9/{len(DATA)}")])
        elif name == "long-range":
            self.answer(DATA, 206, headers=[("Content-Range", f"bytes 10-300009/{len(DATA)}")])
        elif name == "flipped":
            self.answer(DATA[:1000] + bytes([DATA[1000] ^ 1]) + DATA[1001:])
        elif name == "changing":  # another document at every request, the first one cut
            number = self.times()
            body = bytes([0x41 + number]) * 1000
            if number == 0:
                self.answer(body[:500], length=1000)
                self.hang_up()
            else:
                self.answer(body)
        elif name == "fails-twice":
            self.answer(b"sorry", 500) if self.times() < 2 else self.answer(b"recovered")
        elif name == "fails":
            self.answer(b"sorry" * 100_000, 503)
        elif name == "count":
            with lock:
                self.answer(str(failures.get("/" + self.path.split("/", 2)[2], 0)).encode())
        elif name == "missing":
            self.times()
            self.answer(b"nothing", 404)
        elif name == "forbidden":
            self.answer(b"no", 403)
        elif name == "html":
            self.answer(b"<html><body>Please log in</body></html>", kind="text/html; charset=utf-8")
        elif name == "endless":  # no length, no end
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                self.close_connection = True
        elif name == "slow":  # a byte now and then
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            try:
                for _ in range(200):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.1)
            except OSError:
                pass
            self.close_connection = True
        elif name == "redirect":
            count = int(self.path.split("/")[2])
            target = "/data" if count == 0 else f"/redirect/{count - 1}"
            self.answer(b"moved", 302, headers=[("Location", target)])
        elif name == "redirect-to-file":
            self.answer(b"moved", 302, headers=[("Location", "file:///etc/passwd")])
        elif name == "agent":
            self.answer(self.headers.get("User-Agent", "").encode())
        elif name == "cache":
            self.answer(self.headers.get("Cache-Control", "").encode())
        else:
            self.answer(b"what?", 400)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # A client that hangs up is what some tests do.

    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()

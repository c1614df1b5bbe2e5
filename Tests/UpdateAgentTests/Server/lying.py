"""Serves the directory of its first argument below several names, each with lies of its own. Prints its port."""
import http.server
import os
import sys
import threading

ROOT = sys.argv[1]
count = 0
lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        global count
        lie, _, path = self.path.lstrip("/").partition("/")
        try:
            with open(os.path.join(ROOT, path), "rb") as file:
                data = file.read()
        except OSError:
            self.send_error(404)
            return
        is_blob = path.startswith("blobs/")
        asked = self.headers.get("Range") if lie != "no-range" else None
        first, last = 0, len(data) - 1
        if asked:
            low, high = asked.removeprefix("bytes=").split("-")
            first, last = int(low), int(high) if high else last
        body = data[first : last + 1]
        length = len(body)
        total = len(data)
        if is_blob and lie == "long":  # there is less than was said
            length += 1000
        elif is_blob and lie == "short":  # there is more
            length -= 10
        elif is_blob and lie == "total":
            total -= 10
        elif is_blob and lie == "shifted" and asked:  # a range that nobody asked for
            first, last = first + 10, last + 10
        elif is_blob and lie == "flipped":
            body = body[:-1] + bytes([body[-1] ^ 1])
        elif is_blob and lie == "endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(body)
            except OSError:
                self.close_connection = True
            return
        is_cut = False
        if lie == "third":  # every third transfer breaks in its middle
            with lock:
                count += 1
                is_cut = count % 3 == 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(length))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{total}")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if is_cut else body)
        self.wfile.flush()
        self.close_connection = is_cut or length != len(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()

"""Serves the directory of its first argument, and cuts the connection at byte 300,000 of every blob that is longer. Prints
its port, and ends with its standard input."""
import http.server
import os
import sys
import threading

ROOT, CUT = sys.argv[1], 300_000


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        try:
            with open(os.path.join(ROOT, self.path.lstrip("/")), "rb") as file:
                data = file.read()
        except OSError:
            self.send_error(404)
            return
        asked = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")
        first, last = int(asked[0]), int(asked[1]) if asked[1] else len(data) - 1
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("Content-Length", str(last + 1 - first))
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        is_cut = self.path.startswith("/blobs/") and last >= CUT
        self.wfile.write(data[first : CUT if is_cut else last + 1])
        self.wfile.flush()
        self.close_connection = is_cut


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()

"""stranger.py HOST : what a scheduler says to a TLS client without a certificate, or with that in CERTIFICATE.

Prints refused or served.
"""

import os
import socket
import ssl
import sys
from pathlib import Path

context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
if shown := os.environ.get("CERTIFICATE"):
    path = Path("/tmp/shown.pem")
    path.write_text(shown)
    context.load_cert_chain(path)
with context.wrap_socket(socket.create_connection((sys.argv[1], 8786), 10)) as stream:
    try:
        # Dask speaks first to whom it lets in
        print("served" if stream.recv(1) else "refused")
    except ssl.SSLError:
        print("refused")

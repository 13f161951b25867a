#!/opt/sluice/bin/python
"""Whether the server of this container lives: asks /health where it says that it listens. HEALTHCHECK calls this."""

import os
import ssl
import sys
import urllib.request
from pathlib import Path

address = Path(os.environ["SLUICE_HOME"], "http.address").read_text(encoding="utf-8").strip()
unchecked = ssl._create_unverified_context()  # this machine; the certificate is its own
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=unchecked))
with direct.open(f"{address}/health", timeout=5) as answer:  # any status but 200 raises
    sys.exit(answer.status != 200)

"""The shipped nginx files in a real nginx, with addresses of the loopback in the places of theirs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.proxied import DEPLOY, Site, certify, put
from nginx import nginx
from ports import free_port

SHIPPED = (DEPLOY / "nginx" / "zantara-stream.conf").read_text(encoding="utf-8")
SEVERAL = (DEPLOY / "nginx" / "several.conf").read_text(encoding="utf-8")
_UPSTREAM = re.compile(r"^upstream zantara_stream \{\n.*?^\}\n", re.MULTILINE | re.DOTALL)


@asynccontextmanager
async def site(folder: Path, *upstreams: str, **changes: str) -> AsyncIterator[Site]:
    """The shipped files before that server, or before those; `silence` is another time-out of streams."""
    certificate, key = certify(folder)
    port = free_port()
    text = SHIPPED.replace("error_log /var/log/nginx/error.log", f"error_log {folder}/site-error.log")
    places = {
        "listen 80;": f"listen 127.0.0.1:{free_port()};",
        "    listen [::]:80;\n": "",
        "listen 443 ssl http2;": f"listen 127.0.0.1:{port} ssl http2;",
        "    listen [::]:443 ssl http2;\n": "",
        "/etc/ssl/answers.example.com.pem": str(certificate),
        "/etc/ssl/answers.example.com.key": str(key),
        "/var/log/nginx/zantara-stream.log": f"{folder}/access.log",
        **({"proxy_read_timeout 60s": f"proxy_read_timeout {changes['silence']}"} if changes else {}),
    }
    if len(upstreams) == 1:
        places["server 127.0.0.1:8080 "] = f"server {upstreams[0]} "
    else:
        (folder / "several.conf").write_text(_several(upstreams), encoding="utf-8")
        text, taken = _UPSTREAM.subn("", text)
        assert taken == 1, "zantara-stream.conf has another upstream"
    (folder / "site.conf").write_text(put(text, places), encoding="utf-8")
    outside = f"include {folder}/s*.conf;"
    async with nginx(folder, upstreams[0], outside=outside):
        yield Site(f"https://127.0.0.1:{port}", certificate, folder)


def _several(upstreams: Sequence[str]) -> str:
    shown = re.findall(r"server (192\.0\.2\.\d:8080) ", SEVERAL)
    assert len(shown) == len(upstreams), f"several.conf shows {len(shown)} nodes"
    places: Mapping[str, str] = dict(zip(shown, upstreams, strict=True))
    return put(SEVERAL, places)

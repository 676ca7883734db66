"""A real nginx in front of a server, on loopback: in a folder of its own, ended with its block."""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from ports import free_port

PATIENCE = 20.0  # seconds until it must listen
NGINX = "/usr/sbin/nginx"
# What a plain set-up has, and no more; the page's own Host goes on, or its Origin is a foreign one.
PLAIN = "proxy_set_header Host $http_host; proxy_http_version 1.1; proxy_set_header Connection '';"
# By HTTP/1.0, nginx's own default, it collects what comes; chunks of HTTP/1.1 it passes on as they are.
BUFFERING = "proxy_set_header Host $http_host; proxy_http_version 1.0; proxy_ignore_headers X-Accel-Buffering;"

_CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; {user}
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  {outside}
  server {{ listen 127.0.0.1:{port}; {server} location / {{ proxy_pass http://{upstream}; {location} }} }}
}}
"""


@asynccontextmanager
async def nginx(
    folder: Path, upstream: str, location: str = PLAIN, *, server: str = "", outside: str = ""
) -> AsyncIterator[str]:
    """The origin of an nginx that passes on to `upstream` (host and port); without nginx the test is skipped.

    `location`, `server` and `outside` are directives for the place that each is named after.
    """
    if not shutil.which(NGINX):
        assert not os.environ.get("CI"), "nginx is missing in CI; make test-services installs it"
        pytest.skip("needs nginx: make test-services")
    port = free_port()
    _configure(folder, port=port, upstream=upstream, location=location, server=server, outside=outside)
    process = await asyncio.create_subprocess_exec(
        NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), stdout=DEVNULL, stderr=PIPE
    )
    try:
        await asyncio.wait_for(_listening(process, port), PATIENCE)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _configure(folder: Path, **places: str | int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_CONFIGURATION.format(folder=folder, user=user, **places), encoding="utf-8")


async def _listening(process: asyncio.subprocess.Process, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            assert process.returncode is None, await _said(process)
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def _said(process: asyncio.subprocess.Process) -> str:
    return (await process.stderr.read()).decode() if process.stderr else ""

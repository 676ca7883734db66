#!/bin/sh
# Install the system packages that some tests need (Debian). What is there already is left alone.
set -eu
[ -x /usr/bin/chromium ] && exit 0
as_root() { if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi; }
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium

#!/bin/sh
# The steps of the Containerfile, for a Debian that runs nothing else: install.sh WHAT [PIP-OPTION ...]
#
# WHAT is what pip installs: sluice-mcp[nats]==1.2.3, a wheel, or a checkout. Everything is below /opt/sluice and belongs
# to root; the account sluice (10001) runs it and can write its state alone. The fresh-machine test runs this file, too.
set -eu

here=$(dirname "$0")
what=$1
shift

export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends ca-certificates openssl python3 python3-venv

python3 -m venv /opt/sluice
/opt/sluice/bin/pip install --no-cache-dir --disable-pip-version-check "$@" "$what"
for program in sluice sluice-mcp; do ln -sf "/opt/sluice/bin/$program" "/usr/local/bin/$program"; done
install -m 755 "$here/healthcheck.py" /usr/local/bin/sluice-healthcheck
install -m 755 "$here/share.sh" /usr/local/bin/sluice-share

getent passwd sluice >/dev/null ||
  useradd --system --uid 10001 --user-group --no-create-home --home-dir /var/lib/sluice --shell /usr/sbin/nologin sluice
install -d -m 700 -o sluice -g sluice /var/lib/sluice /var/lib/sluice-tls /var/lib/sluice-share

apt-get clean
rm -rf /var/lib/apt/lists/*

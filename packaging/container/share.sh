#!/bin/sh
# What the services of compose.yaml have to have of each other: sluice-share certificate|key
#
# certificate  of the NATS server, signed by itself, made once; its key is for that server alone
# key          the worker key, out of the engine's home, which no worker sees
set -eu
umask 077
tls=${SLUICE_TLS:-/var/lib/sluice-tls} share=${SLUICE_SHARE:-/var/lib/sluice-share}

case $1 in
  certificate)
    if [ ! -e "$tls/nats.key" ]; then
      openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj /CN=nats \
        -addext "subjectAltName=DNS:nats,DNS:localhost,IP:127.0.0.1" -addext "keyUsage=critical,digitalSignature,keyCertSign" \
        -addext "basicConstraints=critical,CA:TRUE" -keyout "$tls/nats.new" -out "$tls/nats.crt"
      mv "$tls/nats.new" "$tls/nats.key"
    fi
    # What the others trust: everything that the system does, and this one.
    cat /etc/ssl/certs/ca-certificates.crt "$tls/nats.crt" >"$share/trusted.new"
    mv "$share/trusted.new" "$share/trusted.crt"
    ;;
  key)
    cp "${SLUICE_HOME:-/var/lib/sluice/home}/worker.key" "$share/worker.new"
    mv "$share/worker.new" "$share/worker.key"
    ;;
  *)
    echo "usage: sluice-share certificate|key" >&2
    exit 2
    ;;
esac

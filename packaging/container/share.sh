#!/bin/sh
# What the services of compose.yaml have to have of each other: sluice-share certificate|token
#
# certificate  of the NATS server, signed by itself, made once; its key is for that server alone
# token        that lets the two workers into the group etl, made once
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
  token)
    if [ ! -e "$share/token" ]; then
      sluice group show etl >/dev/null 2>&1 || sluice group create etl --admit default
      sluice worker-token create --group etl --uses 2 --approval auto >"$share/token.new"
      mv "$share/token.new" "$share/token"
    fi
    ;;
  *)
    echo "usage: sluice-share certificate|token" >&2
    exit 2
    ;;
esac

#!/bin/sh
# Makes the passwords of deploy/compose.yaml, each a random line in a file of its own. Those that are there stay.
set -eu
umask 077
dir="$(cd "$(dirname "$0")" && pwd)/secrets"
mkdir -p "$dir"
for name in influx_admin_password influx_password influx_read_password grafana_admin_password; do
  [ -s "$dir/$name" ] && continue
  # 32 letters and digits: 190 bits, and nothing that a shell or a query would have to quote.
  LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 32 >"$dir/$name"
  echo "$dir/$name"
done
# Read in the containers by users other than the one who made them: the folder keeps strangers out.
chmod 0444 "$dir"/*

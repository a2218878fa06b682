#!/bin/sh
# The gateway's program on a box: finds its own Node.js beside it, so that none has to be installed.
set -eu
home=$(dirname "$(dirname "$(readlink -f "$0")")")
config=/etc/jilian-gateway/gateway.yaml
node() { "$home/runtime/node" "$@"; }

case "${1:-help}" in
  log)
    # Log lines for people; further words go to journalctl: jilian-gateway log -f
    shift
    [ $# -gt 0 ] || set -- -n 100
    journalctl -u jilian-gateway -o cat --no-pager "$@" | node "$home/lib/read-log.mjs"
    ;;
  status)
    systemctl status jilian-gateway --no-pager --lines=0 || true
    printf '\n最近的消息 / Last messages:\n'
    journalctl -u jilian-gateway -o cat --no-pager -n 20 | node "$home/lib/read-log.mjs"
    ;;
  read-log)
    node "$home/lib/read-log.mjs"
    ;;
  version)
    cat "$home/VERSION"
    ;;
  check)
    [ $# -gt 1 ] || set -- check --config "$config"
    node "$home/lib/main.mjs" "$@"
    ;;
  help | -h | --help)
    cat <<'TEXT'
jilian-gateway status        运行状态和最近的消息 / state and last messages
jilian-gateway log -f        持续显示日志 / follow the log
jilian-gateway check         检查配置,不启动任何东西 / check the configuration, start nothing
jilian-gateway version       版本 / version
配置 / configuration: /etc/jilian-gateway/gateway.yaml
修改后 / after a change: jilian-gateway check && sudo systemctl restart jilian-gateway
TEXT
    ;;
  *) exec "$home/runtime/node" "$home/lib/main.mjs" "$@" ;;
esac

#!/bin/sh
# The gateway's program on a box: finds its own Node.js beside it, so that none has to be installed.
set -eu
home=$(dirname "$(dirname "$(readlink -f "$0")")")
config=/etc/jilian-gateway/gateway.yaml
# What the gateway itself may write: it renews its certificate there.
state=/var/lib/jilian-gateway
node() { "$home/runtime/node" "$@"; }

# As the systemd unit starts it: for little memory.
export MALLOC_ARENA_MAX=1 MALLOC_TRIM_THRESHOLD_=131072 MALLOC_MMAP_THRESHOLD_=16384
flags='--optimize-for-size --max-semi-space-size=1 --max-opt=2'

case "${1:-help}" in
  log)
    # Log lines for people; further words go to journalctl: jilian-gateway log -f
    shift
    [ $# -gt 0 ] || set -- -n 100
    journalctl -u jilian-gateway -o cat --no-pager "$@" | node "$home/lib/read-log.mjs"
    ;;
  status)
    if [ $# -gt 1 ]; then exec "$home/runtime/node" "$home/lib/main.mjs" "$@"; fi
    systemctl status jilian-gateway --no-pager --lines=0 || true
    printf '\n'
    node "$home/lib/main.mjs" status --config "$config" || true
    printf '\n最近的消息 / Last messages:\n'
    journalctl -u jilian-gateway -o cat --no-pager -n 20 | node "$home/lib/read-log.mjs"
    ;;
  read-log)
    node "$home/lib/read-log.mjs"
    ;;
  version)
    cat "$home/VERSION"
    ;;
  enrol)
    shift
    node "$home/lib/main.mjs" enrol --config "$config" --dir "$state" "$@"
    ;;
  check)
    [ $# -gt 1 ] || set -- check --config "$config"
    node "$home/lib/main.mjs" "$@"
    ;;
  help | -h | --help)
    cat <<'TEXT'
jilian-gateway status        运行状态、各设备和最近的消息 / state, devices and last messages
jilian-gateway log -f        持续显示日志 / follow the log
jilian-gateway enrol URL TOKEN  用一次性令牌取得证书和配置 / certificate and configuration for a one-time token
jilian-gateway check         检查配置,不启动任何东西 / check the configuration, start nothing
jilian-gateway version       版本 / version
jilian-gateway read          现场读数,不发送 / readings of the devices, nothing is sent; read --help
jilian-gateway probe         探测 Modbus 设备 / what a Modbus device holds; probe --help
jilian-gateway browse        列出 OPC UA 服务器的变量 / variables of an OPC UA server; browse --help
jilian-gateway import        从表格生成点表 / tags from a spreadsheet; import --help
配置 / configuration: /etc/jilian-gateway/gateway.yaml
修改后几秒内自动生效，见日志 / a change takes effect within seconds, see the log
TEXT
    ;;
  # shellcheck disable=SC2086 # They are several words.
  *) exec "$home/runtime/node" $flags "$home/lib/main.mjs" "$@" ;;
esac

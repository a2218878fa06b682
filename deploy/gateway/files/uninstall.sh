#!/bin/sh
# Removes the Jilian gateway. Configuration and data stay, unless --purge is given; --force also when readings wait to be sent.
#   sudo sh /opt/jilian-gateway/current/uninstall.sh [--purge] [--force] [--root DIR]
set -eu
root=
purge=no
force=no
while [ $# -gt 0 ]; do
  case "$1" in
    --root)
      [ $# -gt 1 ] && [ -d "$2" ] || { echo '--root needs a folder' >&2; exit 2; }
      root=$(cd "$2" && pwd)
      [ "$root" != / ] || root=
      shift 2
      ;;
    --purge) purge=yes; shift ;;
    --force) force=yes; shift ;;
    *) sed -n '2,3s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
[ -n "$root" ] || [ "$(id -u)" = 0 ] || { echo '需要管理员权限 / root is needed: sudo sh uninstall.sh' >&2; exit 1; }
opt="$root/opt/jilian-gateway"
state="$root/var/lib/jilian-gateway"
live=no
[ -n "$root" ] || [ ! -d /run/systemd/system ] || live=yes

# The outbox is locked while the gateway runs.
[ "$live" = no ] || systemctl stop jilian-gateway || true
pending=0
for outbox in "$state"/*.sqlite; do
  [ -f "$outbox" ] || continue
  count=$("$opt/current/runtime/node" --no-warnings -e '
    const { DatabaseSync } = require("node:sqlite");
    const db = new DatabaseSync(process.argv[1]);
    console.log(db.prepare("SELECT count(*) AS n FROM record").get().n);
    db.close();' "$outbox" 2>/dev/null) || count='?'
  [ "$count" = 0 ] || pending=$count
done
if [ "$pending" != 0 ]; then
  printf '警告:发件箱中还有 %s 条记录未送达平台 (%s)\n' "$pending" "$state" >&2
  printf 'Warning: %s records in the outbox have not reached the platform yet.\n' "$pending" >&2
  if [ "$purge" = yes ] && [ "$force" = no ]; then
    echo '未删除任何东西:让网关联网直到发完,或者加 --force 丢弃它们' >&2
    echo 'Nothing was removed: let the gateway send them first, or add --force to throw them away.' >&2
    [ "$live" = no ] || systemctl start jilian-gateway || true
    exit 1
  fi
fi

[ "$live" = no ] || systemctl disable jilian-gateway >/dev/null 2>&1 || true
rm -f "$root/etc/systemd/system/jilian-gateway.service" \
  "$root/etc/systemd/system/multi-user.target.wants/jilian-gateway.service" "$root/usr/local/bin/jilian-gateway"
rm -rf "${opt:?}"
[ "$live" = no ] || systemctl daemon-reload
if [ "$purge" = yes ]; then
  rm -rf "${state:?}" "$root/etc/jilian-gateway"
  if [ -z "$root" ]; then userdel jilian 2>/dev/null || deluser jilian 2>/dev/null || true; fi
  echo '已全部删除 / everything is removed'
else
  echo "已卸载;配置和数据保留在 / uninstalled; configuration and data are kept in: $root/etc/jilian-gateway, $state"
fi

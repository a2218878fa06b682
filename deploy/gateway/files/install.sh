#!/bin/sh
# Installs or updates the Jilian gateway from the folder that this script lies in. May be run again at any time.
#   sudo sh install.sh                  installs, checks the configuration, starts
#   sudo sh install.sh --no-start       the same without starting
#   sh install.sh --root DIR            into another root folder (an image); nothing is started
#   sh install.sh --root DIR --foreign  the same for another architecture than this machine's; the configuration is not checked
# Exit codes: 0 installed (and running, if the configuration has no fault), 1 failed: what ran before runs on, 2 wrong arguments.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
root=
start=yes
foreign=no
fail() {
  printf '\n失败 / failed: %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  处理 / remedy: %s\n' "$2" >&2
  exit 1
}
while [ $# -gt 0 ]; do
  case "$1" in
    --root)
      [ $# -gt 1 ] || { echo '--root needs a folder' >&2; exit 2; }
      [ -d "$2" ] || { echo "$2 is not a folder" >&2; exit 2; }
      root=$(cd "$2" && pwd)
      [ "$root" != / ] || root=
      shift 2
      ;;
    --no-start) start=no; shift ;;
    --foreign) foreign=yes; shift ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
  esac
done
[ "$foreign" = no ] || [ -n "$root" ] || { echo '--foreign needs --root' >&2; exit 2; }
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail '需要管理员权限 / root is needed' 'sudo sh install.sh'
for program in sha256sum readlink sed cp mv ln chown id; do
  command -v "$program" >/dev/null || fail "$program is missing" 'install coreutils (or busybox)'
done

field() { sed -n "s/^$1=//p" "$here/VERSION"; }
version=$(field version)
arch=$(field arch)
opt="$root/opt/jilian-gateway"
etc="$root/etc/jilian-gateway"
state="$root/var/lib/jilian-gateway"
target="$opt/$version"
config="$etc/gateway.yaml"

# --- what was delivered -------------------------------------------------------------------------------------------------------
case "$(uname -m)" in
  x86_64 | amd64) machine=x64 ;;
  aarch64 | arm64) machine=arm64 ;;
  *) machine=$(uname -m) ;;
esac
[ "$machine" = "$arch" ] || [ "$foreign" = yes ] ||
  fail "安装包是 $arch,本机是 $machine / this package is for $arch, this machine is $machine" \
    "请使用 jilian-gateway-$version-linux-$machine.tar.gz (x64 和 arm64 / x64 and arm64 only)"
(cd "$here" && sha256sum -c SHA256SUMS >/dev/null 2>&1) ||
  fail "$(cd "$here" && sha256sum -c SHA256SUMS 2>/dev/null | grep -v ': OK$' | head -n 3 || true)" \
    '文件损坏或不完整,请重新复制安装包 / files are damaged or missing: copy the package again'

# --- program ------------------------------------------------------------------------------------------------------------------
before=$(readlink "$opt/current" 2>/dev/null || true)
mkdir -p "$opt"
new="$opt/.new-$version"
rm -rf "$new"
mkdir "$new"
for part in VERSION SHA256SUMS LICENSE bin lib docs systemd examples uninstall.sh THIRD-PARTY-LICENCES.txt; do
  cp -R "$here/$part" "$new/$part"
done
mkdir "$new/runtime"
if [ -f "$here/runtime/node" ]; then
  cp "$here/runtime/node" "$new/runtime/node"
else
  # A bundle-only package brings no Node.js: the one that runs here is taken along, if it is the very same.
  wanted=$(field node_sha256)
  found=
  for have in "$opt"/*/runtime/node; do
    [ -f "$have" ] && [ "$(sha256sum <"$have" | sed 's/ .*//')" = "$wanted" ] && found=$have && break
  done
  [ -n "$found" ] || { rm -rf "$new"; fail "本机没有 Node.js $(field node) / Node.js $(field node) is not on this box" \
    '请使用完整安装包 / use the full package'; }
  ln "$found" "$new/runtime/node" 2>/dev/null || cp "$found" "$new/runtime/node"
fi
[ "$(id -u)" != 0 ] || chown -R 0:0 "$new"
if [ "$foreign" = no ] && ! "$new/runtime/node" --version >/dev/null 2>&1; then
  why=$("$new/runtime/node" --version 2>&1 | head -n 2 || true)
  rm -rf "$new"
  fail "Node.js 在本机不能运行 / does not run here: $why" \
    '需要 glibc 2.28、libstdc++6 以上(Debian 10、Ubuntu 20.04 或更新) / glibc 2.28 and libstdc++6 or newer are needed'
fi

# --- user ---------------------------------------------------------------------------------------------------------------------
if [ -n "$root" ]; then
  # An image may be of another distribution or architecture: its own tools cannot be run, so the lines are written.
  mkdir -p "$root/etc"
  touch "$root/etc/passwd" "$root/etc/group"
  if ! grep -q '^jilian:' "$root/etc/passwd"; then
    uid=990
    while cut -d: -f3 "$root/etc/passwd" "$root/etc/group" | grep -qx "$uid"; do uid=$((uid - 1)); done
    echo "jilian:x:$uid:" >>"$root/etc/group"
    echo "jilian:x:$uid:$uid:Jilian gateway:/var/lib/jilian-gateway:/usr/sbin/nologin" >>"$root/etc/passwd"
  fi
elif ! id jilian >/dev/null 2>&1; then
  if command -v useradd >/dev/null; then
    useradd --system --user-group --home-dir /var/lib/jilian-gateway --no-create-home --shell /usr/sbin/nologin jilian
  else
    addgroup -S jilian
    adduser -S -D -H -h /var/lib/jilian-gateway -s /sbin/nologin -G jilian jilian
  fi
fi
uid=$(sed -n 's/^jilian:[^:]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")
gid=$(sed -n 's/^jilian:[^:]*:[0-9]*:\([0-9]*\):.*/\1/p' "$root/etc/passwd")

# --- configuration and state: what is there is kept -----------------------------------------------------------------------------
mkdir -p "$etc" "$state"
[ -f "$config" ] || cp "$here/examples/gateway.yaml" "$config"
if [ "$(id -u)" = 0 ]; then
  chown "0:$gid" "$etc"
  for file in "$etc"/*; do [ ! -f "$file" ] || { chown "0:$gid" "$file"; chmod 0640 "$file"; }; done
  chown -R "$uid:$gid" "$state"
fi
chmod 0750 "$etc"
chmod 0700 "$state"

# --- check before anything that runs is touched ---------------------------------------------------------------------------------
valid=yes
if [ "$foreign" = yes ]; then
  echo '配置未检查(其他架构) / configuration not checked (another architecture)'
  valid=unknown
elif ! "$new/runtime/node" "$new/lib/main.mjs" check --config "$config"; then
  valid=no
fi
# A configuration that the version before accepts and this one does not stops an update; one that was never right does not.
if [ "$valid" = no ] && [ -n "$before" ] &&
  "$opt/$before/runtime/node" "$opt/$before/lib/main.mjs" check --config "$config" >/dev/null 2>&1; then
  rm -rf "$new"
  fail "配置有误,未更新,继续运行 $before / the configuration has faults: not updated, $before runs on" \
    "按上面的提示修改 $config 后再运行 install.sh / correct it as told above, then run install.sh again"
fi

# --- switch -------------------------------------------------------------------------------------------------------------------
rm -rf "$opt/.old-$version"
# Boxes are switched off right after the installation: what the link will point to has to be on the disk first.
sync
[ ! -d "$target" ] || mv "$target" "$opt/.old-$version"
mv "$new" "$target"
switch_to() {
  rm -f "$opt/.current"
  ln -s "$1" "$opt/.current"
  # -T replaces the link in one step; where mv does not know it, in two.
  mv -fT "$opt/.current" "$opt/current" 2>/dev/null || { rm -f "$opt/current"; mv "$opt/.current" "$opt/current"; }
}
switch_to "$version"
sync
units="$root/etc/systemd/system"
mkdir -p "$units/multi-user.target.wants" "$root/usr/local/bin"
cp "$target/systemd/jilian-gateway.service" "$units/jilian-gateway.service"
ln -sf /opt/jilian-gateway/current/bin/jilian-gateway "$root/usr/local/bin/jilian-gateway"
ln -sf /etc/systemd/system/jilian-gateway.service "$units/multi-user.target.wants/jilian-gateway.service"

running=no
if [ -z "$root" ] && [ -d /run/systemd/system ]; then
  systemctl daemon-reload
  if [ "$start" = yes ] && [ "$valid" = yes ]; then
    # Waits until the gateway has said that it runs.
    if systemctl restart jilian-gateway; then
      running=yes
    else
      journalctl -u jilian-gateway -o cat --no-pager -n 10 | "$target/runtime/node" "$target/lib/read-log.mjs" >&2 || true
      if [ -n "$before" ]; then
        if [ "$before" = "$version" ]; then
          if [ -d "$opt/.old-$version" ]; then
            rm -rf "$target"
            mv "$opt/.old-$version" "$target"
          fi
        else
          switch_to "$before"
        fi
        cp "$opt/current/systemd/jilian-gateway.service" "$units/jilian-gateway.service"
        systemctl daemon-reload
        systemctl restart jilian-gateway || true
        fail "新版本不能启动,已恢复 $before / the new version did not start, $before is back" \
          '把上面的消息发给牵头单位 / send the messages above to the lead unit'
      fi
      fail '网关不能启动 / the gateway did not start' '见上面的消息和安装手册 / see the messages above and the manual'
    fi
  fi
fi
rm -rf "$opt/.old-$version"
# The version before stays for a way back; older ones go.
for old in "$opt"/*/; do
  old=$(basename "$old")
  [ "$old" = current ] || [ "$old" = "$version" ] || [ "$old" = "$before" ] || rm -rf "${opt:?}/$old"
done

# --- what next ----------------------------------------------------------------------------------------------------------------
printf '\n已安装 / installed: jilian-gateway %s (%s)%s\n' "$version" "$arch" "${root:+ → $root}"
if [ "$running" = yes ]; then
  cat <<'TEXT'
网关正在运行,开机自动启动。             The gateway runs, and starts with the box.
  sudo jilian-gateway status           状态 / state
  sudo jilian-gateway log -f           日志 / log
TEXT
else
  cat <<'TEXT'
下一步:                                 Next:
  有令牌 / with a token:               sudo jilian-gateway enrol URL TOKEN (代替 1 和 2 / in place of 1 and 2)
  1. 填写配置 / fill in:               sudo nano /etc/jilian-gateway/gateway.yaml
  2. 口令写入 / password, one line:    sudo nano /etc/jilian-gateway/broker.password
  3. 检查 / check:                     sudo jilian-gateway check
  4. 启动 / start:                     sudo sh install.sh (再次运行 / again)
手册 / manual: /opt/jilian-gateway/current/docs/installation.zh-CN.md
TEXT
fi

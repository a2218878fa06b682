#!/bin/sh
# Proves the packed gateway on a booted Debian with its own systemd: npm run prove:gateway
# Needs root, debootstrap, systemd-nspawn (package systemd-container) and a Debian mirror; takes some three minutes. Not part of CI.
# Inside there is no npm and no Node.js but the package's own. PLCs and broker are not there: the path of a reading is proven by
# clean-room.test.ts; here it is install.sh, the unit, readiness, watchdog, restart, update, hardening, uninstall.
set -eu
[ "$(id -u)" = 0 ] || { echo 'root is needed' >&2; exit 1; }
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
box="$work/box"
case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; esac

"$here/../../node_modules/.bin/node" "$here/pack.ts" --arch "$arch" --out "$work"
debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,libstdc++6 bookworm "$box" >"$work/debootstrap.log" ||
  { tail -n 5 "$work/debootstrap.log" >&2; exit 1; }
cp "$work"/*.tar.gz "$box/root/pack.tar.gz"

cat >"$box/root/prove.sh" <<'INSIDE'
#!/bin/sh
# Writes "ok ..." or "NOT ..." a line to /root/result.
unit=jilian-gateway
prop() { systemctl show -P "$1" "$unit"; }
said() { if eval "$2"; then echo "ok   $1"; else echo "NOT  $1"; fi >>/root/result; }
# until TEXT CONDITION: within 30 s
until_() {
  left=60
  while [ $left -gt 0 ] && ! eval "$2"; do sleep 0.5; left=$((left - 1)); done
  said "$1" "$2"
}
cd /root && mkdir pack && tar xzf pack.tar.gz -C pack && cd pack/* || exit
said 'no Node.js and no npm on this system' '! command -v node && ! command -v npm'
sh install.sh >/root/install.log 2>&1
said 'install.sh ends well on an empty box and starts nothing' '[ $? = 0 ] && [ "$(prop ActiveState)" = inactive ]'
config=/etc/jilian-gateway/gateway.yaml
sed -i 's|【必填】工厂编号/网关编号|f/g|; s/【必填】工厂编号/f/; s/【必填】网关编号/g/; s/【必填】平台地址/127.0.0.1/; s/192.168.1.10 /127.0.0.1 /' $config
echo secret >/etc/jilian-gateway/broker.password
mkdir -p /etc/systemd/system/$unit.service.d
printf '[Service]\nWatchdogSec=6\n' >/etc/systemd/system/$unit.service.d/faster.conf
sh install.sh >>/root/install.log 2>&1
said 'install.sh starts the gateway and waits until it is ready' '[ $? = 0 ] && [ "$(prop ActiveState)" = active ]'
until_ 'systemctl status tells its state' 'prop StatusText | grep -q "^devices connected 0/1, platform NOT connected"'
until_ 'readings of an absent PLC and broker are in the outbox' '[ -s /var/lib/jilian-gateway/outbox.sqlite ]'
status=/proc/$(prop MainPID)/status
said 'it runs as its own user, with no capability, seccomp and no new privileges' \
  'grep -q "^Uid:.$(id -u jilian)" $status && grep -q "^CapBnd:.0000000000000000" $status && grep -q "^Seccomp:.2" $status && grep -q "^NoNewPrivs:.1" $status'
said 'jilian-gateway log is readable' 'jilian-gateway log | grep -q "info  the gateway runs"'
sleep 8
said 'the watchdog leaves it alone while it lives' '[ "$(prop NRestarts)" = 0 ]'
kill -STOP "$(prop MainPID)"
until_ 'the watchdog ends it when it stands still, and it comes back' '[ "$(prop NRestarts)" = 1 ] && [ "$(prop ActiveState)" = active ]'
kill -KILL "$(prop MainPID)"
until_ 'it comes back after SIGKILL' '[ "$(prop NRestarts)" = 2 ] && [ "$(prop ActiveState)" = active ]'
sh install.sh >>/root/install.log 2>&1
said 'install.sh again: runs on' '[ $? = 0 ] && [ "$(prop ActiveState)" = active ]'

# A version that does not start: the one before comes back.
cp -R . ../broken && cd ../broken
sed -i 's/^version=.*/version=9.9.9/' VERSION
sed -i 's|lib/main.mjs run|lib/none.mjs run|' systemd/*.service
for file in VERSION systemd/jilian-gateway.service; do
  sed -i "s|^[0-9a-f]*  $file\$|$(sha256sum $file)|" SHA256SUMS
done
sh install.sh >>/root/install.log 2>&1
said 'an update that does not start fails' '[ $? = 1 ]'
until_ 'and the version before runs' '[ "$(prop ActiveState)" = active ] && [ "$(readlink /opt/jilian-gateway/current)" != 9.9.9 ]'

cp $config /root/kept && sed -i 's/^node: .*/node: not an id/' $config
systemctl restart $unit 2>/dev/null
said 'a wrong configuration fails at once and is not tried again' '[ "$(prop ActiveState)" = failed ] && [ "$(prop ExecMainStatus)" = 2 ]'
cp /root/kept $config && systemctl reset-failed $unit && systemctl start $unit
systemctl stop $unit
said 'it stops cleanly' '[ "$(prop Result)" = success ]'
sh /opt/jilian-gateway/current/uninstall.sh >>/root/install.log 2>&1
said 'uninstall.sh removes program and unit, keeps configuration and data' \
  '[ ! -e /opt/jilian-gateway ] && [ ! -e /etc/systemd/system/$unit.service ] && [ -s $config ] && [ -s /var/lib/jilian-gateway/outbox.sqlite ]'
INSIDE
cat >"$box/etc/systemd/system/prove.service" <<'UNIT'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/sh /root/prove.sh
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
mkdir -p "$box/etc/systemd/system/graphical.target.wants"
ln -s /etc/systemd/system/prove.service "$box/etc/systemd/system/graphical.target.wants/prove.service"

SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout 300 systemd-nspawn --quiet -D "$box" --register=no --keep-unit \
  --private-network --boot >"$work/boot.log" 2>&1 </dev/null || { tail -n 20 "$work/boot.log" >&2; exit 1; }
cat "$box/root/result"
if grep -q '^NOT' "$box/root/result" || ! grep -q 'uninstall.sh removes' "$box/root/result"; then
  tail -n 60 "$box/root/install.log" >&2
  exit 1
fi

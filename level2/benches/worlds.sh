#!/usr/bin/env bash
# level2 in the judge's worlds beside nginx (limit_req by name, max_conns) and haproxy (a stick table by
# name, maxconn): what share of the mice each answers, how busy its backends were, whether it passes.
#
#   level2/benches/worlds.sh                          all worlds, 20 s each
#   SECONDS_EACH=5 WORLDS="steady slow-bodies" level2/benches/worlds.sh
#
# Needs release builds of harness and level2; Debian packages: nginx-light, haproxy. A peer that is not
# installed is left out. Both get what an operator would give them who knows the backends: two requests at a
# time each (level2 has to find that out), and 6 requests a second and name with a burst of 2.
set -euo pipefail

SECONDS_EACH=${SECONDS_EACH:-20}
WORLDS=${WORLDS:-steady steady-and-names rotating-names flash-crowd mixed-cost slow-loris slow-bodies slow-readers backend-dies failing-backend brown-out}
TARGET=${CARGO_TARGET_DIR:-target}/release
HARNESS=${HARNESS:-$TARGET/harness} BINARY=${BINARY:-$TARGET/level2}
PATH=$PATH:/usr/sbin
for built in "$HARNESS" "$BINARY"; do
    [ -x "$built" ] || { echo "build first: cargo build --release -p harness -p level2"; exit 1; }
done

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Both are started as the judge starts a shield: --in-port P --out-ports A,B.
read -r -d '' flags <<'SH' || true
#!/usr/bin/env bash
set -eu
while [ $# -gt 0 ]; do
    case $1 in
        --in-port) port=$2 ;;
        --out-ports) first=${2%,*} second=${2#*,} ;;
    esac
    shift 2
done
here=$(mktemp -d -p "$PWD")
SH
{
    echo "$flags"
    cat <<'SH'
cat >"$here/nginx.conf" <<CONF
daemon off; pid $here/pid; error_log stderr crit; worker_processes 1;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path $here/body; proxy_temp_path $here/proxy;
  fastcgi_temp_path $here/fastcgi; uwsgi_temp_path $here/uwsgi; scgi_temp_path $here/scgi;
  limit_req_zone \$http_x_forwarded_for zone=names:10m rate=6r/s;
  upstream b { zone b 64k; server 127.0.0.1:$first max_conns=3; server 127.0.0.1:$second max_conns=3; keepalive 16; }
  server {
    listen 127.0.0.1:$port;
    location / {
      limit_req zone=names burst=2 nodelay; limit_req_status 429;
      proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
    }
  }
}
CONF
exec nginx -p "$here" -e stderr -c "$here/nginx.conf"
SH
} >"$folder/nginx"
{
    echo "$flags"
    cat <<'SH'
cat >"$here/haproxy.cfg" <<CONF
global
  nbthread 1
defaults
  mode http
  timeout connect 1s
  timeout client 10s
  timeout server 10s
  timeout queue 750ms
  timeout http-request 5s
  option http-keep-alive
  option http-buffer-request
frontend f
  bind 127.0.0.1:$port
  stick-table type string len 64 size 100k expire 10s store http_req_rate(1s)
  http-request track-sc0 hdr(x-forwarded-for)
  http-request deny deny_status 429 if { sc_http_req_rate(0) gt 8 }
  default_backend b
backend b
  balance leastconn
  server a 127.0.0.1:$first maxconn 2
  server b 127.0.0.1:$second maxconn 2
CONF
exec haproxy -f "$here/haproxy.cfg"
SH
} >"$folder/haproxy"
chmod +x "$folder/nginx" "$folder/haproxy"

declare -A solutions=([level2]=$BINARY)
names=(level2)
for peer in nginx haproxy; do
    command -v "$peer" >/dev/null || { echo "skipped: $peer is not installed"; continue; }
    names+=("$peer") solutions[$peer]=$folder/$peer
done

printf '%-18s' world
printf ' %-34s' "${names[@]}"
printf '\n%-18s' ''
for _ in "${names[@]}"; do printf ' %-34s' 'mice  busy  p99 ms  overflows'; done
echo
for world in $WORLDS; do
    printf '%-18s' "$world"
    for name in "${names[@]}"; do
        "$HARNESS" level2 --solution "${solutions[$name]}" --world "$world" --seconds "$SECONDS_EACH" \
            --json "$folder/result.json" >"$folder/log" 2>&1 || true
        python3 - "$folder/result.json" <<'PYTHON'
import json, sys
result = json.load(open(sys.argv[1]))["results"][0]
figures = result.get("figures") or {}
if "mice_sent" in figures:
    share = 100 * figures["mice_served"] / max(1, figures["mice_sent"])
    text = (f"{share:3.0f} %  {figures['backends_busy_percent']:3.0f} %  {figures.get('mice_p99_ms', 0):6.0f}"
            f"  {figures['overflows']:4.0f}  {result['verdict']}")
else:
    text = "it did not start"
print(f" {text:<34}", end="", flush=True)
PYTHON
    done
    echo
done

#!/usr/bin/env bash
# Plain proxying, measured beside nginx and haproxy: a tiny answer, 64 kept connections (or CONNECTIONS),
# no flood. Load generator (wrk), proxy and backend (nginx) share the machine, so absolute figures are low
# and noisy: rounds are interleaved, and the medians and the ratios in each round are what counts.
#
#   level2/benches/compare.sh            7 rounds of 4 s with one thread or worker each
#   THREADS=2 ROUNDS=9 SECONDS_EACH=5 CONNECTIONS=1 level2/benches/compare.sh
#
#   level2/benches/compare.sh --tls      the same over kept TLS connections, and handshakes a second, one for
#                                        each request: of clients that come for the first time (ab), and of such
#                                        as go on with a session (wrk); TLS 1.3 and P-256 everywhere
#   level2/benches/compare.sh --h2       HTTP/2 over TLS, 10 streams on each connection (h2load)
#
#   OLD=before/level2 level2/benches/compare.sh        another build of level2 in the same run, as "old": whether a
#                                        change costs anything shows only beside what was before
#
# Requests of one client, 640 at once with --h2, are not to be turned away here: level2 is told that the backend can take
# them (--max-in-flight), which it would find out to be false.
#
# Debian packages: nginx-light, haproxy, wrk; openssl for --tls and --h2, apache2-utils for --tls, nghttp2-client for --h2. A peer that
# is not installed is left out.
set -euo pipefail

case "${1:-}" in
    "") kinds=(plain) tools=(wrk nginx) ;;
    --tls) kinds=(kept handshakes resumed) tools=(wrk ab nginx openssl) ;;
    --h2) kinds=(streams) tools=(h2load nginx openssl) ;;
    *) echo "compare.sh: $1 is neither --tls nor --h2" >&2; exit 2 ;;
esac

THREADS=${THREADS:-1} ROUNDS=${ROUNDS:-7} SECONDS_EACH=${SECONDS_EACH:-4} CONNECTIONS=${CONNECTIONS:-64}
BINARY=${BINARY:-${CARGO_TARGET_DIR:-target}/release/level2}
have() { command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ]; }
PATH=$PATH:/usr/sbin
for tool in "${tools[@]}"; do
    have "$tool" || { echo "skipped: $tool is not installed"; exit 0; }
done
[ -x "$BINARY" ] || { echo "build first: cargo build --release -p level2"; exit 1; }
[ -z "${OLD:-}" ] || [ -x "$OLD" ] || { echo "compare.sh: OLD=$OLD is no program" >&2; exit 2; }

folder=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
backend=$(port) by_level2=$(port) by_old=$(port) by_nginx=$(port) by_haproxy=$(port)

open=()
[ "${kinds[0]}" != streams ] || open=(--max-in-flight 1024)
tls=() nginx_tls="" haproxy_tls="" scheme=http
if [ "${kinds[0]}" != plain ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
        -addext "subjectAltName=DNS:localhost,IP:127.0.0.1" \
        -keyout "$folder/site.key" -out "$folder/site.pem" 2>/dev/null
    cat "$folder/site.pem" "$folder/site.key" >"$folder/both.pem"
    tls=(--cert "$folder/site.pem" --key "$folder/site.key") scheme=https
    nginx_tls="ssl http2" haproxy_tls="ssl crt $folder/both.pem ssl-min-ver TLSv1.3 alpn h2,http/1.1"
    nginx_files="ssl_protocols TLSv1.3; ssl_certificate $folder/site.pem; ssl_certificate_key $folder/site.key;"
fi

nginx_common="daemon off; pid $folder/PID; error_log /dev/null; events { worker_connections 4096; }"
cat >"$folder/backend.conf" <<CONF
worker_processes 1; ${nginx_common/PID/backend.pid}
http { access_log off; keepalive_requests 100000000;
  server { listen 127.0.0.1:$backend; location / { return 200 "hello\n"; } } }
CONF
cat >"$folder/proxy.conf" <<CONF
worker_processes $THREADS; ${nginx_common/PID/proxy.pid}
http { access_log off; keepalive_requests 100000000;
  upstream b { server 127.0.0.1:$backend; keepalive 128; keepalive_requests 100000000; }
  server { listen 127.0.0.1:$by_nginx $nginx_tls reuseport; ${nginx_files:-}
    location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; } } }
CONF
cat >"$folder/haproxy.cfg" <<CONF
global
  nbthread $THREADS
defaults
  mode http
  timeout connect 1s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend f
  bind 127.0.0.1:$by_haproxy $haproxy_tls
  default_backend b
backend b
  server s 127.0.0.1:$backend
CONF

nginx -p "$folder" -c "$folder/backend.conf" & pids+=($!)
nginx -p "$folder" -c "$folder/proxy.conf" & pids+=($!)
names=(level2 nginx) ports=("$by_level2" "$by_nginx") binaries=("$BINARY")
if [ -n "${OLD:-}" ]; then
    names=(level2 old nginx) ports=("$by_level2" "$by_old" "$by_nginx") binaries+=("$OLD")
fi
for index in "${!binaries[@]}"; do
    "${binaries[$index]}" --listen "${tls:+tls:}127.0.0.1:${ports[$index]}" "${tls[@]}" --backend "127.0.0.1:$backend" \
        --threads "$THREADS" "${open[@]}" 2>/dev/null & pids+=($!)
done
if have haproxy; then
    haproxy -f "$folder/haproxy.cfg" >/dev/null 2>&1 & pids+=($!)
    names+=(haproxy) ports+=("$by_haproxy")
fi
[ "$scheme" = https ] || { names+=(direct) ports+=("$backend"); }
for port in "${ports[@]}"; do
    for _ in $(seq 50); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
        sleep 0.1
    done
done

# Writes: rate, p50 and p99 in ms (for streams the mean and the longest).
measure() {
    local kind=$1 url=$2
    case $kind in
        streams)
            h2load -t1 -c"$CONNECTIONS" -m10 -D"$SECONDS_EACH" "$url" >"$folder/out"
            ;;
        handshakes) ab -q -c"$CONNECTIONS" -t"$SECONDS_EACH" -n100000000 "$url" >"$folder/out" ;;
        resumed) wrk -t1 -c"$CONNECTIONS" -d"${SECONDS_EACH}s" --latency -H 'Connection: close' "$url" >"$folder/out" ;;
        *) wrk -t1 -c"$CONNECTIONS" -d"${SECONDS_EACH}s" --latency "$url" >"$folder/out" ;;
    esac
    awk '
        function ms(t) { return t ~ /us$/ ? t / 1000 : ab || t ~ /ms$/ ? t + 0 : t * 1000 }
        $1 == "Requests" && $2 == "per" { rate = $4; ab = 1 }
        $1 == "50%" { p50 = ms($2) } $1 == "99%" { p99 = ms($2) } $1 == "Requests/sec:" { rate = $2 }
        $1 == "finished" { rate = $4 } $1 == "time" && $2 == "for" && $3 == "request:" { p50 = ms($6); p99 = ms($5) }
        END { print rate, p50, p99 }' "$folder/out"
}

for kind in "${kinds[@]}"; do
for round in $(seq 0 "$ROUNDS"); do
    for index in "${!names[@]}"; do
        measured=$(measure "$kind" "$scheme://127.0.0.1:${ports[$index]}/")
        # Round 0 warms up.
        [ "$round" = 0 ] && continue
        if grep -Eq 'Non-2xx|[1-9][0-9]* (failed|errored)|Failed requests: +[1-9]' "$folder/out"; then
            echo "${names[$index]}: $(grep -Ei 'Non-2xx|failed' "$folder/out")" >&2
        fi
        echo "$round ${names[$index]} $measured" >>"$folder/$kind"
    done
done
done

for kind in "${kinds[@]}"; do
echo "$kind: $THREADS thread(s), $CONNECTIONS connections, median of $ROUNDS rounds of $SECONDS_EACH s:"
python3 - "$folder/$kind" <<'PYTHON'
import statistics, sys
rows = [line.split() for line in open(sys.argv[1])]
by = {}
for round_, name, rate, p50, p99 in rows:
    by.setdefault(name, {})[round_] = (float(rate), float(p50), float(p99))
for name, rounds in by.items():
    rate, p50, p99 = (statistics.median(v[i] for v in rounds.values()) for i in range(3))
    against = [rounds[r][0] / by["nginx"][r][0] for r in rounds]
    print(f"{name:8} {rate:9.0f} requests/s  p50 {p50:7.3f} ms  p99 {p99:7.3f} ms  "
          f"{statistics.median(against):.2f} x nginx ({min(against):.2f} to {max(against):.2f})")
PYTHON
done

#!/usr/bin/env bash
# Three level4 nodes beside three etcd nodes: durable writes on loopback, by 64 clients spread over the
# nodes and by one. Rounds alternate between the two; medians are shown. All servers and the load
# generator share the machine, so the ratios are what counts.
#
#   level4/benches/compare.sh
#   level4/benches/compare.sh --seconds 10 --rounds 5 --clients 16
#
# Debian package: etcd-server. Without it only level4 is measured.
set -euo pipefail
cd "$(dirname "$0")/../.."

folder=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT

# Built first: nothing is to be compiled while etcd runs beside it.
cargo bench --locked -p level4 --bench throughput --no-run

if ! command -v etcd >/dev/null; then
    echo "etcd is not installed: level4 alone"
    cargo bench --locked -q -p level4 --bench throughput -- "$@"
    exit
fi

port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
client=() peer=() cluster=""
for node in 0 1 2; do
    client[node]=127.0.0.1:$(port) peer[node]=127.0.0.1:$(port)
    cluster+="${cluster:+,}n$node=http://${peer[node]}"
done
for node in 0 1 2; do
    etcd --name "n$node" --data-dir "$folder/$node" \
        --listen-client-urls "http://${client[node]}" --advertise-client-urls "http://${client[node]}" \
        --listen-peer-urls "http://${peer[node]}" --initial-advertise-peer-urls "http://${peer[node]}" \
        --initial-cluster "$cluster" --log-level error >"$folder/$node.log" 2>&1 &
    pids+=($!)
done
for node in 0 1 2; do
    for _ in $(seq 200); do
        curl -sf "http://${client[node]}/health" 2>/dev/null | grep -q '"true"' && continue 2
        sleep 0.1
    done
    echo "etcd did not start:"; cat "$folder/$node.log"; exit 1
done
etcd --version | sed -n 1p
cargo bench --locked -q -p level4 --bench throughput -- --etcd "$(IFS=,; echo "${client[*]}")" "$@"

#!/usr/bin/env bash
# Asks the API of `umedsam serve` what its own description allows, and what it does not, by schemathesis: no answer may
# be a fault of the server (5xx), or one that the description does not know.
#
#     edge-demo/tests/schema.sh UMEDSAM SCHEMATHESIS          # the second is what tests/clients.sh schemathesis prints
set -euo pipefail
umedsam=$(realpath "$1") schemathesis=$2
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
# Every example may ask for a session of its own.
"$umedsam" serve --port 0 --sessions 60000 edge-demo/assets/cell.png >"$work/server.txt" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" || true; rm -rf "$work"' EXIT
for _ in $(seq 100); do
  address=$(sed -n 's#^\(http://[^ ]*\)/ .*#\1#p' "$work/server.txt")
  [ -z "$address" ] || break
  sleep 0.1
done
[ -n "$address" ] || { cat "$work/server.txt" >&2 && exit 1; }

# An image that is there, so that requests get beyond a 404.
ids=$(python3 - "$address/api/v1" <<'PY'
import json, sys, urllib.request
def post(path, body):
    request = urllib.request.Request(sys.argv[1] + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request))
session = post("/sessions", {})["session"]
print(session, post(f"/sessions/{session}/offers/0", {})["image"])
PY
)
# The schema cannot say what a file or a box must be beyond its type, so that a request by it may be refused.
common=(--exclude-checks positive_data_acceptance --seed 1 --workers 1 --no-color)
# asked NAME ARGUMENT...
asked() {
  local name=$1
  shift
  (cd "$work" && "$schemathesis" "$@" "${common[@]}" "$address/api/v1/openapi.json" >"$name.txt" 2>&1) ||
    { sed -n '/FAILURES/,$p' "$work/$name.txt" && echo "schema.sh: $name failed" && exit 1; }
  echo "schema.sh: $name: $(sed -n 's/^ *\([0-9]* generated.*\)/\1/p' "$work/$name.txt")"
}
printf '[parameters]\nsession = "%s"\nimage = %s\n' $ids >"$work/ids.toml"
asked "requests about an image" --config-file "$work/ids.toml" run --mode positive --exclude-method DELETE --max-examples 4
asked "requests of all kinds" run --max-examples 30

#!/usr/bin/env bash
# A deployment, to copy and adapt: stop services, migrate, build indexes, start services.
#
#   DATABASE_URL=postgresql://… ./deploy.sh
#
# Options to `lunadex apply` go behind it: `./deploy.sh --fail-on never` lets no index ever stop a deployment.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
lunadex=${LUNADEX:-lunadex}
: "${DATABASE_URL:?the database to deploy to}"

stop_services() { echo "stop services"; }   # systemctl stop web worker
start_services() { echo "start services"; } # systemctl start web worker
migrate() { psql -X -q -v ON_ERROR_STOP=1 -1 -d "$DATABASE_URL" -f "$here/migrate.sql"; }

stop_services

echo "run migrations"
# A failed migration ends the deployment here (set -e), with the services down, as it must.
PGOPTIONS="-c client_min_messages=warning" migrate

echo "build indexes"
status=0
# Safe to repeat: what exists is skipped. It waits for locks (5 minutes) and tries again (10 times) by itself.
"$lunadex" apply "$here/indexes.lua" --target "$DATABASE_URL" "$@" || status=$?

case $status in
  0) ;; # all built, or only non-critical ones failed: they were reported above
  3)
    echo "deploy: a critical index is missing: services stay down." >&2
    echo "deploy: mend what is reported above, then run this again; nothing is built twice." >&2
    ;;
  4) echo "deploy: another run is building indexes in this database; run this again when it is done." >&2 ;;
  5) echo "deploy: the database cannot be reached." >&2 ;;
  130 | 143) echo "deploy: interrupted; nothing half built is left behind." >&2 ;;
  *) echo "deploy: lunadex failed with status $status." >&2 ;;
esac
[[ $status == 0 ]] || exit "$status"

start_services

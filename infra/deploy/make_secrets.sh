#!/usr/bin/env bash
# Makes what compose.yaml and kustomization.yaml read and no repository holds: .env, secrets/, and the folders of data.
#
#   infra/deploy/make_secrets.sh DOMAIN DATA     as example.org /srv/modnet-data
#
# The services run as the user who calls this, or as 10001 where that is root. The certificate is yours to bring:
# secrets/tls.pem (with its chain) and secrets/tls.key, for prefect.DOMAIN, s3.DOMAIN and ingest.DOMAIN.
set -euo pipefail
umask 077
domain=${1:?make_secrets.sh DOMAIN DATA} data=$(realpath -m "${2:?make_secrets.sh DOMAIN DATA}")
cd "$(dirname "$0")"
[ ! -e secrets ] || { echo "$PWD/secrets is there already: secrets are made once, change them by hand" >&2; exit 1; }
authorities=/etc/ssl/certs/ca-certificates.crt  # Debian's place; Fedora and others have it elsewhere
[ -r $authorities ] || { echo "$authorities is missing: install ca-certificates" >&2; exit 1; }
command -v openssl >/dev/null || { echo "openssl is missing: install it" >&2; exit 1; }
uid=$(id -u) gid=$(id -g)
if [ "$uid" = 0 ]; then uid=10001 gid=10001; fi

secret() { od -An -N30 -tx1 /dev/urandom | tr -d ' \n'; }
database=$(secret) prefect=$(secret) pipeline=$(secret) ingest=$(secret) ray=$(secret)

mkdir -p "$data"/{postgres,store,prefect,devices,keys,cache}
mkdir secrets.new
pipeline_keys="AWS_ACCESS_KEY_ID=pipeline
AWS_SECRET_ACCESS_KEY=$pipeline"
cat > .env <<END
COMPOSE_PROJECT_NAME=modnet
MODNET_DOMAIN=$domain
MODNET_DATA=$data
MODNET_UID=$uid
MODNET_GID=$gid
END
cat > secrets.new/postgres.env <<END
POSTGRES_PASSWORD=$database
END
cat > secrets.new/prefect.env <<END
PREFECT_SERVER_DATABASE_PASSWORD=$database
PREFECT_SERVER_API_AUTH_STRING=$prefect
END
cat > secrets.new/worker.env <<END
PREFECT_API_AUTH_STRING=$prefect
RAY_AUTH_TOKEN=$ray
$pipeline_keys
END
cat > secrets.new/ray.env <<END
RAY_AUTH_TOKEN=$ray
$pipeline_keys
END
cat > secrets.new/ingest.env <<END
PREFECT_API_AUTH_STRING=$prefect
AWS_ACCESS_KEY_ID=ingest
AWS_SECRET_ACCESS_KEY=$ingest
END
cat > secrets.new/store.json <<END
{"pipeline": "$pipeline", "ingest": "$ingest"}
END
cp $authorities secrets.new/authorities.pem
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=modnet ray" \
  -keyout secrets.new/ray-authority.key -out secrets.new/ray-authority.pem 2>/dev/null  # of Ray's nodes in Kubernetes
chown -R "$uid:$gid" secrets.new "$data"
mv secrets.new secrets  # last: secrets that are there are whole

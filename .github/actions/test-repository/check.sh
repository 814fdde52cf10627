#!/usr/bin/env bash
# check.sh turns the inputs of the action, which it finds in its environment, into
# the arguments of tufops-client check. What is empty or 0 is not asked for.
set -euo pipefail

owner=${GITHUB_REPOSITORY%/*} name=${GITHUB_REPOSITORY#*/}
site=https://$owner.github.io/$name
# The repository that has the name of an owner's site is at its top.
if [ "${name,,}" = "${owner,,}.github.io" ]; then site=https://$owner.github.io; fi
metadata=${METADATA_URL:-$site/metadata/}
metadata=${metadata%/}/
artifacts=${ARTIFACT_URL:-${metadata%/}}
if [ -z "$ARTIFACT_URL" ]; then
  artifacts=${artifacts%/metadata}/targets/
fi

args=(--metadata-url "$metadata" --artifact-url "$artifacts")
if [ -n "$UPDATE_BASE_URL" ]; then args+=(--update-base-url "$UPDATE_BASE_URL"); fi
if [ -n "$EXPECTED_ARTIFACT" ]; then args+=(--expected-artifact "$EXPECTED_ARTIFACT"); fi
if [ "$COMPARE_SOURCE" = true ]; then args+=(--compare-source source/metadata); fi
if [ "$VALID_DAYS" != 0 ]; then args+=(--valid-days "$VALID_DAYS"); fi
if [ "$OFFLINE_VALID_DAYS" != 0 ]; then args+=(--offline-valid-days "$OFFLINE_VALID_DAYS"); fi
if [ -n "$METADATA_DIR" ]; then args+=(--metadata-dir "$METADATA_DIR"); fi
if [ -e root.json ]; then args+=(--initial-root root.json); fi

echo "Testing $metadata, artifacts at $artifacts"
exec "$TUFOPS_CLIENT" check "${args[@]}"

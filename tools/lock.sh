#!/bin/sh
# Writes the lock files: every version and the hash of every file, and the name of no index or host.
# Arguments of pip-compile may follow: `sh tools/lock.sh --upgrade`.
set -eu
cd "$(dirname "$0")/.."

for name in requirements-build requirements requirements-demo requirements-dev requirements-docs requirements-supply requirements-legacy-sdk; do
    .venv/bin/python -m piptools compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header --no-annotate \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file "$name.txt" "$name.in" "$@"
done

cd tests/sdk
npm install --package-lock-only --ignore-scripts --no-audit --no-fund --loglevel=error
# The lock names no host: the hash alone identifies a package.
sed -i.bak '/^ *"resolved": /d' package-lock.json && rm package-lock.json.bak

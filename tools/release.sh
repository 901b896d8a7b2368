#!/bin/sh
# A release that anyone can build again and verify without a network:
#
#   tools/release.sh build FOLDER                              the wheel and the source distribution, built twice and compared
#   tools/release.sh sign FOLDER KEY                           a list of digests, signed with an SSH key
#   tools/release.sh verify FOLDER ALLOWED_SIGNERS IDENTITY    the signature, every digest, and that nothing else is there
#
# docs/how-to/release.md describes the steps around them.
set -eu
namespace=cdp-release

case "${1:-} $#" in
"build 2")
    root=$(cd "$(dirname "$0")/.." && pwd)
    mkdir "$2"
    out=$(cd "$2" && pwd)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    SOURCE_DATE_EPOCH=$(git -C "$root" log -1 --format=%ct)
    export SOURCE_DATE_EPOCH
    for name in first second; do
        mkdir "$work/$name"
        git -C "$root" archive HEAD | tar -x -C "$work/$name"
        (cd "$work/$name" && "$root/.venv/bin/python" -m hatchling build -d "$work/$name.dist")
    done
    diff -r "$work/first.dist" "$work/second.dist"
    cp "$work"/first.dist/* "$out/"
    ;;
"sign 3")
    cd "$2"
    rm -f SHA256SUMS SHA256SUMS.sig
    sha256sum -- * >"$OLDPWD/.SHA256SUMS.$$"
    mv "$OLDPWD/.SHA256SUMS.$$" SHA256SUMS
    case "$3" in /*) key=$3 ;; *) key=$OLDPWD/$3 ;; esac
    ssh-keygen -q -Y sign -f "$key" -n "$namespace" SHA256SUMS
    ;;
"verify 4")
    ssh-keygen -q -Y verify -f "$3" -I "$4" -n "$namespace" -s "$2/SHA256SUMS.sig" <"$2/SHA256SUMS"
    cd "$2"
    sha256sum --check --strict --quiet SHA256SUMS
    for file in *; do
        case "$file" in SHA256SUMS | SHA256SUMS.sig) continue ;; esac
        grep -qF "  $file" SHA256SUMS || {
            echo "$file is not in the signed list" >&2
            exit 1
        }
    done
    echo "verified: $(wc -l <SHA256SUMS) files, signed by $4"
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac

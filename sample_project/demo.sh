#!/bin/sh
# Replays Pegasus's incident with the sample server and prevents it twice: with a new pack from
# bundle-fix, and by repairing the old pack. `make sample` runs this script after the build.
#
#   demo.sh BIN BUILD OUT
#
# BIN is the directory of bundle-fix and python, BUILD the CMake build tree, OUT the output
# directory for packs and reports.
set -eu

bin=$1 build=$2 out=$3
sample=$(dirname "$0")
rm -rf "$out"
mkdir -p "$out/old" "$out/new"

title() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || title() { printf '\n%s\n' "$*"; }
indent() { sed 's/^/    /'; }

# Run the server of a pack on a host with tcmalloc 4.4.5 and a decoy of every other library. If no
# sandbox is possible, run it on this machine.
serve() {
    pack=$1
    shift
    status=0
    "$bin/bundle-fix" run --decoy "$build/host/libtcmalloc_and_profiler.so.4" "$@" "$pack" \
        bin/pegasus_server --demo /tmp/db >"$out/report" 2>"$out/log" || status=$?
    if [ "$status" = 2 ]; then
        echo "$(tail -n 1 "$out/log"); running on this machine instead:"
        rm -rf "$out/unpacked"
        mkdir "$out/unpacked"
        tar xzf "$pack" -C "$out/unpacked" --strip-components=1
        status=0
        (cd / && "$(cd "$OLDPWD" && cd "$out/unpacked" && pwd)/bin/pegasus_server" --demo) \
            >"$out/log" 2>&1 || status=$?
        : >"$out/report"
    fi
    grep -E '^allocator:|free invalid|cannot open|^done' "$out/log" || tail -n 2 "$out/log"
    # The findings without their explanations, and the result.
    head -n 1 "$out/report" | sed 's/^.*server: //'
    sed -n '/^error BF/,/^  why: /{/^  why: /!p;}' "$out/report"
    echo "exit code $status"
    echo "$status" >"$out/status"
}
# Run bundle-fix, which prints the path of its output; print its messages only if it fails.
run_bundle_fix() {
    "$bin/bundle-fix" "$@" 2>"$out/progress" || { cat "$out/progress" >&2; exit 1; }
}
require_success() {
    [ "$(cat "$out/status")" = 0 ] && return
    echo "demo.sh: the server did not exit with 0" >&2
    exit 1
}

title "1. The pack of the old script: tcmalloc under its development name, RUNPATH ."
old=$("$sample/old_pack.sh" "$sample" "$build" "$out/old")
echo "\$ bundle-fix check old/$(basename "$old")"
status=0
(cd "$out" && "$bin/bundle-fix" check "old/$(basename "$old")") >"$out/check" || status=$?
# The verdict, what the pack requires, and the first cause: up to the second empty line.
awk 'NF == 0 && ++blank == 2 { exit } { print }' "$out/check" | sed 's/^.*: FAILED/FAILED/'
echo "  … $(grep -c '^error BF' "$out/check") causes of errors; full report: $out/check"
tail -n 2 "$out/check"
[ "$status" = 1 ]
echo "\$ bundle-fix run --decoy older/libtcmalloc_and_profiler.so.4 …"
serve "$old" --env LD_LIBRARY_PATH=/opt/pack/bin | indent

title "2. The same pack, made from a spec"
echo "\$ bundle-fix pack sample_project/bundle.toml"
new=$(run_bundle_fix pack "$sample/bundle.toml" -o "$out/new" -D build="$build")
echo "new/$(basename "$new")"
grep RUNPATH "$out/progress" | head -n 3 | indent
serve "$new" | indent
require_success

title "3. The old pack, repaired"
echo "\$ bundle-fix fix old/$(basename "$old")"
fixed=$(run_bundle_fix fix "$old")
echo "old/$(basename "$fixed")"
{ head -n 2 "$out/progress"; tail -n 1 "$out/progress"; } | indent
"$bin/bundle-fix" check "$fixed" | sed "s,.*/,old/," | head -n 1
serve "$fixed" | indent
require_success

title "4. The core file of the old pack's server"
# Where kernel.core_pattern is a file name, the server leaves a core file in its working directory.
mkdir "$out/crash"
tar xzf "$old" -C "$out/crash" --strip-components=1
(cd "$out/crash" && ulimit -c unlimited \
    && LD_LIBRARY_PATH="$build/host:$PWD/bin" sh -c 'bin/pegasus_server --demo; true') \
    >"$out/log" 2>&1 || true
core=$(find "$out/crash" -maxdepth 1 -name '*core*' | head -n 1)
if [ -n "$core" ]; then
    echo "\$ bundle-fix inspect core --against old/$(basename "$old")"
    "$bin/bundle-fix" inspect "$core" --against "$old" -q >"$out/inspect" || true
    head -n 3 "$out/inspect" | sed "s,$build/,,g"
else
    echo "    no core file: kernel.core_pattern sends it elsewhere"
fi

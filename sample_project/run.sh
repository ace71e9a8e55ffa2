#!/bin/sh
# Start a program of the tools pack.
if [ $# -eq 0 ]; then
    echo "usage: run.sh shell|bench|kill_test|pressureclient|rproxy [ARGUMENT...]" >&2
    exit 2
fi
tool=pegasus_$1
shift
exec "$(dirname "$0")/bin/$tool/$tool" "$@"

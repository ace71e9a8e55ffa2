#!/bin/sh
# Send a mail: sendmail.sh TO SUBJECT. Pegasus's collector calls this script if a cluster is
# unhealthy; this stand-in only prints the message.
if [ $# -ne 2 ]; then
    echo "usage: sendmail.sh TO SUBJECT" >&2
    exit 2
fi
echo "would send mail to $1: $2"

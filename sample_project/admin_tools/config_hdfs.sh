#!/bin/sh
# Source this file before the server is started: it sets CLASSPATH for libhdfs.
if [ -d "${HADOOP_HOME:-}/etc/hadoop" ]; then
    export CLASSPATH="$HADOOP_HOME/etc/hadoop:${CLASSPATH:-}"
else
    echo "config_hdfs.sh: HADOOP_HOME is not set to a Hadoop directory: no backups to HDFS" >&2
fi

#!/bin/sh
# Meant to be sourced before the server starts: tells libhdfs where Hadoop's jars are.
if [ -d "${HADOOP_HOME:-}/etc/hadoop" ]; then
    export CLASSPATH="$HADOOP_HOME/etc/hadoop:${CLASSPATH:-}"
else
    echo "config_hdfs.sh: HADOOP_HOME is not set to a Hadoop directory: no backups to HDFS" >&2
fi

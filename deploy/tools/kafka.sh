#!/usr/bin/env bash
# Fetches Apache Kafka's jars into .tools/kafka/libs, by Maven, pinned by version. What lacks is installed, where it can be.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=4.1.0
target=.tools/kafka
if [ "$(cat "$target/version" 2>/dev/null)" = "$version" ] && command -v java >/dev/null; then exit 0; fi

need() { # PROGRAM PACKAGE
  command -v "$1" >/dev/null && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $2"
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$2"; } >/dev/null || true
  fi
  command -v "$1" >/dev/null || { echo "$1 is needed to run Apache Kafka: install $2, or what your system calls it." >&2; exit 1; }
}
need java default-jre-headless
need mvn maven

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching Apache Kafka $version, 43 MB"
cat > "$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>penstock</groupId>
  <artifactId>kafka</artifactId>
  <version>$version</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
POM
mvn -q -B -f "$work/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
  -DoutputDirectory="$work/libs"
rm -rf "$target"
mkdir -p "$target"
mv "$work/libs" "$target/libs"
echo "$version" > "$target/version"

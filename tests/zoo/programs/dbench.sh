# packages: dbench
# seconds: 60
# A file server's load of four clients.
set -e
dbench -q -t 4 -c /usr/share/dbench/client.txt 3 > o 2>&1 || dbench -t 4 3 > o 2>&1; grep -c Throughput o; ls | wc -l

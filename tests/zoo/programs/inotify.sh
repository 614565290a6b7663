# packages: inotify-tools
# inotifywait is told of files made, moved and removed.
set -e
mkdir d; inotifywait -q -m -e create,modify,delete,moved_to,moved_from --format '%e %f' d > log & p=$!
sleep 1; echo x > d/a; mv d/a d/b; rm d/b
for _ in $(seq 100); do grep -q DELETE log && break; sleep 0.05; done; kill $p; sort -u log

# packages: lighttpd python3
# A web server sends a file of the mount by sendfile.
set -e
mkdir www; seq 100000 > www/f; port=$((20000 + $$ % 20000)); printf 'server.document-root="%s/www"\nserver.port=%s\nserver.bind="127.0.0.1"\nserver.errorlog="%s/e"\n' $PWD $port $PWD > c
lighttpd -D -f c & p=$!; for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null && break; sleep 0.1; done
python3 - $port <<P
import urllib.request,sys,hashlib
d=urllib.request.urlopen("http://127.0.0.1:%s/f"%sys.argv[1]).read(); print(len(d),hashlib.md5(d).hexdigest())
P
kill $p; wait $p 2>/dev/null || true

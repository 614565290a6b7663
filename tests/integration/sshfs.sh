. "$SCENARIO/lib.sh"
. "$XDG_RUNTIME_DIR/environment"
mkdir mnt
rule "sshfs mounts" sshfs -p "$port" -o IdentityFile="$key",StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,BatchMode=yes "$(id -un)@127.0.0.1:$remote" mnt
rule_sh "a file is written" "echo one > mnt/a && cat $remote/a && grep -qx one $remote/a"
rule_sh "mkdir, cp -r, diff" "mkdir -p src/default/sub && for i in 1 2 3 4 5; do seq \$((i * 999)) > src/default/sub/f\$i; done; mkdir mnt/d && cp -r src/default mnt/d/ && diff -r src/default $remote/d/default && diff -r mnt/d/default src/default"
rule_sh "a large file keeps its content" "head -c 8000000 /dev/urandom > big && cp big mnt/big && cmp big $remote/big && cmp big mnt/big"
rule_sh "rename and unlink" "mv mnt/a mnt/b && test -e $remote/b && rm mnt/b && test ! -e $remote/b"
rule_sh "chmod" "touch mnt/m && chmod 600 mnt/m && test \$(stat -c %a $remote/m) = 600"
rule_sh "rm -rf" "rm -rf mnt/d && test ! -e $remote/d"
rule "fusermount3 -u unmounts" fusermount3 -u mnt
finish

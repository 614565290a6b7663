# outside the namespace
# Programs with set-id bits or capabilities work in the namespace, never on the directory under a mount unawares.
. "$SCENARIO/lib.sh"
line="runs without the rights of its set-id bits or capabilities"
mkdir mnt behind
chmod 777 mnt behind
if [ "$WHO" = root ]; then
  for bits in 4755:u 2755:g 6755:ug; do
    cp /usr/bin/touch "${bits#*:}-touch"
    chown 1:1 "${bits#*:}-touch"
    chmod "${bits%:*}" "${bits#*:}-touch"
  done
  for kind in u g ug; do
    rule_sh "root's set-id program works on the mount: $kind" "fusewire run -- bash -ec 'bindfs behind mnt; ./$kind-touch mnt/$kind; test ! -e mnt/none; fusermount -u mnt; test ! -e mnt/$kind' 2> said; test -e behind/$kind; ! grep '$line' said"
  done
  rule "with the ids that the bits give" test "$(stat -c %u behind/u):$(stat -c %g behind/g):$(stat -c %u:%g behind/ug)" = 1:1:1:1
  cp /usr/bin/id set-id && chown 1:1 set-id && chmod 6755 set-id
  rule_sh "natively it is the same" "test \"\$(fusewire run -- ./set-id)\" = \"\$(./set-id)\""
  rule_sh "a program told that it has other rights knows: AT_SECURE" "LD_SHOW_AUXV=1 LD_PRELOAD=/none.so fusewire run -- ./set-id 2>&1 | { ! grep none.so; }"
  rule_sh "a program of a mount with suid has them" "fusewire run -- bash -ec 'bindfs -o suid behind mnt; cp /usr/bin/id mnt/; chown 1:1 mnt/id; chmod 6755 mnt/id; mnt/id -u; mnt/id -g; fusermount -u mnt' > ids; test \"\$(cat ids)\" = \"\$(printf '1\n1')\""
  rule_sh "and of one with nosuid not" "fusewire run -- bash -ec 'bindfs -o nosuid behind mnt; mnt/id -u; mnt/id -g; fusermount -u mnt' > ids 2> said; test \"\$(cat ids)\" = \"\$(printf '0\n0')\"; test ! -s said"
  rule_sh "a failed exec of one changes no id" "printf '\\177ELF' > broken; chown 1:1 broken; chmod 6755 broken; fusewire run -- bash -c './broken 2> /dev/null; id -u' | grep -qx 0"
  rule_sh "no_new_privs: nothing is given, and nothing said" "fusewire run -- setpriv --no-new-privs ./set-id -u 2> said | grep -qx 0; test ! -s said"
  rule_sh "who is not root goes without" "fusewire run -- setpriv --reuid 65534 --regid 65534 --clear-groups ./set-id -u 2> said | grep -qx 65534; grep -q '$line' said"
  if command -v setcap > /dev/null; then
    cp /usr/bin/id capable && setcap cap_net_raw+ep capable
    rule_sh "capabilities of a file too" "fusewire run -- setpriv --reuid 65534 --regid 65534 --clear-groups ./capable -u 2> said | grep -qx 65534; grep -q '$line.*/capable' said"
  fi
  rule_sh "with --native-setid it runs outside" "fusewire run --native-setid -- bash -ec 'bindfs behind mnt; ./u-touch mnt/out; fusermount -u mnt'; test -e mnt/out; test ! -e behind/out"
else
  program=$(find /usr/bin /bin -maxdepth 1 -name su -perm -4000 | head -1)
  [ -n "$program" ] || { echo "skipped: no set-user-ID program"; exit 77; }
  rule_sh "a user's set-user-ID program runs without its right" "fusewire run -- bash -c '$program --version; $program --version' > out 2> said; grep -c su out | grep -qx 2"
  rule "and that is said once" test "$(grep -c "$line.*$program" said)" = 1
  rule_sh "not of mount, which needs no right here" "fusewire run -- mount --version > out 2> said; test ! -s said"
fi
if [ "$WHO" = user ] && unshare -Ur true 2> /dev/null; then
  rule "bits of an owner whom the user namespace does not know give nothing" unshare -Ur su --version
fi
finish

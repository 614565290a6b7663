#!/usr/bin/env bash
# What make install and make package give: files where they belong, a program that runs alone, a package that lintian
# accepts. usage: installed.sh BUILD
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1")
work=$(mktemp -d "${TMPDIR:-/tmp}/fusewire-test.XXXXXX")
trap 'rm -rf "$work"' EXIT
. tests/integration/lib.sh
cd "$work" || exit 1
source=$OLDPWD

DESTDIR=$work/root cmake --install "$build" --prefix /usr --component fusewire > /dev/null || exit 1
rule "the program is installed, and runs" "$work/root/usr/bin/fusewire" --version
rule_sh "it needs no library" "! readelf -d '$work/root/usr/bin/fusewire' | grep NEEDED && ! readelf -l '$work/root/usr/bin/fusewire' | grep interpreter"
rule "DESTDIR holds everything" test "$(ls "$work")" = "$(printf 'root\nrule.out')"
for page in fusewire run trace fs ps abort umount doctor; do
  name=fusewire-$page
  [ "$page" = fusewire ] && name=fusewire
  rule "the manual page $name(1) can be shown" bash -c "man -l '$work/root/usr/share/man/man1/$name.1' | grep -q NAME"
done
rule "bash reads its completion" bash -n root/usr/share/bash-completion/completions/fusewire
rule_sh "and completes by it" ". '$work/root/usr/share/bash-completion/completions/fusewire'; COMP_WORDS=(fusewire um) COMP_CWORD=1; _fusewire; test \"\${COMPREPLY[*]}\" = umount"
if command -v zsh > /dev/null; then rule "zsh reads its completion" zsh -n root/usr/share/zsh/vendor-completions/_fusewire; fi
if command -v fish > /dev/null; then
  rule_sh "fish completes by its own" "test \"\$(HOME=$work fish -c 'source $work/root/usr/share/fish/vendor_completions.d/fusewire.fish; complete -C \"fusewire um\"' | cut -f1)\" = umount"
fi

cp -r "$source"/{CMakeLists.txt,scripts,packaging,LICENSE,README.md} . && ln -s "$build" build-of-program
rule "a package and an archive are made" env SOURCE_DATE_EPOCH=1760000000 PACKAGE_DIR="$work/package" scripts/package "$build"
deb=$(echo package/*.deb) archive=$(echo package/*.tar.gz)
rule_sh "the package holds the program" "dpkg-deb -c '$deb' > list && grep -q ' ./usr/bin/fusewire$' list"
rule "the archive's program runs where it is unpacked" bash -c "tar xzf '$archive' && fusewire-*/bin/fusewire --version"
if command -v lintian > /dev/null; then
  chmod 755 . package && chmod 644 package/*
  as_user=()
  [ "$(id -u)" -eq 0 ] && as_user=(setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent)
  rule "lintian has looked" bash -c "cd / && ${as_user[*]} lintian '$work/$deb' > '$work/findings' 2>&1"
  rule_sh "and found nothing" "cat findings; test ! -s findings"
fi
finish

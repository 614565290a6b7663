# quick
# A tree is packed, unpacked and compared.
set -e
mkdir t && cp -r /usr/share/doc/b* t/ 2> /dev/null; ln -s x t/link; tar cf t.tar t && mkdir u && tar xf t.tar -C u && diff -r --no-dereference t u/t && tar df t.tar && tar czf - t | tar tzf - | wc -l

# packages: emacs-nox
# A file is edited and saved, its backup beside it.
set -e
printf 'one\ntwo\n' > f; emacs -nw -Q --batch f --eval '(progn (replace-string "two" "three") (save-buffer))' 2> /dev/null; cat f; ls

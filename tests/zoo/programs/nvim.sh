# packages: neovim
# Edits, with an undo file.
set -e
seq 10 > f; HOME=$PWD nvim --headless -u NONE +'%s/5/five/' +wq f 2>/dev/null; grep five f; HOME=$PWD nvim --headless -u NONE +'set undofile undodir=.' +'norm dd' +wq f 2>/dev/null; wc -l f; ls -a | wc -l

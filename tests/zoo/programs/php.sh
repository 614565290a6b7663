# packages: php-cli
# Locks, links and sessions.
set -e
echo '<?php $f=fopen("x","c+"); flock($f,LOCK_EX); fwrite($f,"hello"); fflush($f); rewind($f); echo fread($f,9),"\n"; symlink("x","y"); echo readlink("y"),"\n"; session_save_path("."); session_id("abc"); session_start(); $_SESSION["a"]=1; session_write_close(); echo file_get_contents("sess_abc"),"\n"; foreach (glob("*") as $g) echo $g," "; echo disk_free_space(".")>0?"\n":"no\n";' > a.php; php a.php 2>/dev/null

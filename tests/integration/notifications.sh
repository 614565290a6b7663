# What a daemon notifies is told to who watches, by inotify and by F_NOTIFY.
. "$SCENARIO/lib.sh"
mkdir mnt
rule_sh "watchers are told of what the daemon notifies" 'python3 "$SCENARIO/programs/notifying_daemon.py" mnt > told 2>&1 || { cat told; exit 1; }; grep -qx "told well" told'
finish

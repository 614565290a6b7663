# packages: mariadb-server
# seconds: 120
# Tables of InnoDB and Aria, kill -9, and recovery.
set -e
[ "$(id -u)" = 0 ] && u=--user=root || u=""
mariadb-install-db --no-defaults $u --datadir=$PWD/data --auth-root-authentication-method=normal > o 2>&1
mariadbd --no-defaults $u --datadir=$PWD/data --socket=$PWD/s --skip-networking --pid-file=$PWD/p > log 2>&1 & p=$!
for i in $(seq 300); do mariadb-admin --no-defaults -u root -S $PWD/s ping > /dev/null 2>&1 && break; sleep 0.1; done
mariadb --no-defaults -u root -S $PWD/s -e 'create database d; use d; create table t(i int primary key, s varchar(100)) engine=innodb; insert into t select seq, repeat("x",50) from seq_1_to_5000; create table m(i int) engine=aria; insert into m select seq from seq_1_to_1000; select count(*), sum(i) from t; select sum(i) from m; check table t; alter table t add index(s); delete from t where i%2; select count(*) from t'
kill -9 $p; wait $p 2>/dev/null || true
mariadbd --no-defaults $u --datadir=$PWD/data --socket=$PWD/s --skip-networking --pid-file=$PWD/p > log2 2>&1 & p=$!
for i in $(seq 300); do mariadb-admin --no-defaults -u root -S $PWD/s ping > /dev/null 2>&1 && break; sleep 0.1; done
mariadb --no-defaults -u root -S $PWD/s -e 'select count(*) from d.t; check table d.t'; mariadb-admin --no-defaults -u root -S $PWD/s shutdown; wait $p

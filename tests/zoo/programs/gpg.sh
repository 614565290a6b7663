# packages: gnupg
# A key made, a file signed and verified: the agent listens on a socket in its home.
set -e
mkdir -m 700 h; export GNUPGHOME=$PWD/h
gpg --batch --quiet --passphrase '' --quick-gen-key zoo@example.org ed25519 sign never 2> /dev/null
echo text > t && gpg --batch --quiet --detach-sign t 2> /dev/null && gpg --verify t.sig t 2> /dev/null && echo verified
gpgconf --kill all

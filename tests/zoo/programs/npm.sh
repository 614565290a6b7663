# seconds: 200
# A package of one's own is installed from a directory, with its lock file.
set -e
command -v npm > /dev/null
mkdir -p lib app && cd lib && printf '{"name":"lib","version":"1.0.0","main":"i.js"}' > package.json && echo 'module.exports = 42' > i.js
npm pack --silent > /dev/null && cd ../app && printf '{"name":"app","version":"1.0.0"}' > package.json
npm install --offline --no-audit --no-fund --silent --cache "$PWD/../cache" ../lib/lib-1.0.0.tgz > /dev/null
node -e 'console.log(require("lib"))'; ls node_modules

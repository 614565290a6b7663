# fs.watch tells of a change, and fs's usual calls work.
set -e
command -v node > /dev/null
cat > w.js <<'JS'
const fs = require('fs');
fs.mkdirSync('d');
const watcher = fs.watch('d', (kind, name) => { if (name === 'x') { console.log('seen', name); watcher.close(); } });
setTimeout(() => fs.writeFileSync('d/x', 'hello'), 100);
setTimeout(() => { console.log('nothing was seen'); process.exit(1); }, 15000).unref();
fs.promises.writeFile('a', 'x'.repeat(300000)).then(() => fs.promises.stat('a')).then(s => console.log(s.size));
JS
node w.js | sort

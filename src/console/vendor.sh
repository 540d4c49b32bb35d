#!/usr/bin/env bash
# `make vendor`: fetches the console's two libraries from npm at fixed versions and writes them, with their licences,
# to src/console/vendor. What it writes is committed: building siskin needs neither npm nor a network.
set -euo pipefail
cd "$(dirname "$0")"
socketio=socket.io-client@4.8.4
yjs=(yjs@13.6.33 y-protocols@1.0.7 lib0@0.2.120)
esbuild=esbuild@0.28.2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
npm install --silent --no-audit --no-fund --prefix "$work" "$socketio" "${yjs[@]}" "$esbuild"
modules=$work/node_modules

# socket.io-client publishes an ES build of its own. Its source map isn't here, so nobody shall look for it.
grep -v '^//# sourceMappingURL' "$modules/socket.io-client/dist/socket.io.esm.min.js" >vendor/socket.io.js

# Yjs as one file with all that it exports, and the awareness protocol. The console needs the browser's parts alone.
cat >"$work/yjs.js" <<'END'
export * from "yjs";
export * as awareness from "y-protocols/awareness";
END
"$modules/.bin/esbuild" "$work/yjs.js" --bundle --format=esm --minify --target=es2022 --legal-comments=none --log-level=warning \
  --banner:js="/*! ${yjs[*]}, MIT, see LICENSES.txt */" --outfile=vendor/yjs.js

# licence NAME FOLDER...: the licence of the first folder that has one.
licence() {
  local name=$1 file
  file=$(find "${@:2}" -maxdepth 1 -iname 'licen[sc]e*' -print -quit)
  [ -n "$file" ] || { echo "$name comes without its licence" >&2; exit 1; }
  printf '== %s\n\n' "$name"
  cat "$file"
  printf '\n'
}
{
  for name in socket.io-client engine.io-client socket.io-parser engine.io-parser @socket.io/component-emitter yjs y-protocols lib0; do
    licence "$name $(node -p "require('$modules/$name/package.json').version")" "$modules/$name"
  done
} >vendor/LICENSES.txt

for file in vendor/*; do
  printf '%7d bytes, %6d gzipped  %s\n' "$(wc -c <"$file")" "$(gzip -9c "$file" | wc -c)" "src/console/$file"
done

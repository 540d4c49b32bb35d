#!/usr/bin/env bash
# install.sh [VERSION...|all]: installs the real Open WebUI, without its models, each version into an environment of its own:
# .versions/VERSION. Without a version those that `make test` plays: the newest and an old one. Quick when they are there.
set -euo pipefail
cd "$(dirname "$0")"

[ $# -gt 0 ] || set -- $(sed -n 's/^gate: //p' versions.txt)
[ "$1" != all ] || set -- $(sed -n 's/^all: //p' versions.txt)

# What an old one imports at its start, where its wheel says no more than "everything"; the versions are the wheel's.
needed="fastapi uvicorn pydantic python-multipart itsdangerous python-socketio python-jose cryptography bcrypt argon2-cffi pyjwt authlib
joserfc requests aiohttp async-timeout aiocache aiofiles starlette-compress httpx starsessions sqlalchemy aiosqlite alembic peewee
peewee-migrate pycrdt redis apscheduler loguru asgiref tiktoken mcp openai langchain langchain-community langchain-classic
langchain-text-splitters chromadb fake-useragent ftfy chardet beautifulsoup4 validators psutil pillow rank-bm25 black
youtube-transcript-api ddgs fpdf2 pymdown-extensions markdown pydub azure-ai-documentintelligence azure-identity azure-storage-blob
google-cloud-storage googleapis-common-protos boto3 ldap3 restrictedpython python-mimeparse pytz python-dateutil pyyaml typer brotli
orjson pyotp qrcode"

uv=.versions/uv/bin/uv
if [ ! -x $uv ]; then
  python3 -m venv .versions/uv
  .versions/uv/bin/pip install -q uv==0.13.9
fi

# requirements WHEEL FOLDER: what it needs, a line each.
requirements() {
  python3 - "$1" "$needed" <<'PYTHON'
import re, sys, zipfile

wheel, needed = zipfile.ZipFile(sys.argv[1]), sys.argv[2].split()
if "requirements-slim.txt" in wheel.namelist():
    print(wheel.read("requirements-slim.txt").decode())
    sys.exit()
[metadata] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
pins = re.findall(r"^Requires-Dist: (([\w.-]+)[^;\n]*)$", wheel.read(metadata).decode(), re.M)
pins = {name.lower().replace("_", "-"): pin for pin, name in pins}
# These two come with something that is left out.
for name in needed:
    if name in pins or name in ("beautifulsoup4", "pytz"):
        print(pins.get(name, name))
PYTHON
}

for version in "$@"; do
  folder=.versions/$version
  [ ! -f "$folder/stamp" ] || continue
  rm -rf "$folder" && mkdir -p "$folder"
  echo "installs Open WebUI $version"
  .versions/uv/bin/pip download -q --no-deps --no-cache-dir -d "$folder" "open-webui==$version"
  requirements "$folder"/open_webui-*.whl >"$folder/requirements.txt"
  $uv venv -q --clear --python '>=3.11,<3.13' "$folder/venv"
  $uv pip install -q --python "$folder/venv" -r "$folder/requirements.txt"
  $uv pip install -q --python "$folder/venv" --no-deps "$folder"/open_webui-*.whl
  rm "$folder"/open_webui-*.whl
  touch "$folder/stamp"
done
newest=$(sed -n 's/^gate: \([^ ]*\).*/\1/p' versions.txt)
[ "$(readlink .venv || true)" = ".versions/$newest/venv" ] || { rm -rf .venv && ln -s ".versions/$newest/venv" .venv; }

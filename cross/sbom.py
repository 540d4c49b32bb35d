#!/usr/bin/env python3
"""sbom.py TARGET [features]: what is built into the binary, as CycloneDX 1.5 JSON on standard output; the same input gives the same bytes.

With --notices instead the licence texts of all that, one after the other. Needs nothing but cargo and Python.
"""

import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid

ROOT = pathlib.Path(__file__).resolve().parent.parent


def metadata(target, features):
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", target, *features]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def linked(graph):
    """The packages that end in the binary: the root, and what it needs other than for building or testing."""
    nodes = {node["id"]: node for node in graph["resolve"]["nodes"]}
    packages = {package["id"]: package for package in graph["packages"]}
    macros = {id for id, package in packages.items() if any("proc-macro" in t["kind"] for t in package["targets"])}
    edges, wait = {}, [graph["resolve"]["root"]]
    while wait:
        id = wait.pop()
        if id in edges:
            continue
        normal = (d for d in nodes[id]["deps"] if any(k["kind"] is None for k in d["dep_kinds"]))
        edges[id] = sorted(d["pkg"] for d in normal if d["pkg"] not in macros)
        wait.extend(edges[id])
    return packages, edges


def checksums():
    """SHA-256 of each crate's archive, as Cargo.lock has them."""
    found, name = {}, None
    for line in (ROOT / "Cargo.lock").read_text().splitlines():
        key, _, value = line.partition(" = ")
        value = value.strip('"')
        if key == "name":
            name = value
        elif key == "version":
            name = (name, value)
        elif key == "checksum":
            found[name] = value
    return found


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, sums):
    entry = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package["license"]:
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    digest = sums.get((package["name"], package["version"]))
    if digest:
        entry["hashes"] = [{"alg": "SHA-256", "content": digest}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def part(kind, name, version, licence):
    """Of what is no crate."""
    purl = f"pkg:{kind}/{name.replace('@', '%40')}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl, "licenses": [{"expression": licence}]}


def standard(target):
    """Rust's standard library, and the C library that it stands on."""
    folder = pathlib.Path(output("bash", str(ROOT / "cross/libc.sh"), target).strip())
    musl = re.search(rb"\0(1\.\d+\.\d+)\0", (folder / "libc.a").read_bytes())[1].decode()
    rust = output("rustc", "--version").split()[1]
    return [part("generic", "rust-std", rust, "MIT OR Apache-2.0"), part("generic", "musl", musl, "MIT")]


def scripts(graph):
    """What the console and the client module hold, as vendor.sh has written it down; all of it under the MIT licence."""
    (root,) = (node for node in graph["resolve"]["nodes"] if node["id"] == graph["resolve"]["root"])
    text = (ROOT / "src/console/vendor/LICENSES.txt").read_text() if "console" in root["features"] else ""
    return [part("npm", *line.split()[1:], "MIT") for line in text.splitlines() if line.startswith("== ")], text


def made_at():
    """When the source is of, if somebody says so."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if not epoch:
        return {}
    return {"timestamp": datetime.datetime.fromtimestamp(int(epoch), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}


def bom(target, features):
    graph = metadata(target, features)
    packages, edges = linked(graph)
    root = packages[graph["resolve"]["root"]]
    sums = checksums()
    rest = sorted((id for id in edges if id != root["id"]), key=lambda id: reference(packages[id]))
    main = {**component(root, sums), "type": "application"}
    others = [*scripts(graph)[0], *standard(target)]
    main["properties"] = [{"name": "cargo:target", "value": target}]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {**made_at(), "authors": [{"name": "siskin"}], "component": main},
        "components": [*(component(packages[id], sums) for id in rest), *others],
        "dependencies": [
            {"ref": reference(packages[id]), "dependsOn": [reference(packages[d]) for d in edges[id]]}
            for id in [root["id"], *rest]
        ],
    }
    document["dependencies"][0]["dependsOn"] += [other["bom-ref"] for other in others]
    # The number names this content: no clock, no chance.
    number = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(document, sort_keys=True))
    return {"bomFormat": "CycloneDX", "serialNumber": number.urn, **document}


def notices(target, features):
    graph = metadata(target, features)
    packages, edges = linked(graph)
    for package in sorted((packages[id] for id in edges if id != graph["resolve"]["root"]), key=reference):
        folder = pathlib.Path(package["manifest_path"]).parent
        names = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE")
        files = sorted(f for f in folder.iterdir() if f.is_file() and f.name.upper().startswith(names))
        yield f"==== {package['name']} {package['version']}: {package['license']} ({package['repository']})\n"
        yield from (f"\n---- {f.name}\n{f.read_text(errors='replace').strip()}\n" for f in files)
        yield "\n"
    yield (ROOT / "cross/notices.txt").read_text()
    yield f"==== In the console and the client module, from npm\n\n{scripts(graph)[1]}"


def main(arguments):
    wanted = [a for a in arguments if a != "--notices"]
    if not wanted:
        sys.exit(__doc__)
    target, features = wanted[0], wanted[1:]
    if len(wanted) < len(arguments):
        sys.stdout.writelines(notices(target, features))
    else:
        print(json.dumps(bom(target, features), indent=2))


main(sys.argv[1:])

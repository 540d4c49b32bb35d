#!/usr/bin/env python3
"""sbom.py TARGET: what is built into the binary, as CycloneDX 1.5 JSON on standard output; the same input gives the same bytes.

With --notices instead the licence texts of those crates, one after the other. Needs nothing but cargo and Python.
"""

import json
import pathlib
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


def bom(target, features):
    graph = metadata(target, features)
    packages, edges = linked(graph)
    root = packages[graph["resolve"]["root"]]
    sums = checksums()
    rest = sorted((id for id in edges if id != root["id"]), key=lambda id: reference(packages[id]))
    rust = subprocess.run(["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[1]
    standard = {
        "type": "library",
        "bom-ref": f"pkg:generic/rust-std@{rust}",
        "name": "rust-std",
        "version": rust,
        "purl": f"pkg:generic/rust-std@{rust}",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
    }
    main = {**component(root, sums), "type": "application"}
    main["properties"] = [{"name": "cargo:target", "value": target}]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": main},
        "components": [component(packages[id], sums) for id in rest] + [standard],
        "dependencies": [
            {"ref": reference(packages[id]), "dependsOn": [reference(packages[d]) for d in edges[id]]}
            for id in [root["id"], *rest]
        ],
    }
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

#!/usr/bin/env python3
"""Writes a CycloneDX document of each program of a release, the services as they are built for production: `sbom.py DIRECTORY`. It compiles nothing."""

import json
import pathlib
import subprocess
import sys
import tomllib
import uuid

PROGRAMS = {
    "order-service": "services/order/page",
    "payment-service": "services/payment",
    "inventory-service": "services/inventory",
    "shipping-service": "services/shipping",
    "saga": "tools/saga",
}
TOOLS = "tools/"


def host():
    lines = subprocess.run(["rustc", "-vV"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return next(line.removeprefix("host: ") for line in lines if line.startswith("host: "))


TARGET = host()


def cargo(command, folder, *arguments):
    of = ["--manifest-path", f"{folder}/Cargo.toml", "--locked"]
    # The services have nothing of the demonstration; the tools can ask for it.
    of += [] if folder.startswith(TOOLS) else ["--no-default-features"]
    return subprocess.run(["cargo", command, *of, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def metadata(folder):
    return json.loads(cargo("metadata", folder, "--format-version", "1", "--filter-platform", TARGET))


def compiled(folder):
    """Names and versions: the metadata has more, all that any feature of the workspace brings."""
    edges = ["--edges", "normal,build", "--target", TARGET, "--prefix", "none", "--format", "{p}"]
    lines = (line.split() for line in cargo("tree", folder, *edges).splitlines())
    return {(words[0], words[1].removeprefix("v")) for words in lines if words}


def reached(resolve, root, wanted):
    """What is compiled into it, or builds it; not what only its tests need."""
    nodes = {node["id"]: node for node in resolve["nodes"]}
    found, waiting = {}, [root]
    while waiting:
        package = waiting.pop()
        if package in found:
            continue
        deps = (dep for dep in nodes[package]["deps"] if any(kind["kind"] != "dev" for kind in dep["dep_kinds"]))
        found[package] = sorted(dep["pkg"] for dep in deps if dep["pkg"] in wanted)
        waiting += found[package]
    return found


def component(package, checksums, reference):
    name, version = package["name"], package["version"]
    one = {"type": "library", "bom-ref": reference, "name": name, "version": version}
    if package["license"]:
        one["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package["source"]:
        one["purl"] = reference
        one["hashes"] = [{"alg": "SHA-256", "content": checksums[name, version]}]
    return one


def document(service, folder, checksums):
    read = metadata(folder)
    packages = {package["id"]: package for package in read["packages"]}
    root = read["resolve"]["root"]
    names = compiled(folder)
    wanted = {of for of, package in packages.items() if (package["name"], package["version"]) in names}
    needs = reached(read["resolve"], root, wanted)
    reference = {of: f"pkg:cargo/{packages[of]['name']}@{packages[of]['version']}" for of in needs}
    parts = {of: component(packages[of], checksums, reference[of]) for of in sorted(needs, key=reference.get)}
    main = {**parts.pop(root), "type": "application", "name": service}
    text = json.dumps([main, list(parts.values())])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # The same for the same parts.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}",
        "version": 1,
        "metadata": {"component": main},
        "components": list(parts.values()),
        "dependencies": [
            {"ref": reference[of], "dependsOn": sorted({reference[need] for need in needs[of]})} for of in needs
        ],
    }


def main(directory):
    out = pathlib.Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    locked = tomllib.loads(pathlib.Path("Cargo.lock").read_text())["package"]
    checksums = {(one["name"], one["version"]): one.get("checksum") for one in locked}
    for service, folder in PROGRAMS.items():
        whole = document(service, folder, checksums)
        path = out / f"{service}.cdx.json"
        path.write_text(json.dumps(whole, indent=1) + "\n")
        print(f"{path}: {len(whole['components'])} components")


main(*sys.argv[1:])

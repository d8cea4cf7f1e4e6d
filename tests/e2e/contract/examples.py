"""Holds every example against its schema: `examples.py openapi.json docs/events shared/events/fixtures`."""

import json
import pathlib
import sys

import jsonschema_rs

DRAFT = "https://json-schema.org/draft/2020-12/schema"


def check(place, schema, value, components):
    schema = {"$schema": DRAFT, **schema, "components": components}
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    for error in validator.iter_errors(value):
        yield f"{place}: {error.message}"


def events(text):
    """Those of a stream, as objects."""
    for event in filter(None, text.split("\n\n")):
        yield dict(line.split(": ", 1) for line in event.splitlines())


def contents(operation):
    yield "request", operation.get("requestBody", {})
    yield from operation["responses"].items()


def of_contract(document):
    components = document["components"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for of, body in contents(operation):
                for media_type, content in body.get("content", {}).items():
                    for name, example in content["examples"].items():
                        place = f"{method} {path} {of} {name}"
                        yield place, media_type, content["schema"], example["value"], components
            parameters = operation.get("parameters", [])
            answers = operation["responses"].values()
            headers = [header for it in answers for header in it.get("headers", {}).values()]
            for it in parameters + headers:
                place = f"{method} {path} {it.get('name', 'header')}"
                yield place, "", it["schema"], it["example"], components


def wrongs(place, media_type, schema, value, components):
    if media_type != "text/event-stream":
        yield from check(place, schema, value, components)
        return
    kinds = {kind["properties"]["event"]["const"]: kind for kind in schema["oneOf"]}
    for event in events(value):
        kind = kinds[event["event"]]
        yield from check(place, kind, event, components)
        data = kind["properties"]["data"]["contentSchema"]
        yield from check(place, data, json.loads(event["data"]), components)


def of_events(documents, fixtures):
    asyncapi = json.loads((documents / "asyncapi.json").read_text())
    messages = asyncapi["components"]["messages"]
    shapes = {
        event: json.loads((documents / message["payload"]["$ref"]).read_text())
        for event, message in messages.items()
    }
    for event, message in messages.items():
        # Those of a service beside the saga have none.
        for example in message.get("examples", []):
            yield f"{event} headers", "", message["headers"], example["headers"], {}
            yield f"{event} payload", "", shapes[event], example["payload"], {}
    for path in sorted(fixtures.iterdir()):
        event = path.stem.rsplit(".", 1)[0]
        yield path.name, "", shapes[event], json.loads(path.read_text())["body"], {}


def main(openapi, documents, fixtures):
    examples = list(of_contract(json.loads(pathlib.Path(openapi).read_text())))
    examples += of_events(pathlib.Path(documents), pathlib.Path(fixtures))
    found = [wrong for example in examples for wrong in wrongs(*example)]
    print("\n".join(found) or f"{len(examples)} examples are what their schemas say")
    sys.exit(bool(found))


main(*sys.argv[1:])

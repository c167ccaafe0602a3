"""Checks an OpenAPI document against the specification, and answers against what it says of them.

Standard input: {"document": ..., "answers": [{"method", "path", "status", "body"}, ...]}, paths as the document has them."""

import json
import sys

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

given = json.load(sys.stdin)
document = given["document"]
validate(document)
registry = Registry().with_resource("urn:api", Resource(document, DRAFT202012))
for answer in given["answers"]:
    responses = document["paths"][answer["path"]][answer["method"]]["responses"]
    response = responses.get(str(answer["status"]), responses["default"])
    schema = {"$id": "urn:api", **document, **response["content"]["application/json"]["schema"]}
    Draft202012Validator(schema, registry=registry).validate(answer["body"])

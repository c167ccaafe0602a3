"""The API reference, made of the contracts while the site is built: every method with its path, permission, fields and errors, as proto/ has them.
Which permission a method asks for is what tests/e2e/permissions.rs tries of it."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# What a descriptor calls its parts, by the numbers that its comments are kept under.
PARTS = {"messageType": 4, "enumType": 5, "service": 6, "field": 2, "value": 2, "method": 2}
TITLES = {"IngestService": "Events in", "QueryService": "Answers out", "MetricsService": "Metrics", "DashboardService": "Dashboards", "AdminService": "Administration", "PublicService": "Without a key"}
INTRODUCTION = """# API

One port speaks gRPC, grpc-web and JSON over HTTP/1.1 and HTTP/2. A key goes into the header `authorization: Bearer KEY`, an embed token likewise.
`GET /openapi.json` is the same as an OpenAPI document, and a gRPC client may ask by reflection. This page is made of `proto/penstock/v1`.

In JSON a field has the name that is written here; 64-bit integers are numbers, and are taken as strings too, instants RFC 3339 (`"2026-01-31T23:00:00Z"`), durations seconds (`"3600s"`).
Fields that are left out have their default. A streaming answer is lines of JSON.

## Errors

An error is a `google.rpc.Status`. Its details are an `ErrorInfo` (the domain `penstock` and one of the reasons), a `BadRequest` that names each field at fault, the
rule, and what would be right, and a `RetryInfo` where trying again can succeed. A fault in a query's text has its place in the `ErrorInfo`'s metadata: `position` is
`start-end`, in bytes.

"""


def fenced(text):
    """A comment as Markdown: `<` of a comment is no tag."""
    return re.sub(r"<(?=[a-z/])", "&lt;", text.strip())


class Contracts:
    def __init__(self, image, permissions, errors):
        files = [file for file in image["file"] if file["package"] == "penstock.v1"]
        self.permissions, self.errors, self.comments = permissions, errors, {}
        self.services, self.types = [], {}
        for file in files:
            said = {tuple(at.get("path", ())): at.get("leadingComments", "") for at in file["sourceCodeInfo"]["location"]}
            for kind in ("messageType", "enumType", "service"):
                for i, item in enumerate(file.get(kind, ())):
                    self.note(item, (PARTS[kind], i), said)
                    if kind == "service":
                        self.services.append(item)
                    else:
                        self.types[f".penstock.v1.{item['name']}"] = item

    def note(self, item, path, said):
        """Keeps the comments of an item and its parts."""
        self.comments[id(item)] = re.sub(r"^ ", "", said.get(path, ""), flags=re.MULTILINE)
        for kind in ("field", "value", "method"):
            for i, part in enumerate(item.get(kind, ())):
                self.note(part, (*path, PARTS[kind], i), said)
        if item.get("nestedType") and not all(nested.get("options", {}).get("mapEntry") for nested in item["nestedType"]):
            sys.exit(f"{item['name']} has messages inside, which the API reference doesn't show")

    def said(self, item):
        return fenced(self.comments[id(item)])

    def cell(self, item):
        return " ".join(self.said(item).split()).replace("|", "\\|")

    def link(self, name):
        short = name.rpartition(".")[2]
        return f"[{short}](#{short.lower()})" if name in self.types else short

    def kind(self, message, field):
        """A field's type in words."""
        kind = field["type"].removeprefix("TYPE_").lower()
        if kind in ("message", "enum"):
            entry = next((n for n in message.get("nestedType", ()) if field["typeName"].endswith(f".{message['name']}.{n['name']}")), None)
            if entry:
                key, value = entry["field"]
                return f"map of {self.kind(message, key)} to {self.kind(message, value)}"
            kind = self.link(field["typeName"])
        return f"list of {kind}" if field["label"] == "LABEL_REPEATED" else kind

    def fields(self, message):
        if not message.get("field"):
            return ["It has no fields.", ""]
        lines = ["| field | type | |", "|---|---|---|"]
        for field in message["field"]:
            one_of = message["oneofDecl"][field["oneofIndex"]]["name"] if "oneofIndex" in field and not field.get("proto3Optional") else ""
            note = f" *One of `{one_of}`.*" if one_of else ""
            lines.append(f"| `{field['name']}` | {self.kind(message, field)} | {self.cell(field)}{note} |")
        return [*lines, ""]

    def method(self, service, method):
        name = f"{service['name']}/{method['name']}"
        needed = self.permissions.get(name, ())
        if not needed and service["name"] != "PublicService":
            sys.exit(f"tests/e2e/permissions.rs doesn't say what {name} asks for")
        http = method.get("options", {}).get("[google.api.http]", {})
        verb = next((verb for verb in ("get", "put", "post", "delete", "patch") if verb in http), None)
        facts = [f"`{verb.upper()} {http[verb]}`" if verb else "", f"gRPC `/penstock.v1.{name}`"]
        facts.append("asks for no key" if not needed else "asks for " + " or ".join(f"`{permission}`" for permission in needed))
        asked, given = self.types[method["inputType"]], self.types[method["outputType"]]
        streams = ["a stream of " if method.get(f"{side}Streaming") else "" for side in ("client", "server")]
        yield from (f"### {method['name']}", "", " · ".join(filter(None, facts)), "", self.said(method), "")
        yield from (f"Takes {streams[0]}`{asked['name']}`:", "", *self.fields(asked))
        yield from (f"Gives {streams[1]}`{given['name']}`:", "", *self.fields(given))

    def page(self):
        yield INTRODUCTION
        yield from ("| reason | |", "|---|---|", *(f"| `{reason}` | {what} |" for reason, what in self.errors), "")
        for service in sorted(self.services, key=lambda service: list(TITLES).index(service["name"])):
            yield from (f"## {TITLES[service['name']]}", "", self.said(service), "")
            for method in service["method"]:
                yield from self.method(service, method)
        shown = {method[side] for service in self.services for method in service["method"] for side in ("inputType", "outputType")}
        # Some of them stand inside others too.
        used = {field.get("typeName") for item in self.types.values() for field in item.get("field", ())}
        yield from ("## Types", "")
        for name, item in sorted(self.types.items()):
            if name in shown - used:
                continue
            yield from (f"### {item['name']}", "", self.said(item), "")
            if "value" in item:
                yield from ("| value | |", "|---|---|", *(f"| `{value['name']}` | {self.cell(value)} |" for value in item["value"]), "")
            else:
                yield from self.fields(item)


def permissions():
    text = (ROOT / "services/penstock/tests/e2e/permissions.rs").read_text()
    return {name: re.findall(r'"(\w+)"', needed) for name, needed in re.findall(r'\("(\w+/\w+)", &\[(.*?)\]\)', text)}


def errors():
    """The reasons and what they mean, as libs/model has them."""
    text = (ROOT / "libs/model/src/error.rs").read_text()
    meant = {name: said for said, name in re.findall(r"    /// (.*)\n    (\w+),", text.partition("pub enum ErrorCode")[2])}
    return [(reason, meant[name]) for name, reason in re.findall(r'Self::(\w+) => "([A-Z_]+)"', text)]


def page(image):
    """The page, of what `buf build` says in JSON."""
    return "\n".join(Contracts(image, permissions(), errors()).page())

#!/usr/bin/env python3
"""The Python client's documentation, by pdoc out of its docstrings: `client_python.py FOLDER`. What can be imported of `penstock` and has none is named, and fails.
Wants pdoc and the client, as it is installed, on its path."""

import inspect
import pathlib
import sys
import typing

import pdoc.doc
import pdoc.render


def public(cls):
    """What users see of a class: its own, and what it has from classes of the client."""
    for member in cls.members.values():
        own = member.taken_from[0].split(".")[0] == cls.modulename
        made = member.name == "__init__" and "__dataclass_fields__" not in cls.members
        if own and (made or not member.name.startswith("_")):
            yield member


def aliases(members):
    """Names of types have their docstrings where they are written, which pdoc doesn't follow."""
    sources = [pdoc.doc.Module(it) for name, it in sorted(sys.modules.items()) if name.startswith("penstock.") and ".v1" not in name]
    for member in members:
        if isinstance(member, pdoc.doc.Variable) and not member.docstring:
            found = [it.members[member.name].docstring for it in sources if member.name in it.members]
            member.docstring = next(filter(None, found), "")


def options(function):
    """`**options: Unpack[ReadOptions]`, of which pdoc knows no short form, by the name of the options."""

    def named(parameter):
        (it,) = typing.get_args(parameter.annotation)
        return parameter.replace(annotation=it)

    given = function.signature.parameters.values()
    told = [named(it) if it.kind is inspect.Parameter.VAR_KEYWORD else it for it in given]
    function.signature = function.signature.replace(parameters=told)


module = pdoc.doc.Module.from_name("penstock")
members = [it for it in module.members.values() if it.name in module.obj.__all__]
classes = [it for it in members if isinstance(it, pdoc.doc.Class)]
aliases(members)
for cls in classes:
    # What it has from a class that has no place of its own is shown with it.
    cls.own_members = [it for it in public(cls) if it in cls.own_members or it.taken_from[1].split(".")[0] not in module.members]
    for function in (it for it in cls.own_members if isinstance(it, pdoc.doc.Function)):
        options(function)
if missing := [it.fullname for it in [module, *members, *(own for cls in classes for own in public(cls))] if not it.docstring]:
    sys.exit("\n".join(f"{name} has no docstring" for name in missing))

pdoc.render.configure(docformat="google", show_source=False, search=False, footer_text=f"penstock-client {module.obj.__version__}")
folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
(folder / "index.html").write_text(pdoc.render.html_module(module, {module.fullname: module}))

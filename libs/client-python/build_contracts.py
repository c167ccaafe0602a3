"""Generates penstock/v1 from the contracts while a package is built: hatchling calls this."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CONTRACTS = ("common", "ingest", "query", "metrics")


class ContractsHook(BuildHookInterface[Any]):
    """Makes modules and their type stubs of proto/penstock/v1; an sdist has them already."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        here = Path(self.root)
        protos = here.parent.parent / "proto"
        if protos.is_dir():
            generate(protos, here / "src")


def generate(protos: Path, out: Path) -> None:
    """Runs protoc over the contracts in `protos`."""
    import google.api  # googleapis-common-protos has what the contracts import
    import grpc_tools
    from grpc_tools import protoc

    includes = [protos, Path(grpc_tools.__file__).parent / "_proto", Path(next(iter(google.api.__path__))).parent.parent]
    files = [f"penstock/v1/{name}.proto" for name in CONTRACTS]
    options = [*(f"-I{include}" for include in includes), f"--python_out={out}", f"--pyi_out={out}"]
    if protoc.main(["protoc", *options, *files]) != 0:
        raise RuntimeError("protoc failed")
    (out / "penstock/v1/__init__.py").write_text('"""The contracts, generated: see proto/penstock/v1."""\n')

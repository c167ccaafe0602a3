"""Files of answers: what both clients' exports have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from .results import Info, info_from_wire
from .v1 import common_pb2, query_pb2

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

ExportFormat = Literal["arrow", "csv", "ndjson"]
"""What an export writes: an Arrow IPC stream, CSV with a line of names, or a JSON object a line."""


class ExportFile:
    """A file that comes in pieces, and how far it has come."""

    def __init__(self, request: query_pb2.ExportRequest, timeout: float | None) -> None:
        self._request = request
        self._timeout = timeout
        self._whole = False
        self.content_type = ""
        """What the file is, from the first piece on."""
        self.rows = 0
        """How many rows are in the pieces so far."""
        self.info = Info()
        """As of when the answer is, from the first piece on."""

    def _take(self, piece: query_pb2.ExportResponse) -> bytes:
        """The bytes of a piece; from here on the request goes on behind it."""
        self._request.resume_token = piece.resume_token
        self.content_type = piece.content_type or self.content_type
        self.rows = piece.rows
        self.info = info_from_wire(common_pb2.ResultInfo(watermark=piece.watermark))
        self._whole = piece.last
        return piece.data

    def _table(self, data: bytes) -> pyarrow.Table:
        import pyarrow as pa

        if self._request.format != query_pb2.EXPORT_FORMAT_ARROW:
            raise ValueError("only an export in the format arrow becomes a table")
        with pa.ipc.open_stream(data) as reader:
            return reader.read_all()


def to_pandas(table: pyarrow.Table) -> pandas.DataFrame:
    """A table as pandas has it."""
    return table.to_pandas()


def to_polars(table: pyarrow.Table) -> polars.DataFrame:
    """A table as Polars has it."""
    import polars

    return cast("polars.DataFrame", polars.from_arrow(table))

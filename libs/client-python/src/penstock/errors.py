"""What goes wrong, by type: every error has a code, a reason, the fields at fault and when to come again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from google.protobuf.any_pb2 import Any as AnyMessage

DOMAIN = "penstock"


@dataclass(frozen=True)
class Violation:
    """A field at fault."""

    field: str
    """Its path, as in "query.measures[0].formula"."""
    reason: str
    """The rule that it breaks, as in "SYNTAX"."""
    description: str
    """What is wrong and what would be right."""


class PenstockError(Exception):
    """A call that failed. The subclass says how; each is named as its gRPC code."""

    code = "UNKNOWN"
    """The gRPC code."""

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
        position: tuple[int, int] | None = None,
        code: str | None = None,
    ) -> None:
        """An error with what is known of it. The clients make them; a test may, too."""
        self.message = message
        """What went wrong, for people."""
        self.reason = reason
        """What went wrong, as a stable name such as INVALID_QUERY; empty where no server said it."""
        self.violations = tuple(violations)
        """The fields at fault."""
        self.retry_after = retry_after
        """After how many seconds a retry can succeed, if the server said so."""
        self.position = position
        """Where in a query's text the fault is, in bytes of UTF-8: (start, end)."""
        if code is not None:
            self.code = code
        super().__init__(message)

    def __str__(self) -> str:
        faults = "".join(f"\n  {v.field}: {v.description}" for v in self.violations)
        return f"{self.code}: {self.message}{faults}"

    @property
    def said_by_server(self) -> bool:
        """Whether Penstock itself said so, and not the way to it."""
        return self.reason != ""

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        # What the transport breaks, it calls by many names.
        broken = not self.said_by_server and self.code in ("INTERNAL", "UNKNOWN", "CANCELLED", "ABORTED")
        return broken or self.code in ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")


class InvalidArgument(PenstockError):
    """What was sent breaks a rule: `violations` say which field, and what would be right."""

    code = "INVALID_ARGUMENT"


class Unauthenticated(PenstockError):
    """The key is missing, unknown, revoked or over."""

    code = "UNAUTHENTICATED"


class PermissionDenied(PenstockError):
    """The key may not do this."""

    code = "PERMISSION_DENIED"


class NotFound(PenstockError):
    """There is no such app or metric."""

    code = "NOT_FOUND"


class Conflict(PenstockError):
    """Something else came first."""

    code = "ABORTED"


class ResourceExhausted(PenstockError):
    """A quota is used up, or the server is too busy: `retry_after` says when to come again."""

    code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(PenstockError):
    """It took longer than its timeout."""

    code = "DEADLINE_EXCEEDED"


class Unavailable(PenstockError):
    """The server can't be reached, or can't answer now."""

    code = "UNAVAILABLE"


class QueueFull(ResourceExhausted):
    """The queue has no room, and the client was made with `when_full="raise"`."""


class Closed(PenstockError):
    """The client was closed."""

    code = "CANCELLED"


_BY_CODE: dict[str, type[PenstockError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        Conflict,
        ResourceExhausted,
        DeadlineExceeded,
        Unavailable,
    )
}


def from_rpc(error: grpc.RpcError) -> PenstockError:
    """A failed call as an error of ours, with the details that the server gave."""
    # Both of grpcio's worlds have these; its types know only one of them.
    call: Any = error
    code: str = call.code().name
    message: str = call.details() or "the call failed"
    details: Sequence[AnyMessage] = ()
    for key, value in call.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            details = Status.FromString(value).details
    reason = ""
    violations: Sequence[Violation] = ()
    retry_after: float | None = None
    position: tuple[int, int] | None = None
    info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
    for detail in details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            reason = info.reason
            if (place := info.metadata.get("position")) is not None:
                start, _, end = place.partition("-")
                position = (int(start), int(end))
        elif detail.Unpack(bad):
            violations = tuple(Violation(v.field, v.reason, v.description) for v in bad.field_violations)
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    kind = _BY_CODE.get(code, PenstockError)
    return kind(
        message, reason=reason, violations=violations, retry_after=retry_after, position=position, code=code
    )

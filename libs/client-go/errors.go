package penstock

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const domain = "penstock"

// Violation is a field at fault.
type Violation struct {
	// Field is its path, as in "query.measures[0].formula".
	Field string
	// Reason is the rule that it breaks, as in "SYNTAX".
	Reason string
	// Description is what is wrong and what would be right.
	Description string
}

// Error is a call that failed. Compare with [errors.Is] to the errors by kind, such as [Unavailable]; see more by [errors.As].
type Error struct {
	// Code is the gRPC code.
	Code codes.Code
	// Message is what went wrong, for people.
	Message string
	// Reason is what went wrong, as a stable name such as INVALID_QUERY; empty where no server said it.
	Reason string
	// Violations are the fields at fault.
	Violations []Violation
	// RetryAfter is the time after which a retry can succeed, if the server said so.
	RetryAfter time.Duration
	// Position is where in a query's text the fault is, in bytes: start and end. Nil if it has no place there.
	Position *[2]int

	cause error
}

// The kinds of errors, for [errors.Is].
var (
	// InvalidArgument: what was sent breaks a rule. Violations say which field, and what would be right.
	InvalidArgument = &Error{Code: codes.InvalidArgument, Message: "invalid argument"}
	// Unauthenticated: the key is missing, unknown, revoked or over.
	Unauthenticated = &Error{Code: codes.Unauthenticated, Message: "unauthenticated"}
	// PermissionDenied: the key may not do this.
	PermissionDenied = &Error{Code: codes.PermissionDenied, Message: "permission denied"}
	// NotFound: there is no such app or metric.
	NotFound = &Error{Code: codes.NotFound, Message: "not found"}
	// Conflict: something else came first.
	Conflict = &Error{Code: codes.Aborted, Message: "conflict"}
	// ResourceExhausted: a quota is used up, or the server is too busy. RetryAfter says when to come again.
	ResourceExhausted = &Error{Code: codes.ResourceExhausted, Message: "resource exhausted"}
	// DeadlineExceeded: it took longer than its deadline.
	DeadlineExceeded = &Error{Code: codes.DeadlineExceeded, Message: "deadline exceeded"}
	// Unavailable: the server can't be reached, or can't answer now.
	Unavailable = &Error{Code: codes.Unavailable, Message: "unavailable"}

	// ErrQueueFull: the queue has no room, and the client was made with FailWhenFull.
	ErrQueueFull = errors.New("penstock: the queue is full")
	// ErrClosed: the client was closed.
	ErrClosed = errors.New("penstock: the client is closed")
)

// Error says the code, the message and each field at fault.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "penstock: %s: %s", e.Code, e.Message)
	for _, violation := range e.Violations {
		fmt.Fprintf(&text, "\n  %s: %s", violation.Field, violation.Description)
	}
	return text.String()
}

// Is reports whether the target is an error of the same kind.
func (e *Error) Is(target error) bool {
	kind, ok := target.(*Error)
	return ok && kind.Reason == "" && kind.Code == e.Code
}

// Unwrap returns the transport's error.
func (e *Error) Unwrap() error { return e.cause }

// Retryable reports whether the same call may succeed later.
func (e *Error) Retryable() bool {
	switch e.Code {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return true
	case codes.Internal, codes.Unknown, codes.Canceled, codes.Aborted:
		return e.Reason == "" // what the transport breaks, it calls by many names; what Penstock says has a reason
	}
	return false
}

// fromRPC makes an error of ours out of a failed call, with the details that the server gave.
func fromRPC(err error) *Error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &Error{Code: codes.DeadlineExceeded, Message: "it took longer than its deadline", cause: err}
	}
	said := status.Convert(err)
	made := &Error{Code: said.Code(), Message: said.Message(), cause: err}
	for _, detail := range said.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.Domain != domain {
				continue
			}
			made.Reason = detail.Reason
			var place [2]int
			if n, _ := fmt.Sscanf(detail.Metadata["position"], "%d-%d", &place[0], &place[1]); n == 2 {
				made.Position = &place
			}
		case *errdetails.BadRequest:
			for _, v := range detail.FieldViolations {
				made.Violations = append(made.Violations, Violation{v.Field, v.Reason, v.Description})
			}
		case *errdetails.RetryInfo:
			made.RetryAfter = detail.RetryDelay.AsDuration()
		}
	}
	return made
}

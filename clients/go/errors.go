package turnout

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// ErrClosed is what a call of a closed client gives. It is a defect of the caller: RouteOr gives it too.
var ErrClosed = errors.New("turnout: the client is closed")

// CallError is why a request got no answer. Every error of a call holds one, which errors.As finds; the types below say
// what a caller would do differently. It never holds the caller's text.
type CallError struct {
	// Code is gRPC's status code.
	Code codes.Code
	// Reason is the service's: the name of a turnoutv1.ErrorReason without its prefix, or a newer service's own. Empty
	// where the error came from gRPC or a proxy.
	Reason string
	// Message is for people.
	Message string
	// Metadata is the reason's, as turnout/v1/error_reason.proto lists it.
	Metadata map[string]string
	// Failure is what was done for a completion that failed; nil where nothing was asked upstream.
	Failure *turnoutv1.CompleteFailure

	retryAfter *time.Duration
}

// Error is the status code, the reason and the message.
func (e *CallError) Error() string {
	text := "turnout: " + statusName(e.Code)
	if e.Reason != "" {
		text += " (" + e.Reason + ")"
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Label is a name to count by: the reason, or the status code's name, such as UNAVAILABLE, where there is none.
func (e *CallError) Label() string {
	if e.Reason != "" {
		return e.Reason
	}
	return statusName(e.Code)
}

// RetryAfter is how long the service asks to stay away; false where it does not say.
func (e *CallError) RetryAfter() (time.Duration, bool) {
	if e.retryAfter == nil {
		return 0, false
	}
	return *e.retryAfter, true
}

// Causes is why no upstream answered: how many attempts ended so or deployments were closed for it, by the name of a
// FaultKind in lower case. Empty where the service does not say.
func (e *CallError) Causes() map[string]int {
	causes := map[string]int{}
	if cause := e.Metadata["cause"]; cause != "" {
		causes[cause] = 1
	}
	for _, item := range strings.Split(e.Metadata["causes"], ", ") {
		name, count, found := strings.Cut(item, "=")
		if number, err := strconv.Atoi(count); found && err == nil {
			causes[name] = number
		}
	}
	return causes
}

// Is makes errors.Is find context.Canceled and context.DeadlineExceeded.
func (e *CallError) Is(target error) bool {
	return target == context.Canceled && e.Code == codes.Canceled ||
		target == context.DeadlineExceeded && e.Code == codes.DeadlineExceeded
}

// GRPCStatus is for code that reads statuses, such as status.Code.
func (e *CallError) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// InvalidRequestError says that the request breaks the contract: asking again does not help. INVALID_ARGUMENT, or a
// message that is too large or not UTF-8.
type InvalidRequestError struct{ CallError }

// Field is the field at fault, such as "constraints.min_tier"; empty if none is.
func (e *InvalidRequestError) Field() string { return e.Metadata["field"] }

// Value is what was given, shortened; empty where it is the caller's text.
func (e *InvalidRequestError) Value() string { return e.Metadata["value"] }

// Limit is what is allowed; empty where there is no such thing.
func (e *InvalidRequestError) Limit() string { return e.Metadata["limit"] }

// NoCandidateError says that the constraints leave no deployment that could serve (FAILED_PRECONDITION).
type NoCandidateError struct{ CallError }

// Constraint is the one that removed the last candidate; empty where the service does not say.
func (e *NoCandidateError) Constraint() string { return e.Metadata["constraint"] }

// OverloadedError says that the service, a budget, or something before it, is at its limit (RESOURCE_EXHAUSTED). See
// RetryAfter.
type OverloadedError struct{ CallError }

// UnavailableError says that the service cannot be reached or no upstream answered (UNAVAILABLE), after the retries. See
// Causes.
type UnavailableError struct{ CallError }

// DeadlineExceededError says that the deadline passed before there was an answer (DEADLINE_EXCEEDED).
type DeadlineExceededError struct{ CallError }

// CancelledError says that the call was cancelled (CANCELLED): by its context, by Close, or by the service.
type CancelledError struct{ CallError }

// AccessDeniedError says that credentials lack or do not suffice (UNAUTHENTICATED, PERMISSION_DENIED).
type AccessDeniedError struct{ CallError }

// InternalError tells of a defect of the service (INTERNAL, UNKNOWN, DATA_LOSS).
type InternalError struct{ CallError }

// Incident is the name under which the cause is in the service's log; empty where it gives none.
func (e *InternalError) Incident() string { return e.Metadata["incident"] }

// Unwrap gives the CallError, for errors.As.
func (e *InvalidRequestError) Unwrap() error { return &e.CallError }

// Unwrap gives the CallError, for errors.As.
func (e *NoCandidateError) Unwrap() error { return &e.CallError }

// Unwrap gives the CallError, for errors.As.
func (e *OverloadedError) Unwrap() error { return &e.CallError }

// Unwrap gives the CallError, for errors.As.
func (e *UnavailableError) Unwrap() error { return &e.CallError }

// Unwrap gives the CallError, for errors.As.
func (e *DeadlineExceededError) Unwrap() error { return &e.CallError }

// Unwrap gives the CallError, for errors.As.
func (e *CancelledError) Unwrap() error { return &e.CallError }

// Unwrap gives the CallError, for errors.As.
func (e *AccessDeniedError) Unwrap() error { return &e.CallError }

// Unwrap gives the CallError, for errors.As.
func (e *InternalError) Unwrap() error { return &e.CallError }

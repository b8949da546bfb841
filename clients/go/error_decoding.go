package turnout

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

const (
	errorDomain  = "turnout.v1"
	reasonPrefix = "ERROR_REASON_"
)

// The words of gRPC, and its only sign, for a message beyond a limit of one of both sides.
var requestTooLarge = regexp.MustCompile(
	`(?:trying to send|SERVER: Received) message larger than max \((\d+) vs\. (\d+)\)`,
)

// decodeError is the error of a failed call: by the details of its status, else by code and message alone. What a peer
// may send never makes it panic.
func decodeError(err error) error {
	found, _ := status.FromError(err)
	call := CallError{Code: knownCode(found.Code()), Message: found.Message(), Metadata: map[string]string{}}
	for _, detail := range found.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			// Another domain's reasons are not ours, whatever their names.
			if detail.GetDomain() == errorDomain {
				call.Reason = detail.GetReason()
				for key, value := range detail.GetMetadata() {
					call.Metadata[key] = value
				}
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				if call.Metadata["field"] == "" {
					call.Metadata["field"] = violation.GetField()
				}
			}
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay().AsDuration()
			call.retryAfter = &delay
		case *turnoutv1.CompleteFailure:
			call.Failure = detail
		}
	}
	if call.Reason != "" {
		return classify(call)
	}
	switch {
	case call.Code == codes.ResourceExhausted && strings.Contains(call.Message, "larger than max"):
		sizes := requestTooLarge.FindStringSubmatch(call.Message)
		if sizes == nil {
			return &call
		}
		call.Metadata["value"], call.Metadata["limit"] = sizes[1]+" bytes", sizes[2]+" bytes"
		return &InvalidRequestError{call}
	case call.Code == codes.Internal && strings.HasPrefix(call.Message, "grpc: error while marshaling"):
		// A string that is not UTF-8 is never sent.
		return &InvalidRequestError{call}
	}
	return classify(call)
}

// decodeItemError is the error of one item of a batch or stream.
func decodeItemError(item *turnoutv1.RouteError) error {
	call := CallError{Message: item.GetMessage(), Metadata: map[string]string{}}
	call.Code = codes.Unknown
	if number := item.GetCode(); number >= 0 {
		call.Code = knownCode(codes.Code(number))
	}
	if name, known := turnoutv1.ErrorReason_name[int32(item.GetReason())]; known {
		call.Reason = strings.TrimPrefix(name, reasonPrefix)
	} else {
		// A newer server's reason, of which an item has the number only.
		call.Reason = fmt.Sprintf("UNKNOWN_%d", item.GetReason())
	}
	if call.Reason == "UNSPECIFIED" {
		call.Reason = ""
	}
	if field := item.GetField(); field != "" {
		call.Metadata["field"] = field
	}
	return classify(call)
}

// classify is by the reason where that has a type, else by the code, so new reasons break nothing.
func classify(call CallError) error {
	if call.Reason == "NO_CANDIDATE" {
		return &NoCandidateError{call}
	}
	switch call.Code {
	case codes.InvalidArgument:
		return &InvalidRequestError{call}
	case codes.ResourceExhausted:
		return &OverloadedError{call}
	case codes.Unavailable:
		return &UnavailableError{call}
	case codes.DeadlineExceeded:
		return &DeadlineExceededError{call}
	case codes.Canceled:
		return &CancelledError{call}
	case codes.Unauthenticated, codes.PermissionDenied:
		return &AccessDeniedError{call}
	case codes.Internal, codes.Unknown, codes.DataLoss:
		return &InternalError{call}
	default:
		return &call
	}
}

func knownCode(number codes.Code) codes.Code {
	if number > codes.Unauthenticated {
		return codes.Unknown
	}
	return number
}

// statusName is the code's name in the standard's spelling, such as UNAVAILABLE.
func statusName(number codes.Code) string { return code.Code(number).String() }

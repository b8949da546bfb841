package turnout_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	turnout "github.com/turnout-dev/turnout/clients/go"
	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// failWith is what a call gives where the service fails so.
func failWith(t *testing.T, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	failure, err := status.New(code, "for people").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t)
	f.route = func(context.Context, *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		return nil, failure.Err()
	}
	_, err = open(t, f.target).Complete(t.Context(), &turnoutv1.CompleteRequest{})
	return err
}

func info(reason string, metadata map[string]string) *errdetails.ErrorInfo {
	return &errdetails.ErrorInfo{Domain: "turnout.v1", Reason: reason, Metadata: metadata}
}

func TestInvalidRequestNamesTheField(t *testing.T) {
	metadata := map[string]string{"field": "messages[3].role", "value": "9", "limit": "0 to 5"}
	err := failWith(t, codes.InvalidArgument, info("INVALID_FIELD", metadata))
	var invalid *turnout.InvalidRequestError
	if !errors.As(err, &invalid) {
		t.Fatal(err)
	}
	found := []string{invalid.Field(), invalid.Value(), invalid.Limit(), err.Error()}
	want := []string{"messages[3].role", "9", "0 to 5", "turnout: INVALID_ARGUMENT (INVALID_FIELD): for people"}
	for i := range want {
		if found[i] != want[i] {
			t.Errorf("%q, %q wanted", found[i], want[i])
		}
	}
}

func TestTheFieldOfABadRequestAlone(t *testing.T) {
	violations := []*errdetails.BadRequest_FieldViolation{{Field: "policy"}, {Field: "prompt"}}
	err := failWith(t, codes.InvalidArgument, &errdetails.BadRequest{FieldViolations: violations})
	var invalid *turnout.InvalidRequestError
	if !errors.As(err, &invalid) || invalid.Field() != "policy" {
		t.Error(err)
	}
}

func TestOverloadedSaysWhenToComeBack(t *testing.T) {
	retry := &errdetails.RetryInfo{RetryDelay: durationpb.New(1500 * time.Millisecond)}
	err := failWith(t, codes.ResourceExhausted, info("OVERLOADED", nil), retry)
	var overloaded *turnout.OverloadedError
	if !errors.As(err, &overloaded) {
		t.Fatal(err)
	}
	if delay, known := overloaded.RetryAfter(); !known || delay != 1500*time.Millisecond {
		t.Error(delay, known)
	}
}

func TestUnavailableHasCausesAndWhatWasDone(t *testing.T) {
	metadata := map[string]string{"causes": "rate_limited=2, connection=1"}
	failure := protoadapt.MessageV1Of(&turnoutv1.CompleteFailure{Tier: "mid"})
	err := failWith(t, codes.Unavailable, info("UPSTREAM_UNAVAILABLE", metadata), failure)
	var unavailable *turnout.UnavailableError
	if !errors.As(err, &unavailable) {
		t.Fatal(err)
	}
	if found := unavailable.Causes(); !maps.Equal(found, map[string]int{"rate_limited": 2, "connection": 1}) {
		t.Error(found)
	}
	if unavailable.Failure.GetTier() != "mid" {
		t.Error(unavailable.Failure)
	}
}

func TestACutStreamHasOneCause(t *testing.T) {
	err := failWith(t, codes.Unavailable, info("STREAM_CUT", map[string]string{"cause": "cut"}))
	var call *turnout.CallError
	if !errors.As(err, &call) || !maps.Equal(call.Causes(), map[string]int{"cut": 1}) {
		t.Error(err)
	}
}

func TestOtherTypesByReasonAndCode(t *testing.T) {
	noCandidate := failWith(t, codes.FailedPrecondition, info("NO_CANDIDATE", map[string]string{"constraint": "region"}))
	internal := failWith(t, codes.Internal, info("INTERNAL", map[string]string{"incident": "a1b2"}))
	strange := failWith(t, codes.FailedPrecondition, info("FROM_THE_FUTURE", nil))
	foreign := failWith(t, codes.Aborted, &errdetails.ErrorInfo{Domain: "example.com", Reason: "UNKNOWN_TIER"})
	var asNoCandidate *turnout.NoCandidateError
	if !errors.As(noCandidate, &asNoCandidate) || asNoCandidate.Constraint() != "region" {
		t.Error(noCandidate)
	}
	var asInternal *turnout.InternalError
	if !errors.As(internal, &asInternal) || asInternal.Incident() != "a1b2" {
		t.Error(internal)
	}
	for err, want := range map[error]string{strange: "FROM_THE_FUTURE", foreign: "ABORTED"} {
		var call *turnout.CallError
		if !errors.As(err, &call) || call.Label() != want {
			t.Errorf("%v, %s wanted", err, want)
		}
	}
	if status.Code(foreign) != codes.Aborted {
		t.Error(status.Code(foreign))
	}
}

func TestErrorsOfItemsAreNotTheCalls(t *testing.T) {
	f := serve(t)
	f.batch = func(*turnoutv1.RouteBatchRequest) *turnoutv1.RouteBatchResponse {
		failed := func(failure *turnoutv1.RouteError) *turnoutv1.RouteResult {
			return &turnoutv1.RouteResult{Result: &turnoutv1.RouteResult_Error{Error: failure}}
		}
		return &turnoutv1.RouteBatchResponse{Results: []*turnoutv1.RouteResult{
			failed(&turnoutv1.RouteError{Code: 3, Reason: turnoutv1.ErrorReason_ERROR_REASON_UNKNOWN_POLICY, Field: "policy"}),
			failed(&turnoutv1.RouteError{Code: 77, Reason: 99}),
			failed(&turnoutv1.RouteError{Code: -1}),
			{},
		}}
	}
	results, err := open(t, f.target).RouteBatch(t.Context(), prompts("a", "b", "c", "d"))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"UNKNOWN_POLICY", "UNKNOWN_99", "UNKNOWN", "UNKNOWN"} {
		var call *turnout.CallError
		if !errors.As(results[i].Err, &call) || call.Label() != want {
			t.Errorf("%v, %s wanted", results[i].Err, want)
		}
	}
}

func TestTextThatIsNotUTF8(t *testing.T) {
	f := serve(t)
	client := open(t, f.target)
	broken := "a\xffb"
	_, err := client.RouteOr(t.Context(), "mid", &turnoutv1.RouteRequest{Prompt: &broken})
	var invalid *turnout.InvalidRequestError
	if !errors.As(err, &invalid) {
		t.Error(err)
	}
	decision, err := client.Route(t.Context(), turnout.Prompt(broken))
	if err != nil || decision.GetPolicy() != "a\uFFFDb" {
		t.Error(decision, err)
	}
}

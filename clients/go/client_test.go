package turnout_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	turnout "github.com/turnout-dev/turnout/clients/go"
	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

func prompts(texts ...string) []*turnoutv1.RouteRequest {
	requests := make([]*turnoutv1.RouteRequest, len(texts))
	for i, one := range texts {
		requests[i] = turnout.Prompt(one)
	}
	return requests
}

func TestRouteSendsTheRequestAndGivesTheDecision(t *testing.T) {
	f := serve(t)
	request := turnout.Prompt("how?")
	request.Caller = &turnoutv1.CallerContext{Tenant: "acme"}
	decision, err := open(t, f.target).Route(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(decision.RouteResponse, answer(request)) || decision.FellBack {
		t.Errorf("%v, fell back: %v", decision.RouteResponse, decision.FellBack)
	}
	if !proto.Equal(f.requests[0], request) {
		t.Errorf("sent: %v", f.requests[0])
	}
}

func TestBatchAndStreamKeepOrder(t *testing.T) {
	f := serve(t)
	client := open(t, f.target)
	results, err := client.RouteBatch(t.Context(), prompts("a", "b", "c"))
	if err != nil {
		t.Fatal(err)
	}
	for result, err := range client.RouteStream(t.Context(), slices.Values(prompts("d", "e"))) {
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, result)
	}
	var policies []string
	for _, result := range results {
		policies = append(policies, result.Decision.GetPolicy())
	}
	if found := strings.Join(policies, ""); found != "abcde" {
		t.Error(found)
	}
}

func TestAnEmptyBatchMakesNoCall(t *testing.T) {
	f := serve(t)
	if results, err := open(t, f.target).RouteBatch(t.Context(), nil); err != nil || len(results) != 0 {
		t.Error(results, err)
	}
	if len(f.seen()) != 0 {
		t.Error(f.seen())
	}
}

func TestABatchOfTooFewResultsIsAnError(t *testing.T) {
	f := serve(t)
	f.batch = func(*turnoutv1.RouteBatchRequest) *turnoutv1.RouteBatchResponse {
		return &turnoutv1.RouteBatchResponse{}
	}
	_, err := open(t, f.target).RouteBatch(t.Context(), prompts("a", "b"))
	var internal *turnout.InternalError
	if !errors.As(err, &internal) || !strings.Contains(err.Error(), "0 results for 2 requests") {
		t.Error(err)
	}
}

func TestARequestOfAStreamThatCannotBeSentEndsItAndIsTold(t *testing.T) {
	f := serve(t)
	broken := "\xff"
	requests := append(prompts("a"), &turnoutv1.RouteRequest{Prompt: &broken})
	var last error
	for _, err := range open(t, f.target).RouteStream(t.Context(), slices.Values(requests)) {
		last = err
	}
	var invalid *turnout.InvalidRequestError
	if !errors.As(last, &invalid) {
		t.Error(last)
	}
}

func TestAStreamEndsWithTheServicesErrorWhileRequestsWait(t *testing.T) {
	f := serve(t)
	f.route = func(context.Context, *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		return nil, status.Error(codes.Internal, "as told")
	}
	released := make(chan struct{})
	defer close(released)
	waiting := func(yield func(*turnoutv1.RouteRequest) bool) {
		if yield(turnout.Prompt("a")) {
			<-released
		}
	}
	var failed *turnout.InternalError
	for _, err := range open(t, f.target).RouteStream(t.Context(), waiting) {
		if !errors.As(err, &failed) {
			t.Error(err)
		}
	}
	if failed == nil {
		t.Error("no error")
	}
}

func TestCallsCarryUserAgentAndToken(t *testing.T) {
	f := serve(t)
	f.complete = func(grpc.ServerStreamingServer[turnoutv1.CompleteStreamResponse]) error { return nil }
	client := open(t, f.target, turnout.WithToken("s3cret"), turnout.WithUserAgent("shop/2"))
	callEverything(t, client)
	calls := f.seen()
	if len(calls) != 5 {
		t.Fatal(calls)
	}
	for _, call := range calls {
		agent := strings.Join(call.metadata.Get("user-agent"), "")
		if !strings.HasPrefix(agent, "turnout-go/"+turnout.Version+" shop/2 grpc-go/") {
			t.Error(agent)
		}
		if found := call.metadata.Get("authorization"); !slices.Equal(found, []string{"Bearer s3cret"}) {
			t.Error(found)
		}
	}
}

// callEverything makes one call of each kind that the fake notes.
func callEverything(t *testing.T, client *turnout.Client) {
	t.Helper()
	if _, err := client.Route(t.Context(), turnout.Prompt("a")); err != nil {
		t.Error(err)
	}
	if _, err := client.RouteBatch(t.Context(), prompts("a")); err != nil {
		t.Error(err)
	}
	for _, err := range client.RouteStream(t.Context(), slices.Values(prompts("a"))) {
		if err != nil {
			t.Error(err)
		}
	}
	if _, err := client.Complete(t.Context(), &turnoutv1.CompleteRequest{}); err != nil {
		t.Error(err)
	}
	for _, err := range client.CompleteStream(t.Context(), &turnoutv1.CompleteStreamRequest{}) {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestEveryCallHasADeadline(t *testing.T) {
	f := serve(t)
	f.complete = func(grpc.ServerStreamingServer[turnoutv1.CompleteStreamResponse]) error { return nil }
	client, err := turnout.New(f.target)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	callEverything(t, client)
	limits := map[string]time.Duration{
		"Route": time.Second, "RouteBatch": 5 * time.Second, "RouteStream": time.Hour,
		"Complete": 2 * time.Minute, "CompleteStream": 10 * time.Minute,
	}
	for _, call := range f.seen() {
		// Deadlines travel rounded up, in the coarser units the longer they are.
		if limit := limits[call.method]; call.remaining <= 0 || float64(call.remaining) > 1.01*float64(limit) {
			t.Errorf("%s: %v, %v wanted", call.method, call.remaining, limit)
		}
	}
}

func TestDeadlinesCanBeLongerThanTheDefaults(t *testing.T) {
	f := serve(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	if _, err := open(t, f.target).Route(ctx, turnout.Prompt("a")); err != nil {
		t.Fatal(err)
	}
	if found := f.seen()[0].remaining; found < patience {
		t.Error(found)
	}
}

func TestACallersContextCancelsTheCall(t *testing.T) {
	f := serve(t)
	arrived, gone := make(chan struct{}), make(chan struct{})
	f.route = func(ctx context.Context, _ *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		close(arrived)
		<-ctx.Done()
		close(gone)
		return nil, ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	client := open(t, f.target)
	_, err := client.RouteOr(ctx, "mid", turnout.Prompt("a"))
	var cancelled *turnout.CancelledError
	if !errors.As(err, &cancelled) || !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(client.FailOpenCount()) != 0 {
		t.Error(client.FailOpenCount())
	}
	<-gone
}

func TestLeavingACompletionStreamCancelsIt(t *testing.T) {
	f := serve(t)
	gone := make(chan struct{})
	f.complete = func(stream grpc.ServerStreamingServer[turnoutv1.CompleteStreamResponse]) error {
		defer close(gone)
		for {
			if err := stream.Send(text("a")); err != nil {
				return err
			}
		}
	}
	for event, err := range open(t, f.target).CompleteStream(t.Context(), &turnoutv1.CompleteStreamRequest{}) {
		if err != nil || event.GetText().GetText() != "a" {
			t.Error(event, err)
		}
		break
	}
	<-gone
}

func TestHealth(t *testing.T) {
	f := serve(t)
	client := open(t, f.target, turnout.WithConnections(3))
	for want, set := range map[healthv1.HealthCheckResponse_ServingStatus]string{
		healthv1.HealthCheckResponse_SERVING:         "",
		healthv1.HealthCheckResponse_SERVICE_UNKNOWN: "nobody",
	} {
		if found, err := client.CheckHealth(t.Context(), set); err != nil || found != want {
			t.Error(found, err)
		}
	}
	if f.ever.Load() != 3 {
		t.Errorf("%d connections", f.ever.Load())
	}
	f.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	if found, err := client.CheckHealth(t.Context(), ""); err != nil || found != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Error(found, err)
	}
}

func TestUnavailableIsRetriedThreeTimesUnlessPushedBack(t *testing.T) {
	for pushback, want := range map[string]int{"": 4, "0": 4, "10": 4, "-1": 1} {
		f := serve(t)
		f.route = func(ctx context.Context, _ *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
			if pushback != "" {
				if err := grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", pushback)); err != nil {
					return nil, err
				}
			}
			return nil, status.Error(codes.Unavailable, "as told")
		}
		client := open(t, f.target)
		_, err := client.Route(t.Context(), turnout.Prompt("a"))
		var unavailable *turnout.UnavailableError
		if !errors.As(err, &unavailable) {
			t.Error(err)
		}
		if found := len(f.seen()); found != want {
			t.Errorf("pushback %q: %d attempts, %d wanted", pushback, found, want)
		}
		if _, err := client.Complete(t.Context(), &turnoutv1.CompleteRequest{}); err == nil {
			t.Error("a completion succeeded")
		}
		if found := len(f.seen()); found != want+1 {
			t.Errorf("a completion was tried %d times", found-want)
		}
	}
}

func TestThrottlingEndsTheRetriesOfAServiceThatStaysAway(t *testing.T) {
	f := serve(t)
	f.route = func(ctx context.Context, _ *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		if err := grpc.SetTrailer(ctx, metadata.Pairs("grpc-retry-pushback-ms", "1")); err != nil {
			return nil, err
		}
		return nil, status.Error(codes.Unavailable, "as told")
	}
	client := open(t, f.target)
	for range 40 {
		if _, err := client.Route(t.Context(), turnout.Prompt("a")); err == nil {
			t.Error("a call succeeded")
		}
	}
	// Of 100 tokens each failed attempt takes one, and half must be left for a retry.
	if found := len(f.seen()); found < 50 || found >= 90 {
		t.Errorf("%d attempts", found)
	}
}

func TestRouteOrFailsOpenAndCounts(t *testing.T) {
	f := serve(t)
	f.route = func(_ context.Context, request *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		if request.GetPrompt() == "mine" {
			return nil, status.Error(codes.InvalidArgument, "as told")
		}
		return nil, status.Error(codes.Internal, "as told")
	}
	var told []error
	client := open(t, f.target, turnout.WithOnFailOpen(func(err error) { told = append(told, err) }))
	decision, err := client.RouteOr(t.Context(), "frontier", turnout.Prompt("a"))
	if err != nil || !decision.FellBack || decision.GetTier() != "frontier" {
		t.Fatal(decision, err)
	}
	if reasons := decision.GetReasons(); len(reasons) != 1 || reasons[0].GetId() != "INTERNAL" {
		t.Error(reasons)
	}
	var invalid *turnout.InvalidRequestError
	if _, err := client.RouteOr(t.Context(), "frontier", turnout.Prompt("mine")); !errors.As(err, &invalid) {
		t.Error(err)
	}
	if counts := client.FailOpenCount(); len(counts) != 1 || counts["INTERNAL"] != 1 || len(told) != 1 {
		t.Error(counts, told)
	}
}

func TestAClosedClientIsRefused(t *testing.T) {
	f := serve(t)
	client := open(t, f.target)
	if err := errors.Join(client.Close(), client.Close()); err != nil {
		t.Fatal(err)
	}
	_, routed := client.Route(t.Context(), turnout.Prompt("a"))
	_, routedOr := client.RouteOr(t.Context(), "mid", turnout.Prompt("a"))
	_, completed := client.Complete(t.Context(), nil)
	_, health := client.CheckHealth(t.Context(), "")
	for _, err := range []error{
		routed, routedOr, completed, health,
		lastError(client.RouteStream(t.Context(), slices.Values(prompts("a")))),
		lastError(client.CompleteStream(t.Context(), nil)),
	} {
		if !errors.Is(err, turnout.ErrClosed) {
			t.Error(err)
		}
	}
}

func lastError[T any](stream iter.Seq2[T, error]) (last error) {
	for _, err := range stream {
		last = err
	}
	return last
}

func TestClosingEndsCallsInFlight(t *testing.T) {
	f := serve(t)
	client := open(t, f.target)
	f.route = func(ctx context.Context, _ *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		if err := client.Close(); err != nil {
			return nil, err
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	_, err := client.Route(t.Context(), turnout.Prompt("a"))
	var cancelled *turnout.CancelledError
	if !errors.As(err, &cancelled) {
		t.Error(err)
	}
}

func TestMessagesBeyondTheLimitAreTheCallersFault(t *testing.T) {
	f := serve(t)
	_, err := open(t, f.target).Route(t.Context(), turnout.Prompt(strings.Repeat("a", 17<<20)))
	var invalid *turnout.InvalidRequestError
	if !errors.As(err, &invalid) || invalid.Limit() != "16777216 bytes" || !strings.HasSuffix(invalid.Value(), " bytes") {
		t.Error(err)
	}
}

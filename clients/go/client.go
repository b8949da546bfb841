// Package turnout is the client of Turnout, which routes each LLM request to the cheapest model tier that still meets its
// quality bar.
package turnout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// Client asks the service. Safe for concurrent use; make one, keep it, close it at the end.
//
// Every call has a deadline: its context's, or a default. UNAVAILABLE is retried within it, up to three times, unless the
// service asks to stay away; streams and completions are not retried. Errors hold a CallError.
type Client struct {
	settings settings
	lanes    []lane
	turn     atomic.Uint64
	closed   atomic.Bool
	failOpen failOpen
}

// lane is one HTTP/2 connection and what is called over it.
type lane struct {
	connection *grpc.ClientConn
	routing    turnoutv1.RoutingServiceClient
	completion turnoutv1.CompletionServiceClient
	health     healthv1.HealthClient
}

// Decision is which tier and deployment should answer, and why.
type Decision struct {
	*turnoutv1.RouteResponse
	// FellBack is true where the service gave no decision and RouteOr took the caller's default tier; all that is known
	// then is the tier and one reason, of kind DEFAULT, that names the failure.
	FellBack bool
}

// Result is for one request of a batch or stream its decision or its error.
type Result struct {
	Decision *Decision
	Err      error
}

// New prepares a client for a gRPC target, such as "router.internal:50051" or "unix:/run/turnout.sock"; it connects at
// the first call.
func New(target string, options ...Option) (*Client, error) {
	c := &Client{settings: settings{connections: 1, routeOrTimeout: 50 * time.Millisecond}}
	for _, option := range options {
		option(&c.settings)
	}
	if err := c.settings.check(target); err != nil {
		return nil, err
	}
	c.failOpen = failOpen{call: c.settings.onFailOpen, counts: map[string]int{}}
	for range c.settings.connections {
		connection, err := grpc.NewClient(target, c.settings.plan()...)
		if err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("turnout: target: %w", err)
		}
		c.lanes = append(c.lanes, lane{
			connection,
			turnoutv1.NewRoutingServiceClient(connection),
			turnoutv1.NewCompletionServiceClient(connection),
			healthv1.NewHealthClient(connection),
		})
	}
	return c, nil
}

// Prompt is a request of one user's question, at most 4 MiB; what is not UTF-8 in it is replaced by U+FFFD.
func Prompt(text string) *turnoutv1.RouteRequest {
	text = strings.ToValidUTF8(text, "\uFFFD")
	return &turnoutv1.RouteRequest{Prompt: &text}
}

// Route asks which tier should answer a request.
func (c *Client) Route(ctx context.Context, request *turnoutv1.RouteRequest) (*Decision, error) {
	ask := func(ctx context.Context) (*turnoutv1.RouteResponse, error) {
		return c.nextLane().routing.Route(ctx, request)
	}
	response, err := call(ctx, c, c.timeout(turnoutv1.RoutingService_Route_FullMethodName), ask)
	if err != nil {
		return nil, err
	}
	return &Decision{RouteResponse: response}, nil
}

// RouteOr is as Route, but fails open: without a decision the caller's default tier serves, with FellBack true, and the
// case is counted. It takes at most 50 ms (WithRouteOrTimeout).
//
// An error is what a default would hide: the request breaks the contract, its context was cancelled, or the client is
// closed.
func (c *Client) RouteOr(
	ctx context.Context, defaultTier string, request *turnoutv1.RouteRequest,
) (*Decision, error) {
	bounded, cancel := context.WithTimeout(ctx, c.settings.routeOrTimeout)
	defer cancel()
	decision, err := c.Route(bounded, request)
	var invalid *InvalidRequestError
	var failed *CallError
	if err == nil || errors.As(err, &invalid) || errors.Is(ctx.Err(), context.Canceled) || !errors.As(err, &failed) {
		return decision, err
	}
	return c.failOpen.decide(defaultTier, err, failed), nil
}

// FailOpenCount is how often RouteOr fell back, by CallError.Label; a copy.
func (c *Client) FailOpenCount() map[string]int { return c.failOpen.copyCounts() }

// RouteBatch asks for many decisions in one call, at most 1,024; none at all make no call. The results are in the
// requests' order; the error is of the call as a whole.
func (c *Client) RouteBatch(ctx context.Context, requests []*turnoutv1.RouteRequest) ([]Result, error) {
	if len(requests) == 0 {
		return nil, nil
	}
	batch := &turnoutv1.RouteBatchRequest{Requests: requests}
	ask := func(ctx context.Context) (*turnoutv1.RouteBatchResponse, error) {
		return c.nextLane().routing.RouteBatch(ctx, batch)
	}
	response, err := call(ctx, c, c.timeout(turnoutv1.RoutingService_RouteBatch_FullMethodName), ask)
	if err != nil {
		return nil, err
	}
	found := response.GetResults()
	if len(found) != len(requests) {
		message := fmt.Sprintf("%d results for %d requests", len(found), len(requests))
		return nil, &InternalError{CallError{Code: codes.Internal, Message: message}}
	}
	results := make([]Result, len(found))
	for i, result := range found {
		results[i] = decodeResult(result)
	}
	return results, nil
}

// Complete has a request answered by the tier that is decided for it. The client retries nothing: the service has done
// what helps, and the call is billed.
func (c *Client) Complete(
	ctx context.Context, request *turnoutv1.CompleteRequest,
) (*turnoutv1.CompleteResponse, error) {
	ask := func(ctx context.Context) (*turnoutv1.CompleteResponse, error) {
		return c.nextLane().completion.Complete(ctx, request)
	}
	return call(ctx, c, sharedServiceConfig.timeouts[turnoutv1.CompletionService_Complete_FullMethodName], ask)
}

// CheckHealth asks each connection's server how it is, and so connects. The empty service means the whole server. The
// answer is SERVING, or what the first other one says.
func (c *Client) CheckHealth(
	ctx context.Context, service string,
) (healthv1.HealthCheckResponse_ServingStatus, error) {
	request := &healthv1.HealthCheckRequest{Service: service}
	for _, lane := range c.lanes {
		ask := func(ctx context.Context) (*healthv1.HealthCheckResponse, error) {
			return lane.health.Check(ctx, request)
		}
		response, err := call(ctx, c, c.timeout(healthv1.Health_Check_FullMethodName), ask)
		var failed *CallError
		if errors.As(err, &failed) && failed.Code == codes.NotFound {
			return healthv1.HealthCheckResponse_SERVICE_UNKNOWN, nil
		}
		if err != nil || response.GetStatus() != healthv1.HealthCheckResponse_SERVING {
			return response.GetStatus(), err
		}
	}
	return healthv1.HealthCheckResponse_SERVING, nil
}

// Close ends calls in flight with CancelledError and disconnects. It may be called again.
func (c *Client) Close() error {
	c.closed.Store(true)
	for _, lane := range c.lanes {
		// It fails only where it is closed already.
		_ = lane.connection.Close()
	}
	return nil
}

// timeout is what a call gets whose context has no deadline: the client's, or the shared service config's.
func (c *Client) timeout(method string) time.Duration {
	if c.settings.timeout > 0 {
		return c.settings.timeout
	}
	return sharedServiceConfig.timeouts[method]
}

func (c *Client) nextLane() lane { return c.lanes[c.turn.Add(1)%uint64(len(c.lanes))] }

// call makes a unary call with a deadline, and decodes its error.
func call[A any](
	ctx context.Context, c *Client, timeout time.Duration, method func(context.Context) (A, error),
) (A, error) {
	if c.closed.Load() {
		var none A
		return none, ErrClosed
	}
	ctx, cancel := withDefaultTimeout(ctx, timeout)
	defer cancel()
	answer, err := method(ctx)
	if err != nil {
		return answer, decodeError(err)
	}
	return answer, nil
}

func withDefaultTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, given := ctx.Deadline(); given {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

func decodeResult(result *turnoutv1.RouteResult) Result {
	switch result := result.GetResult().(type) {
	case *turnoutv1.RouteResult_Response:
		return Result{Decision: &Decision{RouteResponse: result.Response}}
	case *turnoutv1.RouteResult_Error:
		return Result{Err: decodeItemError(result.Error)}
	default:
		// A kind of result that a newer server knows.
		return Result{Err: &CallError{Code: codes.Unknown, Message: "a result of an unknown kind"}}
	}
}

package turnout_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"

	turnout "github.com/turnout-dev/turnout/clients/go"
	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// Longer than any step of a passing test takes: what ends a test that would hang.
const patience = 30 * time.Second

// seenCall is what the service saw of one attempt.
type seenCall struct {
	method    string
	metadata  metadata.MD
	remaining time.Duration
}

// fake is a service that answers as a test says, on a real loopback port.
type fake struct {
	turnoutv1.UnimplementedRoutingServiceServer
	turnoutv1.UnimplementedCompletionServiceServer
	connectionCounter

	route    func(context.Context, *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error)
	batch    func(*turnoutv1.RouteBatchRequest) *turnoutv1.RouteBatchResponse
	complete func(grpc.ServerStreamingServer[turnoutv1.CompleteStreamResponse]) error
	health   *health.Server
	target   string

	mutex    sync.Mutex
	calls    []seenCall
	requests []*turnoutv1.RouteRequest
}

// connectionCounter counts a server's open connections, and all there ever were.
type connectionCounter struct{ open, ever atomic.Int64 }

func (c *connectionCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return ctx
}

func (c *connectionCounter) HandleRPC(context.Context, stats.RPCStats) {}

func (c *connectionCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

func (c *connectionCounter) HandleConn(_ context.Context, event stats.ConnStats) {
	switch event.(type) {
	case *stats.ConnBegin:
		c.open.Add(1)
		c.ever.Add(1)
	case *stats.ConnEnd:
		c.open.Add(-1)
	}
}

func serve(t *testing.T, transport ...credentials.TransportCredentials) *fake {
	t.Helper()
	f := &fake{health: health.NewServer()}
	f.route = func(_ context.Context, request *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		return answer(request), nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	options := []grpc.ServerOption{grpc.StatsHandler(&f.connectionCounter), grpc.MaxRecvMsgSize(64 << 20)}
	for _, one := range transport {
		options = append(options, grpc.Creds(one))
	}
	server := grpc.NewServer(options...)
	turnoutv1.RegisterRoutingServiceServer(server, f)
	turnoutv1.RegisterCompletionServiceServer(server, f)
	healthv1.RegisterHealthServer(server, f.health)
	f.target = listener.Addr().String()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return f
}

// open is a client whose deadlines a busy machine does not reach, if the options say nothing else.
func open(t *testing.T, target string, options ...turnout.Option) *turnout.Client {
	t.Helper()
	patient := []turnout.Option{turnout.WithTimeout(patience), turnout.WithRouteOrTimeout(patience)}
	client, err := turnout.New(target, append(patient, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client
}

// answer has the prompt as its policy, so that results can be told apart.
func answer(request *turnoutv1.RouteRequest) *turnoutv1.RouteResponse {
	return &turnoutv1.RouteResponse{
		DecisionId: "0123456789abcdef0123456789abcdef",
		Status:     turnoutv1.DecisionStatus_DECISION_STATUS_DECIDED,
		Tier:       "mid",
		Deployment: "mid-a",
		Policy:     request.GetPrompt(),
	}
}

func (f *fake) see(ctx context.Context, method string, requests ...*turnoutv1.RouteRequest) {
	found, _ := metadata.FromIncomingContext(ctx)
	deadline, _ := ctx.Deadline()
	f.mutex.Lock()
	defer f.mutex.Unlock()
	f.calls = append(f.calls, seenCall{method, found, time.Until(deadline)})
	f.requests = append(f.requests, requests...)
}

func (f *fake) seen() []seenCall {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return append([]seenCall(nil), f.calls...)
}

func (f *fake) Route(ctx context.Context, request *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
	f.see(ctx, "Route", request)
	return f.route(ctx, request)
}

func (f *fake) RouteBatch(
	ctx context.Context, request *turnoutv1.RouteBatchRequest,
) (*turnoutv1.RouteBatchResponse, error) {
	f.see(ctx, "RouteBatch", request.GetRequests()...)
	if f.batch != nil {
		return f.batch(request), nil
	}
	response := &turnoutv1.RouteBatchResponse{}
	for _, one := range request.GetRequests() {
		decision, err := f.route(ctx, one)
		if err != nil {
			return nil, err
		}
		response.Results = append(response.Results, decided(decision))
	}
	return response, nil
}

func (f *fake) RouteStream(
	stream grpc.BidiStreamingServer[turnoutv1.RouteStreamRequest, turnoutv1.RouteStreamResponse],
) error {
	f.see(stream.Context(), "RouteStream")
	for {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		decision, err := f.route(stream.Context(), request.GetRequest())
		if err != nil {
			return err
		}
		if err := stream.Send(&turnoutv1.RouteStreamResponse{Result: decided(decision)}); err != nil {
			return err
		}
	}
}

func (f *fake) Complete(
	ctx context.Context, request *turnoutv1.CompleteRequest,
) (*turnoutv1.CompleteResponse, error) {
	f.see(ctx, "Complete")
	_, err := f.route(ctx, turnout.Prompt(request.GetPrompt()))
	return &turnoutv1.CompleteResponse{Message: &turnoutv1.ChatMessage{Content: "whole"}}, err
}

func (f *fake) CompleteStream(
	_ *turnoutv1.CompleteStreamRequest, stream grpc.ServerStreamingServer[turnoutv1.CompleteStreamResponse],
) error {
	f.see(stream.Context(), "CompleteStream")
	return f.complete(stream)
}

func decided(decision *turnoutv1.RouteResponse) *turnoutv1.RouteResult {
	return &turnoutv1.RouteResult{Result: &turnoutv1.RouteResult_Response{Response: decision}}
}

func text(content string) *turnoutv1.CompleteStreamResponse {
	delta := &turnoutv1.TextDelta{Text: content}
	return &turnoutv1.CompleteStreamResponse{Event: &turnoutv1.CompleteStreamResponse_Text{Text: delta}}
}

package turnout

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"google.golang.org/grpc"

	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// CompleteStream has a request answered, as the answer comes: `started` first; after `restarted` the deltas before it do
// not count; `finished` last. Leaving the loop cancels the call. The client retries nothing.
//
// An error is the last item, after a `failed` event where anything was asked upstream: there is no whole answer.
func (c *Client) CompleteStream(
	ctx context.Context, request *turnoutv1.CompleteStreamRequest,
) iter.Seq2[*turnoutv1.CompleteStreamResponse, error] {
	return func(yield func(*turnoutv1.CompleteStreamResponse, error) bool) {
		if c.closed.Load() {
			yield(nil, ErrClosed)
			return
		}
		ctx, cancel := withDefaultTimeout(ctx, sharedServiceConfig.timeouts[turnoutv1.CompletionService_CompleteStream_FullMethodName])
		defer cancel()
		stream, err := c.nextLane().completion.CompleteStream(ctx, request)
		for err == nil {
			var event *turnoutv1.CompleteStreamResponse
			if event, err = stream.Recv(); err == nil && !yield(event, nil) {
				return
			}
		}
		if !errors.Is(err, io.EOF) {
			yield(nil, decodeError(err))
		}
	}
}

// RouteStream asks for decisions as requests come, and gives their results in order. Leaving the loop cancels the call.
// It is not retried; its default deadline is an hour.
//
// A goroutine reads the requests, ahead of the results. It ends when they do, or at the next one after the stream has
// ended: requests that wait for something must end with the context. An error is the last item: the stream as a whole
// failed.
func (c *Client) RouteStream(
	ctx context.Context, requests iter.Seq[*turnoutv1.RouteRequest],
) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		if c.closed.Load() {
			yield(Result{}, ErrClosed)
			return
		}
		ctx, cancel := withDefaultTimeout(ctx, sharedServiceConfig.timeouts[turnoutv1.RoutingService_RouteStream_FullMethodName])
		defer cancel()
		stream, err := c.nextLane().routing.RouteStream(ctx)
		if err != nil {
			yield(Result{}, decodeError(err))
			return
		}
		sender := sender{stream: stream}
		go sender.run(ctx, requests)
		for {
			response, err := stream.Recv()
			switch {
			case err == nil:
				if !yield(decodeResult(response.GetResult()), nil) {
					return
				}
			case errors.Is(err, io.EOF):
				return
			default:
				cancel()
				if unsent := sender.failure(); unsent != nil {
					err = unsent
				}
				yield(Result{}, decodeError(err))
				return
			}
		}
	}
}

// sender writes the requests of a stream.
type sender struct {
	stream grpc.BidiStreamingClient[turnoutv1.RouteStreamRequest, turnoutv1.RouteStreamResponse]
	// Held while a request is sent: one that cannot be ends the stream before Send returns.
	mutex sync.Mutex
	err   error
}

func (s *sender) run(ctx context.Context, requests iter.Seq[*turnoutv1.RouteRequest]) {
	for request := range requests {
		if ctx.Err() != nil || !s.send(request) {
			return
		}
	}
	// It fails only where the stream has ended.
	_ = s.stream.CloseSend()
}

func (s *sender) send(request *turnoutv1.RouteRequest) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	err := s.stream.Send(&turnoutv1.RouteStreamRequest{Request: request})
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return err == nil
}

// failure is why a request could not be sent; nil where the stream ended for another reason.
func (s *sender) failure() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.err
}

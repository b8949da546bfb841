package turnout_test

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"

	turnout "github.com/turnout-dev/turnout/clients/go"
	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// A thousand calls, ten thousand with TURNOUT_FULL=1, two in five of them cancelled, leave nothing behind.
func TestCallsLeaveNothingBehind(t *testing.T) {
	rounds := 200
	if os.Getenv("TURNOUT_FULL") == "1" {
		rounds = 2_000
	}
	f := serve(t)
	f.route = func(ctx context.Context, request *turnoutv1.RouteRequest) (*turnoutv1.RouteResponse, error) {
		if request.GetPrompt() == "slow" {
			<-ctx.Done()
		}
		return answer(request), ctx.Err()
	}
	f.complete = func(stream grpc.ServerStreamingServer[turnoutv1.CompleteStreamResponse]) error {
		for {
			if err := stream.Send(text("a")); err != nil {
				return err
			}
		}
	}
	before := runtime.NumGoroutine()
	client, err := turnout.New(f.target, turnout.WithConnections(2), turnout.WithTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	useFiveTimes(t, client)
	whileOpen := runtime.NumGoroutine()
	for range rounds - 1 {
		useFiveTimes(t, client)
	}
	settle(t, "goroutines while the client is open", func() int { return runtime.NumGoroutine() - whileOpen })
	if found := f.ever.Load(); found != 2 {
		t.Errorf("%d connections were made for a pool of 2", found)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	settle(t, "connections", func() int { return int(f.open.Load()) })
	settle(t, "goroutines", func() int { return runtime.NumGoroutine() - before })
}

func TestClientsLeaveNothingBehind(t *testing.T) {
	f := serve(t)
	before := runtime.NumGoroutine()
	for range 50 {
		client, err := turnout.New(f.target, turnout.WithConnections(2), turnout.WithTimeout(patience))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := client.Route(t.Context(), turnout.Prompt("a")); err != nil {
				t.Error(err)
			}
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
	settle(t, "connections", func() int { return int(f.open.Load()) })
	settle(t, "goroutines", func() int { return runtime.NumGoroutine() - before })
}

func useFiveTimes(t *testing.T, client *turnout.Client) {
	t.Helper()
	if _, err := client.Route(t.Context(), turnout.Prompt("a")); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	_, err := client.Route(ctx, turnout.Prompt("slow"))
	cancel()
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(time.Millisecond, cancel)
	if _, err := client.Route(ctx, turnout.Prompt("slow")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, err := range client.RouteStream(t.Context(), slices.Values(prompts("a", "b", "c"))) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	for _, err := range client.CompleteStream(t.Context(), &turnoutv1.CompleteStreamRequest{}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
}

// settle waits until nothing is left over: gRPC tidies up behind the caller's back.
func settle(t *testing.T, what string, left func() int) {
	t.Helper()
	for end := time.Now().Add(patience); left() > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: %d are left", what, left())
		}
	}
}

// Command conformance runs the cases of the conformance table through the Go client: conformance cases.json. What it reads
// and writes is described in tests/conformance/README.md of the project.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/protobuf/proto"

	turnout "github.com/turnout-dev/turnout/clients/go"
	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

type message struct {
	Base64 []byte `json:"base64"`
}

type testCase struct {
	ID                string    `json:"id"`
	Address           string    `json:"address"`
	Operation         string    `json:"operation"`
	Requests          []message `json:"requests"`
	TimeoutS          float64   `json:"timeout_s"`
	DefaultTier       string    `json:"default_tier"`
	CancelAfterS      float64   `json:"cancel_after_s"`
	CancelAfterEvents int       `json:"cancel_after_events"`
	Connections       int       `json:"connections"`
}

type outcome map[string]any

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: conformance cases.json")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var document struct {
		Cases []testCase `json:"cases"`
	}
	if err := json.Unmarshal(file, &document); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	output := json.NewEncoder(os.Stdout)
	for _, one := range document.Cases {
		found, err := one.run()
		if err != nil {
			return fmt.Errorf("%s: %w", one.ID, err)
		}
		if err := output.Encode(map[string]any{"id": one.ID, "outcome": found}); err != nil {
			return err
		}
	}
	return nil
}

func (t testCase) run() (outcome, error) {
	options := []turnout.Option{turnout.WithConnections(max(t.Connections, 1))}
	if t.Operation == "route_or" && t.TimeoutS > 0 {
		options = append(options, turnout.WithRouteOrTimeout(seconds(t.TimeoutS)))
	}
	client, err := turnout.New(t.Address, options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if t.TimeoutS > 0 {
		ctx, cancel = context.WithTimeout(ctx, seconds(t.TimeoutS))
		defer cancel()
	}
	if t.CancelAfterS > 0 {
		defer time.AfterFunc(seconds(t.CancelAfterS), cancel).Stop()
	}
	found := outcome{}
	failed, err := t.call(ctx, client, found)
	if err != nil {
		return nil, err
	}
	if failed != nil {
		found["error"] = errorForm(failed)
	}
	failedOpen := 0
	for _, count := range client.FailOpenCount() {
		failedOpen += count
	}
	found["failed_open"] = failedOpen
	return found, nil
}

// call puts what comes into found. It gives the call's own error, and then one of the case.
func (t testCase) call(ctx context.Context, client *turnout.Client, found outcome) (failed, err error) {
	switch t.Operation {
	case "route":
		requests, err := read[turnoutv1.RouteRequest](t)
		if err != nil {
			return nil, err
		}
		decision, failed := client.Route(ctx, requests[0])
		if failed != nil {
			return failed, nil
		}
		found["response"] = messageForm(decision.RouteResponse)
	case "route_or":
		requests, err := read[turnoutv1.RouteRequest](t)
		if err != nil {
			return nil, err
		}
		decision, failed := client.RouteOr(ctx, t.DefaultTier, requests[0])
		if failed != nil {
			return failed, nil
		}
		found["tier"], found["fell_back"] = decision.GetTier(), decision.FellBack
		if !decision.FellBack {
			found["response"] = messageForm(decision.RouteResponse)
		}
	case "route_batch":
		requests, err := read[turnoutv1.RouteRequest](t)
		if err != nil {
			return nil, err
		}
		results, failed := client.RouteBatch(ctx, requests)
		if failed != nil {
			return failed, nil
		}
		forms := []outcome{}
		for _, result := range results {
			forms = append(forms, resultForm(result))
		}
		found["results"] = forms
	case "route_stream":
		requests, err := read[turnoutv1.RouteRequest](t)
		if err != nil {
			return nil, err
		}
		forms := []outcome{}
		for result, failure := range client.RouteStream(ctx, slices.Values(requests)) {
			if failed = failure; failed != nil {
				break
			}
			if forms = append(forms, resultForm(result)); len(forms) == t.CancelAfterEvents {
				break
			}
		}
		found["results"] = forms
	case "complete":
		requests, err := read[turnoutv1.CompleteRequest](t)
		if err != nil {
			return nil, err
		}
		response, failed := client.Complete(ctx, requests[0])
		if failed != nil {
			return failed, nil
		}
		found["response"] = messageForm(response)
	case "complete_stream":
		requests, err := read[turnoutv1.CompleteStreamRequest](t)
		if err != nil {
			return nil, err
		}
		forms := []outcome{}
		for event, failure := range client.CompleteStream(ctx, requests[0]) {
			if failed = failure; failed != nil {
				break
			}
			if forms = append(forms, messageForm(event)); len(forms) == t.CancelAfterEvents {
				break
			}
		}
		found["events"] = forms
	case "check_health":
		status, failed := client.CheckHealth(ctx, "")
		if failed != nil {
			return failed, nil
		}
		found["health"] = status.String()
	default:
		return nil, fmt.Errorf("operation: %s is not known", t.Operation)
	}
	return failed, nil
}

func read[M any, P interface {
	*M
	proto.Message
}](t testCase) ([]P, error) {
	requests := make([]P, len(t.Requests))
	for i, one := range t.Requests {
		requests[i] = new(M)
		if err := proto.Unmarshal(one.Base64, requests[i]); err != nil {
			return nil, err
		}
	}
	return requests, nil
}

func messageForm(answer proto.Message) outcome {
	bytes, err := proto.Marshal(answer)
	if err != nil {
		panic("what was read cannot be written: " + err.Error())
	}
	return outcome{"base64": base64.StdEncoding.EncodeToString(bytes)}
}

func resultForm(result turnout.Result) outcome {
	if result.Err != nil {
		return outcome{"error": errorForm(result.Err)}
	}
	return outcome{"response": messageForm(result.Decision.RouteResponse)}
}

func errorForm(err error) outcome {
	var call *turnout.CallError
	if !errors.As(err, &call) {
		return outcome{"kind": "none of the client's: " + err.Error()}
	}
	form := outcome{
		"kind":          kind(err),
		"code":          code.Code(call.Code).String(),
		"reason":        call.Reason,
		"field":         call.Metadata["field"],
		"metadata":      call.Metadata,
		"retry_after_s": nil,
	}
	if call.Reason == "" {
		form["reason"] = "UNSPECIFIED"
	}
	if delay, known := call.RetryAfter(); known {
		form["retry_after_s"] = delay.Seconds()
	}
	return form
}

func kind(err error) string {
	switch err.(type) {
	case *turnout.InvalidRequestError:
		return "invalid_request"
	case *turnout.NoCandidateError:
		return "no_candidate"
	case *turnout.OverloadedError:
		return "overloaded"
	case *turnout.UnavailableError:
		return "unavailable"
	case *turnout.DeadlineExceededError:
		return "deadline_exceeded"
	case *turnout.CancelledError:
		return "cancelled"
	case *turnout.AccessDeniedError:
		return "access_denied"
	case *turnout.InternalError:
		return "internal"
	default:
		return "other"
	}
}

func seconds(count float64) time.Duration { return time.Duration(count * float64(time.Second)) }

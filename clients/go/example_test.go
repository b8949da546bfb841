package turnout_test

import (
	"context"
	"fmt"
	"log"

	turnout "github.com/turnout-dev/turnout/clients/go"
	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// The service fails, is slow or is away: the caller's default tier serves.
func ExampleClient_RouteOr() {
	client, err := turnout.New("localhost:50051")
	if err != nil {
		log.Fatal(err)
	}
	decision, err := client.RouteOr(context.Background(), "frontier", turnout.Prompt("Summarise this contract."))
	if err != nil {
		log.Fatal("the request breaks the contract: ", err)
	}
	fmt.Println(decision.GetTier(), decision.FellBack, client.FailOpenCount())
}

func ExampleClient_CompleteStream() {
	client, err := turnout.New("localhost:50051")
	if err != nil {
		log.Fatal(err)
	}
	if err := printAnswer(context.Background(), client, "Plan a week in Rome."); err != nil {
		log.Fatal("no whole answer: ", err)
	}
}

func printAnswer(ctx context.Context, client *turnout.Client, prompt string) error {
	request := &turnoutv1.CompleteStreamRequest{Request: &turnoutv1.CompleteRequest{Prompt: &prompt}}
	for event, err := range client.CompleteStream(ctx, request) {
		if err != nil {
			return err
		}
		fmt.Print(event.GetText().GetText())
		if finished := event.GetFinished(); finished != nil {
			fmt.Printf("\n%s: %d nano-dollars\n", finished.GetTier(), finished.GetCost().GetNanoUsd())
		}
	}
	return nil
}

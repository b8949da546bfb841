// Command example asks which tier should answer two prompts, and why.
package main

import (
	"cmp"
	"context"
	"fmt"
	"log"
	"os"

	turnout "github.com/turnout-dev/turnout/clients/go"
)

func main() {
	client, err := turnout.New(cmp.Or(os.Getenv("TURNOUT_ADDRESS"), "localhost:50051"))
	if err != nil {
		log.Fatal(err)
	}
	for _, prompt := range []string{"What are your business hours?", "Prove that there are infinitely many primes."} {
		decision, err := client.Route(context.Background(), turnout.Prompt(prompt))
		if err != nil {
			log.Fatal("no decision: ", err)
		}
		fmt.Println("tier:      ", decision.GetTier())
		fmt.Println("deployment:", decision.GetDeployment())
		fmt.Println("candidates:", decision.GetCandidates())
		fmt.Println("reasons:   ", decision.GetReasons())
	}
	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
}

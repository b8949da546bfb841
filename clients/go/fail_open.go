package turnout

import (
	"maps"
	"sync"

	"github.com/turnout-dev/turnout/clients/go/turnoutv1"
)

// failOpen counts failures and turns them into the caller's default.
type failOpen struct {
	call   func(error)
	mutex  sync.Mutex
	counts map[string]int
}

func (f *failOpen) decide(tier string, err error, call *CallError) *Decision {
	f.mutex.Lock()
	f.counts[call.Label()]++
	f.mutex.Unlock()
	if f.call != nil {
		f.call(err)
	}
	return &Decision{
		RouteResponse: &turnoutv1.RouteResponse{
			Tier:       tier,
			Status:     turnoutv1.DecisionStatus_DECISION_STATUS_DEFAULTED,
			Strategy:   turnoutv1.Strategy_STRATEGY_SINGLE,
			Reasons:    []*turnoutv1.Reason{{Kind: turnoutv1.ReasonKind_REASON_KIND_DEFAULT, Id: call.Label()}},
			Propensity: 1,
		},
		FellBack: true,
	}
}

func (f *failOpen) copyCounts() map[string]int {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return maps.Clone(f.counts)
}

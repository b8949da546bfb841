package turnout

import (
	_ "embed"
	"encoding/json"
	"time"
)

// A copy of clients/service_config.json, which the clients of all languages share; a test compares them.
//
//go:embed service_config.json
var serviceConfigFile []byte

// serviceConfig is the file in two parts. gRPC takes a timeout of the service config as a ceiling of the caller's own
// deadline. Here it is a default, so the timeouts are left out of what the channel is given.
type serviceConfig struct {
	channelJSON string
	// By a method's full name, such as /turnout.v1.RoutingService/Route.
	timeouts map[string]time.Duration
}

var sharedServiceConfig = readServiceConfig(serviceConfigFile)

func readServiceConfig(file []byte) serviceConfig {
	var document struct {
		MethodConfig    []map[string]any `json:"methodConfig"`
		RetryThrottling json.RawMessage  `json:"retryThrottling"`
	}
	if err := json.Unmarshal(file, &document); err != nil {
		panic("service_config.json: " + err.Error())
	}
	config := serviceConfig{timeouts: map[string]time.Duration{}}
	for _, method := range document.MethodConfig {
		timeout, err := time.ParseDuration(method["timeout"].(string))
		if err != nil {
			panic("service_config.json: " + err.Error())
		}
		delete(method, "timeout")
		for _, item := range method["name"].([]any) {
			name := item.(map[string]any)
			config.timeouts["/"+name["service"].(string)+"/"+name["method"].(string)] = timeout
		}
	}
	rest, err := json.Marshal(map[string]any{
		"methodConfig": document.MethodConfig, "retryThrottling": document.RetryThrottling,
	})
	if err != nil {
		panic("service_config.json: " + err.Error())
	}
	config.channelJSON = string(rest)
	return config
}

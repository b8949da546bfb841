// A copy of clients/service_config.json, made by `make clients-stubs`: bundlers find no files.
export const SERVICE_CONFIG = {
  "methodConfig": [
    {
      "name": [{"service": "turnout.v1.RoutingService", "method": "Route"}],
      "timeout": "1s",
      "waitForReady": false,
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.02s",
        "maxBackoff": "0.25s",
        "backoffMultiplier": 2.5,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    },
    {
      "name": [{"service": "turnout.v1.RoutingService", "method": "RouteBatch"}],
      "timeout": "5s",
      "waitForReady": false,
      "retryPolicy": {
        "maxAttempts": 4,
        "initialBackoff": "0.05s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2.5,
        "retryableStatusCodes": ["UNAVAILABLE"]
      }
    },
    {
      "name": [{"service": "turnout.v1.RoutingService", "method": "RouteStream"}],
      "timeout": "3600s",
      "waitForReady": false
    },
    {
      "name": [{"service": "turnout.v1.CompletionService", "method": "Complete"}],
      "timeout": "120s",
      "waitForReady": false
    },
    {
      "name": [{"service": "turnout.v1.CompletionService", "method": "CompleteStream"}],
      "timeout": "600s",
      "waitForReady": false
    },
    {
      "name": [{"service": "grpc.health.v1.Health", "method": "Check"}],
      "timeout": "1s",
      "waitForReady": false
    }
  ],
  "retryThrottling": {
    "maxTokens": 100,
    "tokenRatio": 0.1
  }
}

package turnout

import "context"

// bearerToken is gRPC's PerRPCCredentials.
type bearerToken struct {
	token     string
	encrypted bool
}

func (b bearerToken) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.token}, nil
}

// Where it is false, New has seen that calls stay on this machine.
func (b bearerToken) RequireTransportSecurity() bool { return b.encrypted }

package turnout

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestWhatAClientCannotBeMadeWith(t *testing.T) {
	for _, one := range []struct {
		target string
		option Option
		told   string
	}{
		{"localhost:1", WithConnections(0), "connections: 0 breaks the limit: 1 to 256"},
		{"localhost:1", WithConnections(257), "connections: 257 breaks the limit: 1 to 256"},
		{"localhost:1", WithTimeout(-time.Second), "timeout: -1s breaks the limit: more than 0"},
		{"localhost:1", WithRouteOrTimeout(0), "route-or timeout: 0s breaks the limit: more than 0"},
		{"localhost:1", WithUserAgent("a\nb"), "user agent: printable ASCII is needed"},
		{"localhost:1", WithToken("s3cret with spaces"), "token: printable ASCII without spaces is needed"},
		{"router.test:1", WithToken("s3cret"), "token: router.test:1 is not on this machine, so TLS is needed"},
	} {
		_, err := New(one.target, one.option)
		if err == nil || !strings.Contains(err.Error(), one.told) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v, %q wanted", err, one.told)
		}
	}
	client, err := New("router.test:1", WithToken("s3cret"), WithTLS(&tls.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhereATokenMayGoInClearText(t *testing.T) {
	for target, stays := range map[string]bool{
		"localhost:50051":                       true,
		"127.0.0.1:50051":                       true,
		"127.0.0.2":                             true,
		"[::1]:50051":                           true,
		"dns:///localhost:50051":                true,
		"passthrough:///127.0.0.1:50051":        true,
		"unix:/run/turnout.sock":                true,
		"unix-abstract:turnout":                 true,
		"router.internal:50051":                 false,
		"10.0.0.1:50051":                        false,
		"localhost.evil.test:50051":             false,
		"dns://127.0.0.1/router.internal:50051": false,
		"xds:///router":                         false,
	} {
		if staysOnMachine(target) != stays {
			t.Errorf("%s: %v", target, !stays)
		}
	}
}

func TestTheServiceConfigIsTheSharedOneWithoutTimeouts(t *testing.T) {
	if strings.Contains(sharedServiceConfig.channelJSON, "timeout") || !json.Valid([]byte(sharedServiceConfig.channelJSON)) {
		t.Error(sharedServiceConfig.channelJSON)
	}
	if found := sharedServiceConfig.timeouts["/turnout.v1.RoutingService/Route"]; found != time.Second {
		t.Error(found)
	}
	sameInCheckout(t, "service_config.json", "../service_config.json")
	sameInCheckout(t, "LICENSE", "../../LICENSE")
}

func TestTheVersionIsTheProjects(t *testing.T) {
	if project := read(t, "../../pyproject.toml"); !bytes.Contains(project, []byte("\nversion = \""+Version+"\"\n")) {
		t.Errorf("%s is not the version in pyproject.toml", Version)
	}
}

func TestTheReadmeShowsTheExamples(t *testing.T) {
	code := append(read(t, "example/main.go"), read(t, "example_test.go")...)
	shown := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllSubmatch(read(t, "README.md"), -1)
	if len(shown) != 2 {
		t.Errorf("%d examples", len(shown))
	}
	for _, block := range shown {
		if !bytes.Contains(code, block[1]) {
			t.Errorf("README.md shows what is not in the examples:\n%s", block[1])
		}
	}
}

func sameInCheckout(t *testing.T, path, original string) {
	t.Helper()
	if !bytes.Equal(read(t, path), read(t, original)) {
		t.Errorf("%s is not %s", path, original)
	}
}

// read skips the test where the module stands alone, as it is published.
func read(t *testing.T, path string) []byte {
	t.Helper()
	file, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not there", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

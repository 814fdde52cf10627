package vpcd

import (
	"net"
	"os"
	"testing"
)

// Kills: a look that is itself a listener, which now and then kept the driver from
// its port; one that sees nothing.
func TestListening(t *testing.T) {
	if _, err := os.Stat("/proc/net/tcp"); err != nil {
		t.Skip("the daemon's virtual reader is Linux's: ", err)
	}
	for _, network := range []string{"tcp4", "tcp6"} {
		l, err := net.Listen(network, "localhost:0")
		if err != nil {
			t.Logf("%s: %v", network, err)
			continue
		}
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		const tcpmux = 1 // that nobody has used for decades
		if ports, err := listening(); err != nil || !ports[port] || ports[tcpmux] {
			t.Errorf("%s: somebody listens on port %d: %v, on port %d: %v; %v", network, port, ports[port], tcpmux, ports[tcpmux], err)
		}
	}
}

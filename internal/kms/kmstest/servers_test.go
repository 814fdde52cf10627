package kmstest_test

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"
)

// started starts a server that others wrote, and returns its URL once it answers.
// install is the command that brings the program; command says how it is to be
// started there.
func started(t *testing.T, name, install, health string, command func(address string, server *exec.Cmd)) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("TUFOPS_REQUIRE_KMS_SERVERS") != "" {
			t.Fatalf("%s is not in PATH", name)
		}
		t.Skipf("%s is not in PATH: %s", name, install)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var said bytes.Buffer
	server := exec.CommandContext(ctx, program)
	server.Stdout, server.Stderr = &said, &said
	command(address, server)
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for range 600 {
		if answer, err := http.Get("http://" + address + health); err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", name, err, &said)
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("%s does not answer", name)
	return ""
}

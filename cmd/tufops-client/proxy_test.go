package main

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tufops/tufops/client/clienttest"
	"github.com/tufops/tufops/internal/metadata"
)

// forwarder is an HTTP proxy for both ways: it passes requests on, and tunnels
// what CONNECT asks for. Whatever host it is asked for, it goes to one of two
// servers of the test; so names need not exist.
type forwarder struct {
	plain, tls string // addresses
	user       string // user:password that it asks for; empty: nothing

	mu   sync.Mutex
	seen []string // methods and hosts
}

func (f *forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.seen = append(f.seen, r.Method+" "+r.Host)
	f.mu.Unlock()
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte(f.user)); f.user != "" && r.Header.Get("Proxy-Authorization") != want {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		out, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+f.plain+r.URL.Path, nil)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
		return
	}
	there, err := net.Dial("tcp", f.tls)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	done := make(chan struct{})
	go func() { defer close(done); _, _ = io.Copy(there, buffered); _ = there.(*net.TCPConn).CloseWrite() }()
	_, _ = io.Copy(here, there)
	_ = here.Close()
	<-done
}

// hosts lists what was asked of the proxy, each once.
func (f *forwarder) hosts() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.seen)
	return strings.Join(slices.Compact(f.seen), ", ")
}

// TestProxies: the proxy that the environment names is used for what it names it
// for, and for nothing else. Each case is a process of its own, since Go reads these
// variables once. Loopback has no proxy, whatever they say; 0.0.0.0 has, and leads
// to this machine all the same.
func TestProxies(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs SSL_CERT_FILE and 0.0.0.0, as Linux has them")
	}
	repo := clienttest.New()
	repo.AddTarget(metadata.Targets, "trusted_root.json", trustedRoot1)
	repo.Publish(metadata.Targets)
	plain, secure := httptest.NewServer(repo), httptest.NewTLSServer(repo)
	defer plain.Close()
	defer secure.Close()
	dir := t.TempDir()
	certificates, root := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "root.json")
	for file, data := range map[string][]byte{
		certificates: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), root: repo.Files["metadata/1.root.json"],
	} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(plain.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here := "0.0.0.0:" + port

	for _, test := range []struct {
		name string
		user string   // that the proxy asks for
		env  []string // ADDRESS stands for its address
		url  string
		seen string // by the proxy
		fail string // part of the error; empty: it works
	}{
		{"a tunnel for https", "", []string{"HTTPS_PROXY=http://ADDRESS"}, "https://example.com", "CONNECT example.com:443", ""},
		{"in lower case", "", []string{"https_proxy=http://ADDRESS"}, "https://example.com:8443/", "CONNECT example.com:8443", ""},
		{"without a scheme", "", []string{"HTTPS_PROXY=ADDRESS"}, "https://example.com", "CONNECT example.com:443", ""},
		{"with a password", "user:geheim", []string{"HTTPS_PROXY=http://user:geheim@ADDRESS"}, "https://example.com", "CONNECT example.com:443", ""},
		{"with a wrong password", "user:geheim", []string{"HTTPS_PROXY=http://user:falsch@ADDRESS"}, "https://example.com", "CONNECT example.com:443",
			"error: fetch https://example.com/metadata/2.root.json: the proxy http://user:xxxxx@ADDRESS does not take the name and password it was given: HTTP status 407\ntufops-client: hint: put the name and password that it takes into HTTPS_PROXY,"},
		{"without the password that it asks for", "user:geheim", []string{"HTTPS_PROXY=http://ADDRESS"}, "https://example.com", "CONNECT example.com:443", "the proxy http://ADDRESS asks for a name and password: HTTP status 407"},
		{"http", "", []string{"HTTP_PROXY=http://ADDRESS"}, "http://tuf.invalid", "GET tuf.invalid", ""},
		{"http with a password", "user:geheim", []string{"HTTP_PROXY=http://user:geheim@ADDRESS"}, "http://tuf.invalid", "GET tuf.invalid", ""},
		{"http with a wrong password", "user:geheim", []string{"HTTP_PROXY=http://user:falsch@ADDRESS"}, "http://tuf.invalid", "GET tuf.invalid", "the proxy http://user:xxxxx@ADDRESS does not take the name and password it was given: HTTP status 407\ntufops-client: hint: put the name and password that it takes into HTTP_PROXY,"},
		{"an address", "", []string{"HTTP_PROXY=http://ADDRESS"}, "http://" + here, "GET " + here, ""},
		{"an address that is excepted", "", []string{"HTTP_PROXY=http://ADDRESS", "NO_PROXY=example.org,0.0.0.0"}, "http://" + here, "", ""},
		{"an address that is excepted with its port", "", []string{"HTTP_PROXY=http://ADDRESS", "no_proxy=" + here}, "http://" + here, "", ""},
		{"all is excepted", "", []string{"HTTP_PROXY=http://ADDRESS", "NO_PROXY=*"}, "http://" + here, "", ""},
		{"another is excepted", "", []string{"HTTP_PROXY=http://ADDRESS", "NO_PROXY=example.org,10.0.0.0/8"}, "http://" + here, "GET " + here, ""},
		{"the proxy is for the other scheme", "", []string{"HTTPS_PROXY=http://ADDRESS"}, "http://" + here, "", ""},
		{"loopback", "", []string{"HTTP_PROXY=http://ADDRESS"}, plain.URL, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &forwarder{plain: plain.Listener.Addr().String(), tls: secure.Listener.Addr().String(), user: test.user}
			proxy := httptest.NewServer(f)
			defer proxy.Close()
			var stdout, stderr bytes.Buffer
			program := exec.Cmd{Path: os.Args[0], Args: []string{"tufops-client", "trusted-root", "--time", "2026-01-01T00:00:00Z", "--root", root, "--metadata-url", strings.TrimSuffix(test.url, "/") + "/metadata"},
				Env: []string{"SSL_CERT_FILE=" + certificates, "HOME=" + dir}, Stdout: &stdout, Stderr: &stderr}
			fill := func(text string) string { return strings.ReplaceAll(text, "ADDRESS", proxy.Listener.Addr().String()) }
			for _, one := range test.env {
				program.Env = append(program.Env, fill(one))
			}
			err := program.Run()
			if n := len(f.seen); test.fail != "" && n > 1 {
				t.Errorf("what cannot work was tried %d times", n)
			}
			if got := f.hosts(); got != test.seen {
				t.Errorf("the proxy saw %q, want %q", got, test.seen)
			}
			switch {
			case test.fail == "" && (err != nil || stdout.String() != trustedRoot1):
				t.Errorf("%v: %s%s", err, stdout.String(), stderr.String())
			case test.fail != "" && (err == nil || !strings.Contains(stderr.String(), fill(test.fail))):
				t.Errorf("%v: %s, want %s", err, stderr.String(), fill(test.fail))
			}
			if text := stderr.String(); strings.Contains(text, "heim") || strings.Contains(text, "falsch") {
				t.Errorf("it shows the password: %s", text)
			}
		})
	}
}

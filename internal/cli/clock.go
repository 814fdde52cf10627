package cli

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

const clockVariable = "TUFOPS_NOW"

// Clock returns the clock of the program: the system's, or one that stands at
// TUFOPS_NOW if that is set. A value that is not RFC 3339 is a usage error.
//
// [Run] says on stderr that TUFOPS_NOW is in force. Whatever writes to the
// outside asks [RefuseSimulatedClock] first.
func Clock(env Env) (func() time.Time, error) {
	value := env.Getenv(clockVariable)
	if value == "" {
		return time.Now, nil
	}
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return nil, WithHint(
			Usagef("%s is %q, not a time such as 2026-08-21T00:00:00Z", clockVariable, value),
			"unset "+clockVariable+" to work with the real clock")
	}
	return func() time.Time { return t }, nil
}

func noteClock(env Env, program string) error {
	now, err := Clock(env)
	if err != nil {
		return err
	}
	if env.Getenv(clockVariable) != "" {
		say(env.Stderr, program, "note", fmt.Sprintf("%s is set: the clock stands at %s", clockVariable, now().Format(time.RFC3339)))
	}
	return nil
}

// RefuseSimulatedClock returns a usage error if TUFOPS_NOW is in force and one of
// the targets is neither a path nor on loopback: what a simulation signs must not
// leave the machine.
//
// A target is where bytes would really go: the URL of a push remote after
// git's own rewriting (git remote get-url --push --all), the endpoint of a KMS
// or object store as a URL or host:port, a destination as a path or file: URL.
// What cannot be understood is refused.
func RefuseSimulatedClock(env Env, targets ...string) error {
	if env.Getenv(clockVariable) == "" {
		return nil
	}
	for _, target := range targets {
		if !local(target) {
			return WithHint(
				Usagef("%s is set, and %q is neither a path nor on loopback", clockVariable, target),
				"unset "+clockVariable+" to work with the real clock")
		}
	}
	return nil
}

// hostSchemes are the URL schemes whose authority is the host that is talked
// to; in gs://localhost/ it is a bucket.
var hostSchemes = []string{"http", "https", "ssh", "git", "git+ssh", "ssh+git", "grpc"}

func local(target string) bool {
	if target == "" {
		return false
	}
	if scheme, _, found := strings.Cut(target, "://"); found && !strings.ContainsAny(scheme, "/@") {
		u, err := url.Parse(target)
		switch {
		case err != nil:
			return false
		case u.Scheme == "file":
			return u.Host == "" || loopback(u.Host)
		default:
			return slices.Contains(hostSchemes, u.Scheme) && loopback(u.Hostname())
		}
	}
	if rest, found := strings.CutPrefix(target, "["); found { // [::1]:443, [host:22]:path
		host, _, _ := strings.Cut(rest, "]")
		return bracketed(host)
	}
	head, _, found := strings.Cut(target, ":")
	if !found || strings.Contains(head, "/") {
		return true // a path; in git, a colon after a slash is part of it
	}
	if head == "file" || head == "file2" {
		return true // file:PATH, file2:PATH
	}
	// What is left is scp-like ([user@]host:path), host:port, or a URI without
	// a host such as gcpkms:projects/..., which no loopback name equals.
	if user, rest, found := strings.Cut(target, "@["); found && !strings.ContainsAny(user, "/:") {
		host, _, _ := strings.Cut(rest, "]")
		return bracketed(host)
	}
	if i := strings.LastIndexByte(head, '@'); i >= 0 {
		head = head[i+1:]
	}
	return !strings.HasPrefix(target[strings.IndexByte(target, ':'):], "::") && loopback(head)
}

// bracketed reports whether what git and Go write in brackets, an IPv6 address
// or host:port, is loopback.
func bracketed(s string) bool {
	if loopback(s) {
		return true
	}
	host, port, found := strings.Cut(s, ":")
	return found && strings.Trim(port, "0123456789") == "" && loopback(host)
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

package signer

import (
	"net/url"
	"strings"
)

// pullRequestURL is where a browser opens a pull request from a fork to an
// event's branch; empty where a remote is not on a forge whose pages are known.
func pullRequestURL(pull, push, event, title string) string {
	host, to, ok := onForge(pull)
	from, fork, okFork := onForge(push)
	if !ok || !okFork || host != "github.com" || from != host {
		return ""
	}
	branch := func(name string) string { return strings.ReplaceAll(url.PathEscape(name), "%2F", "/") }
	return "https://" + host + "/" + to + "/compare/" + branch(event) + "..." + strings.ReplaceAll(fork, "/", ":") + ":" + branch(event) +
		"?" + url.Values{"quick_pull": {"1"}, "title": {title}}.Encode()
}

// onForge reads host and OWNER/NAME from the URL of a remote: https://, ssh:// or
// as scp has it.
func onForge(remote string) (host, repository string, ok bool) {
	scheme, host, path := located(remote)
	owner, name, found := strings.Cut(path, "/")
	for _, part := range []string{owner, name} {
		if part == "" || strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			return "", "", false
		}
	}
	return host, path, found && host != "" && (scheme == "https" || scheme == "ssh")
}

// located takes the URL of a remote apart, also one as scp has it. The host, in
// lower case and without a port, is empty for a folder.
func located(remote string) (scheme, host, path string) {
	if u, err := url.Parse(remote); err == nil && u.Host != "" {
		scheme, host, path = u.Scheme, u.Hostname(), u.Path
	} else if at, rest, found := strings.Cut(remote, ":"); found && len(at) > 1 && !strings.Contains(at, "/") && !strings.HasPrefix(rest, "//") { // C: is a drive
		if _, host, found = strings.Cut(at, "@"); !found {
			host = at
		}
		scheme, path = "ssh", rest
	}
	if scheme == "" || host == "" {
		return "", "", remote
	}
	return scheme, strings.ToLower(host), strings.TrimSuffix(strings.Trim(path, "/"), ".git")
}

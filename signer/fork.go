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
	path := ""
	if u, err := url.Parse(remote); err == nil && u.Host != "" {
		if u.Scheme != "https" && u.Scheme != "ssh" {
			return "", "", false
		}
		host, path = u.Hostname(), u.Path
	} else if at, rest, found := strings.Cut(remote, ":"); found && !strings.Contains(at, "/") {
		_, host, found = strings.Cut(at, "@")
		if !found {
			host = at
		}
		path = rest
	}
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	owner, name, found := strings.Cut(path, "/")
	for _, part := range []string{owner, name} {
		if part == "" || strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			return "", "", false
		}
	}
	return strings.ToLower(host), path, found && host != ""
}

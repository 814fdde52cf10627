package signer

import "testing"

func TestPullRequestURL(t *testing.T) {
	const want = "https://github.com/org/tuf/compare/sign/x...alice:tuf:sign/x?quick_pull=1&title=Signature+from+%40alice"
	for _, c := range [][3]string{
		{"https://github.com/org/tuf.git", "https://github.com/alice/tuf", want},
		{"git@github.com:org/tuf.git", "ssh://git@github.com/alice/tuf.git", want},
		{"https://token:x@github.com/org/tuf/", "github.com:alice/tuf", want},
		{"/srv/tuf.git", "https://github.com/alice/tuf", ""},
		{"https://github.com/org/tuf", "https://example.com/alice/tuf", ""},
		{"https://example.com/org/tuf", "https://example.com/alice/tuf", ""},
		{"http://github.com/org/tuf", "https://github.com/alice/tuf", ""},
		{"https://github.com/org/a/b", "https://github.com/alice/tuf", ""},
		{"https://github.com/org", "https://github.com/alice/tuf", ""},
		{"https://github.com/org/t%0auf", "https://github.com/alice/tuf", ""},
	} {
		if got := pullRequestURL(c[0], c[1], "sign/x", "Signature from @alice"); got != c[2] {
			t.Errorf("%q: %s", c[:2], got)
		}
	}
	if got := pullRequestURL("https://github.com/o/r", "https://github.com/a/r", "sign/a?b#c", "x"); got != "https://github.com/o/r/compare/sign/a%3Fb%23c...a:r:sign/a%3Fb%23c?quick_pull=1&title=x" {
		t.Error(got)
	}
}

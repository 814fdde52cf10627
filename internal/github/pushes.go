package github

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/tufops/tufops/signingevent"
)

// Pushes implements [signingevent.Forge]. go-github v60 does not have the
// endpoint, which lists what happened to a branch.
func (f *Forge) Pushes(ctx context.Context, branch string) ([]signingevent.Push, error) {
	action := fmt.Sprintf("list the pushes to %q", branch)
	req, err := f.client.NewRequest(http.MethodGet,
		fmt.Sprintf("repos/%s/%s/activity?per_page=100&ref=%s", f.owner, f.name, url.QueryEscape("refs/heads/"+branch)), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	var list []*struct {
		Before string `json:"before"`
		After  string `json:"after"`
		Ref    string `json:"ref"`
		Kind   string `json:"activity_type"`
		Actor  *struct {
			Login string `json:"login"`
		} `json:"actor"`
	}
	if _, err := f.client.Do(ctx, req, &list); err != nil {
		return nil, f.failed(action, readContents, err)
	}
	var pushes []signingevent.Push
	for _, a := range list {
		if a == nil || a.Actor == nil || a.Actor.Login == "" || a.Ref != "refs/heads/"+branch {
			continue
		}
		switch a.Kind {
		case "push", "force_push", "branch_creation":
			before := a.Before
			if strings.Trim(before, "0") == "" {
				before = ""
			}
			pushes = append(pushes, signingevent.Push{Before: before, After: a.After, Login: a.Actor.Login})
		}
	}
	return pushes, nil
}

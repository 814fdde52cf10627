package repository

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/tufops/tufops/internal/metadata"
)

// Invites are the open invitations of a signing event, in the order in which
// they were made. The zero value is none.
type Invites []Invite

// Invite asks one person to bring a key for some roles.
type Invite struct {
	Owner string // @login
	Roles []string
}

// ownerPattern is what a key owner must look like.
var ownerPattern = regexp.MustCompile(`^@[a-z0-9_-]+$`)

// maxStateFile bounds the signing-event state: a few hundred invitations.
const maxStateFile = 100_000

// ParseInvites reads a signing-event state file. It accepts nothing beside the
// documented shape, since whoever reads more leniently sees other invitations.
func ParseInvites(data []byte) (Invites, error) {
	tree, dups, err := metadata.ParseTree(data)
	if err != nil {
		return nil, err
	}
	if len(dups) > 0 {
		return nil, errors.New(dups[0].String())
	}
	top, ok := tree.(metadata.Object)
	if !ok || len(top) != 1 {
		return nil, errors.New(`it is not of the form {"invites": {"@login": ["role"]}}`)
	}
	people, ok := top["invites"].(metadata.Object)
	if !ok {
		return nil, errors.New(`it is not of the form {"invites": {"@login": ["role"]}}`)
	}
	var inv Invites
	for owner, v := range people {
		if !ownerPattern.MatchString(owner) {
			return nil, fmt.Errorf("it invites %q, which is not a login like @alice", owner)
		}
		list, ok := v.([]any)
		if !ok || len(list) == 0 {
			return nil, fmt.Errorf("it invites %s to no list of roles", owner)
		}
		one := Invite{Owner: owner}
		for _, e := range list {
			role, ok := e.(string)
			if !ok || slices.Contains(one.Roles, role) {
				return nil, fmt.Errorf("the roles it invites %s to are not distinct names", owner)
			}
			one.Roles = append(one.Roles, role)
		}
		inv = append(inv, one)
	}
	order := nameOrder(data)
	sort.SliceStable(inv, func(i, j int) bool { return order[inv[i].Owner] < order[inv[j].Owner] })
	return inv, nil
}

// nameOrder is where each string first stands in the file: the generic tree
// does not keep the order of names, and the file is written in that order.
func nameOrder(data []byte) map[string]int {
	order := map[string]int{}
	dec := json.NewDecoder(bytes.NewReader(data))
	for i := 0; ; i++ {
		t, err := dec.Token()
		if err != nil {
			return order
		}
		if s, ok := t.(string); ok {
			if _, seen := order[s]; !seen {
				order[s] = i
			}
		}
	}
}

// Bytes is the state file for these invitations; nil where there are none and
// the file must not exist.
func (inv Invites) Bytes() []byte {
	if len(inv) == 0 {
		return nil
	}
	quote := func(s string) string { return string(metadata.Write(s)) }
	var b strings.Builder
	b.WriteString("{\n  \"invites\": {")
	for i, one := range inv {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "\n    %s: [", quote(one.Owner))
		for j, role := range one.Roles {
			if j > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, "\n      %s", quote(role))
		}
		b.WriteString("\n    ]")
	}
	b.WriteString("\n  }\n}")
	return []byte(b.String())
}

// To lists the people who are invited to a role, sorted.
func (inv Invites) To(role string) []string {
	var owners []string
	for _, one := range inv {
		if slices.Contains(one.Roles, role) {
			owners = append(owners, one.Owner)
		}
	}
	sort.Strings(owners)
	return owners
}

// Roles are the roles that a person is invited to, in the order of the file.
func (inv Invites) Roles(owner string) []string {
	for _, one := range inv {
		if one.Owner == owner {
			return one.Roles
		}
	}
	return nil
}

// With returns the invitations with one more.
func (inv Invites) With(owner, role string) Invites {
	next := slices.Clone(inv)
	for i, one := range next {
		if one.Owner == owner {
			if !slices.Contains(one.Roles, role) {
				next[i].Roles = append(slices.Clone(one.Roles), role)
			}
			return next
		}
	}
	return append(next, Invite{Owner: owner, Roles: []string{role}})
}

// Without returns the invitations without those of one person to a role; owner
// "" stands for everybody.
func (inv Invites) Without(owner, role string) Invites {
	var next Invites
	for _, one := range inv {
		if owner == "" || one.Owner == owner {
			one.Roles = slices.DeleteFunc(slices.Clone(one.Roles), func(r string) bool { return r == role })
		}
		if len(one.Roles) > 0 {
			next = append(next, one)
		}
	}
	return next
}

// Invites are the open invitations at this state. An error means that the file
// is not what it should be (rule state-file-invalid).
func (s *State) Invites(ctx context.Context) (Invites, error) {
	f, ok := s.files[StateFile]
	if !ok {
		return nil, nil
	}
	if !f.Regular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := s.repo.Git.BlobLimit(ctx, f.OID, maxStateFile)
	if err != nil {
		return nil, err
	}
	return ParseInvites(data)
}

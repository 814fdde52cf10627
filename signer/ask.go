package signer

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// maxTries bounds how often a question is asked again after an answer that
// cannot be used.
const maxTries = 3

// askFor asks until the answer can be used. Where nobody is asked the answer is
// otherwise.
func askFor[T any](ctx context.Context, p Person, question, otherwise string, read func(string) (T, error)) (T, error) {
	for try := 1; ; try++ {
		answer := ""
		if p != nil {
			var err error
			if answer, err = p.Ask(ctx, question, otherwise); err != nil {
				var zero T
				return zero, err
			}
		}
		if answer == "" {
			answer = otherwise
		}
		v, err := read(answer)
		if err == nil || p == nil || try == maxTries {
			return v, err
		}
		question = fmt.Sprintf("%v. Again, %s", err, question)
	}
}

// anyNumber is where a number has no bound of its own.
const anyNumber = math.MaxInt64

// askNumber asks for a number from least to most. Where nobody is asked it is
// taken as it is: the rules judge it.
func askNumber(ctx context.Context, p Person, question string, otherwise, least, most int64) (int64, error) {
	return askFor(ctx, p, question, strconv.FormatInt(otherwise, 10), func(answer string) (int64, error) {
		n, err := strconv.ParseInt(strings.TrimSpace(answer), 10, 64)
		switch {
		case err != nil || n < 1:
			return 0, fmt.Errorf("%q is not a number of at least 1", answer)
		case p != nil && n < least:
			return 0, fmt.Errorf("%d is too little: %d at least", n, least)
		case p != nil && n > most:
			return 0, fmt.Errorf("%d is too much: %d at most", n, most)
		}
		return n, nil
	})
}

// askPeriod completes the two periods of a role: what is not given is asked for.
// Present periods of which the signing one does not fit the given expiry give
// way to half of that.
func askPeriod(ctx context.Context, p Person, role string, expiry, signing *int64, presentExpiry, presentSigning int64) error {
	var err error
	if *expiry == 0 {
		// Re-signing starts at least one day before the end.
		if *expiry, err = askNumber(ctx, p, "Days until "+role+" expires", presentExpiry, max(2, *signing+1), anyNumber); err != nil {
			return err
		}
	}
	if *signing == 0 {
		if presentSigning >= *expiry {
			presentSigning = max(1, *expiry/2)
		}
		*signing, err = askNumber(ctx, p, "Days before its expiry from which "+role+" is signed again", presentSigning, 1, max(1, *expiry-1))
	}
	return err
}

// ParseSigners reads a list of owners, as a person writes it: logins with or
// without @, in any case, separated by commas, in brackets or not. Who stands
// there twice is listed once.
func ParseSigners(text string) ([]string, error) {
	var owners []string
	for one := range strings.SplitSeq(strings.Trim(strings.TrimSpace(text), "[]"), ",") {
		if strings.TrimSpace(one) == "" {
			continue
		}
		login := Login(one)
		if !loginPattern.MatchString(login) {
			return nil, fmt.Errorf("%q is not a login like @alice", strings.TrimSpace(one))
		}
		owners = append(owners, login)
	}
	if len(owners) == 0 {
		return nil, fmt.Errorf("at least one signer is needed")
	}
	return unique(owners), nil
}

func askSigners(ctx context.Context, p Person, question string, otherwise []string) ([]string, error) {
	return askFor(ctx, p, question, strings.Join(otherwise, ","), ParseSigners)
}

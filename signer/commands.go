package signer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/metadata"
	"github.com/tufops/tufops/repository"
)

// RoleAnswers are what is known beforehand of how a role is to be. A zero field
// is asked for, or, where nobody is asked, keeps what is there; for a new role
// it stands for the default.
type RoleAnswers struct {
	Signers     []string // @login
	OnlineKey   string   // the URI of the one key of a role that a machine signs
	Threshold   int64
	ExpiryDays  int64
	SigningDays int64
	// ReplaceKey has the person's own key for an existing role give way to another
	// one that they bring.
	ReplaceKey bool
}

// OnlineAnswers are the same for timestamp and snapshot.
type OnlineAnswers struct {
	Key                  string // URI
	TimestampExpiryDays  int64
	TimestampSigningDays int64
	SnapshotExpiryDays   int64
	SnapshotSigningDays  int64
}

// The periods of the online roles of a new repository, in days. Those of
// snapshot default to root's.
const (
	defaultTimestampExpiry  = 2
	defaultTimestampSigning = 1
)

// Review shows what signing an event would approve, and signs nothing. Findings
// are part of what it shows.
func Review(ctx context.Context, o Options) (Result, error) {
	s, err := newSession(o)
	if err != nil {
		return Result{}, err
	}
	st, err := s.fetch(ctx)
	if err != nil {
		return Result{}, err
	}
	if st.new {
		return Result{}, &NoEventError{s.Event, s.Config.PullRemote}
	}
	p, err := s.plan(ctx, st, change{})
	if err != nil {
		return Result{}, err
	}
	text := s.reviewText(ctx, p)
	if roles := p.event.Invites.Roles(s.Config.User); len(roles) > 0 {
		text.fold(2, "%s is invited to %s: tufops-sign sign %s accepts.", s.Config.User, strings.Join(roles, ", "), escape.Argument(s.Event))
	}
	if err := text.writeTo(s.Out); err != nil {
		return Result{}, err
	}
	if _, err := p.event.Reviewed(ctx, s.Now, p.policy); err != nil && !errors.As(err, new(*repository.GatedError)) {
		return Result{}, err // the findings have been shown; this is worse
	}
	return Result{Status: p.status}, nil
}

// Sign accepts the open invitations of this person and gives every signature
// that is then asked of them, in one commit.
func Sign(ctx context.Context, o Options) (Result, error) {
	s, err := newSession(o)
	if err != nil {
		return Result{}, err
	}
	user := s.Config.User
	return s.run(ctx, change{
		message: user + " accepted invitation", together: true,
		signing: "Signature from " + user,
		apply: func(ctx context.Context, edit *repository.Edit, _ *repository.State) error {
			for _, role := range slices.Clone(edit.Invites().Roles(user)) {
				var listed metadata.Delegation
				listed, _ = edit.Delegation(role)
				key, err := s.keys.own(ctx, user, listed)
				if err == nil {
					err = edit.Accept(role, key)
				}
				if err != nil {
					return fmt.Errorf("accept the invitation to role %s: %w", role, err)
				}
			}
			return nil
		},
	})
}

// Init makes the first root and targets of a new repository. The answers for
// targets default to those for root.
func Init(ctx context.Context, o Options, root, targets RoleAnswers, online OnlineAnswers) (Result, error) {
	s, err := newSession(o)
	if err != nil {
		return Result{}, err
	}
	var rootConfig, targetsConfig repository.RoleConfig
	var onlineConfig repository.OnlineConfig
	ready := false
	return s.run(ctx, change{
		message: "Initial root and targets",
		signing: "Signed by " + s.Config.User, opens: true,
		apply: func(ctx context.Context, edit *repository.Edit, _ *repository.State) error {
			if _, err := edit.Document(metadata.Root); !errors.As(err, new(*repository.MissingError)) {
				return &InitializedError{s.Event}
			}
			if !ready {
				if err := s.askInit(ctx, root, targets, online, &rootConfig, &targetsConfig, &onlineConfig); err != nil {
					return err
				}
				ready = true
			}
			return edit.Init(rootConfig, targetsConfig, onlineConfig)
		},
	})
}

// InitializedError says that there is a repository already.
type InitializedError struct{ Event string }

func (e *InitializedError) Error() string { return "there is a root already" }

// Hint says what to do.
func (e *InitializedError) Hint() string {
	return "change it with: tufops-sign delegate " + e.Event + " root"
}

func (s *session) askInit(ctx context.Context, root, targets RoleAnswers, online OnlineAnswers, r, t *repository.RoleConfig, oc *repository.OnlineConfig) error {
	present := RoleAnswers{
		Signers: []string{s.Config.User}, Threshold: 1,
		ExpiryDays: repository.DefaultExpiryDays, SigningDays: repository.DefaultSigningDays,
	}
	var err error
	if root, err = s.askRole(ctx, metadata.Root, root, present); err != nil {
		return err
	}
	if targets, err = s.askRole(ctx, metadata.Targets, targets, root); err != nil {
		return err
	}
	if online, err = s.askOnline(ctx, online, OnlineAnswers{
		TimestampExpiryDays: defaultTimestampExpiry, TimestampSigningDays: defaultTimestampSigning,
		SnapshotExpiryDays: root.ExpiryDays, SnapshotSigningDays: root.SigningDays,
	}); err != nil {
		return err
	}
	if online.Key == "" {
		return &NoOnlineKeyError{}
	}
	var own *metadata.Key
	if slices.Contains(root.Signers, s.Config.User) || slices.Contains(targets.Signers, s.Config.User) {
		if own, err = s.keys.own(ctx, s.Config.User, metadata.Delegation{}); err != nil {
			return err
		}
	}
	*r, *t = root.config(own), targets.config(own)
	*oc, err = s.onlineConfig(ctx, online)
	return err
}

// NoOnlineKeyError says that a new repository needs an online key.
type NoOnlineKeyError struct{}

func (*NoOnlineKeyError) Error() string {
	return "a new repository needs an online key, which signs timestamp and snapshot"
}

// Hint says what to do.
func (*NoOnlineKeyError) Hint() string { return "name it with --online-key URI, such as file2:PATH" }

func (a RoleAnswers) config(own *metadata.Key) repository.RoleConfig {
	return repository.RoleConfig{
		Signers: a.Signers, OwnKey: own,
		Threshold: a.Threshold, ExpiryPeriod: a.ExpiryDays, SigningPeriod: a.SigningDays,
	}
}

// askRole completes the answers for a role: what is not given is asked for, and
// present where nobody is asked or nothing answered.
func (s *session) askRole(ctx context.Context, role string, given, present RoleAnswers) (RoleAnswers, error) {
	var err error
	if given.Signers == nil {
		if given.Signers, err = askSigners(ctx, s.Person, "Signers of "+role, present.Signers); err != nil {
			return given, err
		}
	}
	n := int64(len(given.Signers))
	if given.Threshold == 0 && n < 2 {
		given.Threshold = n
	}
	if given.Threshold == 0 {
		question := fmt.Sprintf("Signatures that %s needs (of %d)", role, n)
		if given.Threshold, err = askNumber(ctx, s.Person, question, max(1, min(present.Threshold, n)), 1, n); err != nil {
			return given, err
		}
	}
	err = askPeriod(ctx, s.Person, role, &given.ExpiryDays, &given.SigningDays, present.ExpiryDays, present.SigningDays)
	return given, err
}

func (s *session) askOnline(ctx context.Context, given, present OnlineAnswers) (OnlineAnswers, error) {
	var err error
	if given.Key == "" {
		given.Key, err = askFor(ctx, s.Person, "Online key of timestamp and snapshot (URI)", present.Key, func(a string) (string, error) { return strings.TrimSpace(a), nil })
	}
	if err == nil {
		err = askPeriod(ctx, s.Person, metadata.Timestamp, &given.TimestampExpiryDays, &given.TimestampSigningDays, present.TimestampExpiryDays, present.TimestampSigningDays)
	}
	if err == nil {
		err = askPeriod(ctx, s.Person, metadata.Snapshot, &given.SnapshotExpiryDays, &given.SnapshotSigningDays, present.SnapshotExpiryDays, present.SnapshotSigningDays)
	}
	return given, err
}

func (s *session) onlineKey(ctx context.Context, uri string) (*metadata.Key, error) {
	if s.OnlineKeys == nil {
		return nil, fmt.Errorf("online key %s: this build cannot read online keys", uri)
	}
	pub, err := s.OnlineKeys.Public(ctx, uri)
	if err != nil {
		return nil, fmt.Errorf("use %s as online key: %w", uri, err)
	}
	key, err := metadata.NewKey(pub, "", uri)
	if err != nil {
		return nil, fmt.Errorf("use %s as online key: %w", uri, err)
	}
	return key, nil
}

func (s *session) onlineConfig(ctx context.Context, a OnlineAnswers) (repository.OnlineConfig, error) {
	c := repository.OnlineConfig{
		TimestampExpiry: a.TimestampExpiryDays, TimestampSigning: a.TimestampSigningDays,
		SnapshotExpiry: a.SnapshotExpiryDays, SnapshotSigning: a.SnapshotSigningDays,
	}
	if a.Key == "" {
		return c, nil
	}
	var err error
	c.Key, err = s.onlineKey(ctx, a.Key)
	return c, err
}

// AnswerError says that an answer does not fit the role.
type AnswerError struct{ Role, Reason, hint string }

func (e *AnswerError) Error() string { return "role " + e.Role + " " + e.Reason }

// Hint says what to do.
func (e *AnswerError) Hint() string { return e.hint }

// Delegate changes who signs a role and its periods, or creates a delegated
// role. For timestamp and snapshot, online holds what is to change, for others
// answers does.
func Delegate(ctx context.Context, o Options, role string, answers RoleAnswers, online OnlineAnswers) (Result, error) {
	s, err := newSession(o)
	if err != nil {
		return Result{}, err
	}
	switch {
	case metadata.IsOnline(role) && (answers.ReplaceKey || answers.Signers != nil || answers.Threshold != 0 || answers.ExpiryDays != 0 || answers.SigningDays != 0):
		return Result{}, &AnswerError{role, "is signed online: it has no signers of its own", "use --online-key, --timestamp-expiry-days and the like"}
	case !metadata.IsOnline(role) && online != OnlineAnswers{}:
		return Result{}, &AnswerError{role, "is not an online role", "name timestamp or snapshot to change the online roles"}
	case role == metadata.Root && answers.OnlineKey != "":
		return Result{}, &AnswerError{role, "is signed by people only", "name them with --signers"}
	case answers.OnlineKey != "" && (answers.Signers != nil || answers.Threshold > 1):
		return Result{}, &AnswerError{role, "has either an online key or signers", "leave out --signers and --threshold, or --online-key"}
	}
	var apply func(*repository.Edit) error // with what was answered the first time
	unchanged := false
	return s.run(ctx, change{
		message: "'" + role + "' role/delegation change",
		signing: "Signed by " + s.Config.User, opens: true,
		nothing: func() string {
			if unchanged {
				return "role " + role + " is already as you want it"
			}
			return ""
		},
		apply: func(ctx context.Context, edit *repository.Edit, state *repository.State) error {
			if _, err := edit.Document(metadata.Root); err != nil {
				return err
			}
			if apply == nil {
				var err error
				if metadata.IsOnline(role) {
					apply, err = s.planOnline(ctx, edit, online)
				} else {
					apply, err = s.planRole(ctx, edit, role, answers)
				}
				if err != nil {
					return err
				}
			}
			if err := apply(edit); err != nil {
				return err
			}
			files, err := edit.Changes(ctx)
			unchanged = len(files) == 0
			return err
		},
	})
}

// planOnline asks how the online roles are to be.
func (s *session) planOnline(ctx context.Context, edit *repository.Edit, given OnlineAnswers) (func(*repository.Edit) error, error) {
	timestamp, _ := edit.Delegation(metadata.Timestamp)
	snapshot, _ := edit.Delegation(metadata.Snapshot)
	t, sn := metadata.PeriodOf(timestamp.Object), metadata.PeriodOf(snapshot.Object)
	present := OnlineAnswers{
		TimestampExpiryDays: t.Expiry, TimestampSigningDays: t.Signing,
		SnapshotExpiryDays: sn.Expiry, SnapshotSigningDays: sn.Signing,
	}
	for _, k := range keysOf(timestamp) {
		present.Key = k.OnlineURI
	}
	// A key that stays is left as it is: nobody need be able to read it here.
	keep := present.Key
	if s.Person != nil {
		var err error
		if given, err = s.askOnline(ctx, given, present); err != nil {
			return nil, err
		}
		if given.Key == keep {
			given.Key = ""
		}
	}
	c, err := s.onlineConfig(ctx, given)
	return func(edit *repository.Edit) error { return edit.SetOnline(c) }, err
}

// planRole asks how an offline role is to be.
func (s *session) planRole(ctx context.Context, edit *repository.Edit, role string, given RoleAnswers) (func(*repository.Edit) error, error) {
	d, delegated := edit.Delegation(role)
	doc, docErr := edit.Document(role)
	if docErr != nil && !errors.As(docErr, new(*repository.MissingError)) {
		return nil, docErr
	}
	present := RoleAnswers{
		Signers: []string{s.Config.User}, Threshold: 1,
		ExpiryDays: repository.DefaultExpiryDays, SigningDays: repository.DefaultSigningDays,
	}
	online := false
	if delegated {
		present.Signers, present.Threshold = nil, d.Threshold
		for _, k := range keysOf(d) {
			if k.OnlineURI != "" {
				online = true
			} else if k.Owner != "" {
				present.Signers = append(present.Signers, k.Owner)
			}
		}
		present.Signers = unique(append(present.Signers, edit.Invites().To(role)...))
	}
	if docErr == nil {
		p := metadata.PeriodOf(doc.Signed())
		present.ExpiryDays, present.SigningDays = p.Expiry, p.Signing
	}
	c := repository.RoleConfig{
		Signers: given.Signers, Threshold: given.Threshold,
		ExpiryPeriod: given.ExpiryDays, SigningPeriod: given.SigningDays,
	}
	switch {
	case given.OnlineKey != "" || online && given.Signers == nil:
		// A role that a machine signs is asked for its periods only.
		ask := given
		ask.Signers, ask.Threshold = []string{}, 1
		if s.Person != nil {
			var err error
			if ask, err = s.askRole(ctx, role, ask, present); err != nil {
				return nil, err
			}
			c.ExpiryPeriod, c.SigningPeriod = ask.ExpiryDays, ask.SigningDays
		}
		if given.OnlineKey != "" {
			key, err := s.onlineKey(ctx, given.OnlineKey)
			if err != nil {
				return nil, err
			}
			c.OnlineKey = key
		}
	case s.Person != nil:
		answered, err := s.askRole(ctx, role, given, present)
		if err != nil {
			return nil, err
		}
		c = answered.config(nil)
		if given.Signers == nil && delegated && slices.Equal(answered.Signers, present.Signers) {
			c.Signers = nil // keeps keys and invitations as they stand
		}
	case !delegated:
		if c.Signers == nil {
			c.Signers = present.Signers
		}
	}
	has := slices.ContainsFunc(keysOf(d), func(k *metadata.Key) bool { return k.Owner == s.Config.User })
	switch {
	case given.ReplaceKey && !has:
		return nil, &AnswerError{role, "lists no key of " + s.Config.User + " that could be replaced", "leave out --replace-key"}
	case given.ReplaceKey && c.Signers == nil:
		c.Signers = present.Signers
	}
	if slices.Contains(c.Signers, s.Config.User) && (!has || given.ReplaceKey) {
		own, err := s.keys.own(ctx, s.Config.User, d)
		if err != nil {
			return nil, err
		}
		c.OwnKey, c.ReplaceOwn = own, given.ReplaceKey
	}
	return func(edit *repository.Edit) error { return edit.SetRole(role, c) }, nil
}

// MissingValuesError says that an import needs values that only a person knows.
// What was written to [Options.Out] is a file to fill in.
type MissingValuesError struct{ Event string }

func (e *MissingValuesError) Error() string {
	return "the metadata lacks values that only you know"
}

// Hint says what to do.
func (e *MissingValuesError) Hint() string {
	return "save the output as a file, fill in days for -1 and @login or an online key's URI for UNDEFINED, and run: tufops-sign import " + e.Event + " FILE"
}

// Import adopts a TUF repository that lacks the custom fields of this format.
// file holds values for what cannot be known; nil for none.
func Import(ctx context.Context, o Options, file []byte) (Result, error) {
	s, err := newSession(o)
	if err != nil {
		return Result{}, err
	}
	values, err := repository.ParseImportFile(file)
	if err != nil {
		return Result{}, fmt.Errorf("the import file cannot be read: %w", err)
	}
	return s.run(ctx, change{
		message: "Repo import by " + s.Config.User,
		signing: "Signed by " + s.Config.User, opens: true,
		apply: func(ctx context.Context, edit *repository.Edit, _ *repository.State) error {
			missing, err := edit.Import(values)
			if err != nil || missing == nil {
				return err
			}
			tree := metadata.Object{}
			for role, values := range missing {
				tree[role] = metadata.Object(values)
			}
			if _, err := fmt.Fprintf(s.Out, "%s\n", metadata.WriteIndent(tree, 2)); err != nil {
				return err
			}
			return &MissingValuesError{s.Event}
		},
	})
}

package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/tufops/tufops/internal/escape"
	"github.com/tufops/tufops/internal/git"
	"github.com/tufops/tufops/internal/metadata"
)

// Repository reads the TUF repository that a git repository holds below one
// folder. It is safe for concurrent use.
type Repository struct {
	Git *git.Repo
	dir string

	mu       sync.Mutex
	docs     map[git.OID]parsed // by blob: the states of one event share most files
	measured map[git.OID]Measured
}

type parsed struct {
	doc *metadata.Document
	err error
}

// New names the TUF repository below dir: slash-separated, relative to the top
// of the git repository, "" or "." for the top itself.
func New(g *git.Repo, dir string) (*Repository, error) {
	clean := path.Clean("/" + dir)[1:]
	if dir != "" && dir != "." && (path.IsAbs(dir) || clean != path.Clean(dir)) {
		return nil, fmt.Errorf("the TUF repository's folder %q does not lie inside the git repository", dir)
	}
	return &Repository{Git: g, dir: clean, docs: map[git.OID]parsed{}, measured: map[git.OID]Measured{}}, nil
}

// Path is where a file of the TUF repository stands in the git repository.
func (r *Repository) Path(file string) string { return path.Join(r.dir, file) }

// Dir is the folder of the TUF repository, "" for the top of the git repository.
func (r *Repository) Dir() string { return r.dir }

// File is one file of a state.
type File struct {
	Path string // relative to the TUF repository: metadata/root.json
	Mode git.Mode
	OID  git.OID
}

// Regular reports whether the file is an ordinary file, executable or not.
func (f File) Regular() bool { return f.Mode == git.ModeFile || f.Mode == git.ModeExecutable }

// State is the TUF repository at one commit (or tree). What it returns must not
// be changed.
type State struct {
	repo     *Repository
	commit   git.OID
	files    map[string]File // below metadata/, targets/ and keys/
	order    []string        // their paths, sorted
	roots    []int64         // versions in root_history, ascending
	delegate map[string][]Delegated
	reached  []string // the delegated targets roles, in the order a client meets them
}

// Delegated is a delegation and the role that makes it.
type Delegated struct {
	By string
	metadata.Delegation
}

// MissingError says that a role has no metadata file.
type MissingError struct {
	Role, File string
	Commit     git.OID
}

func (e *MissingError) Error() string {
	return fmt.Sprintf("%s (role %s) does not exist at commit %.10s", e.File, e.Role, e.Commit)
}

// Hint says what to do.
func (e *MissingError) Hint() string {
	if e.Role == metadata.Root {
		return "check -C and --tuf-dir; a new repository starts with: tufops-sign init sign/init"
	}
	return "restore the file from main: git checkout main -- " + escape.Argument(e.File)
}

// InvalidError says that a metadata file cannot be read as what it should be.
type InvalidError struct {
	Role, File string
	Commit     git.OID
	Err        error
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("%s (role %s) at commit %.10s: %v", e.File, e.Role, e.Commit, e.Err)
}

func (e *InvalidError) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *InvalidError) Hint() string {
	return "restore the file from the last good commit: git log -- " + escape.Argument(e.File)
}

// MetadataFile is the path of a role's metadata.
func MetadataFile(role string) string { return "metadata/" + role + ".json" }

// RootFile is the path of one version of root.
func RootFile(version int64) string {
	return fmt.Sprintf("metadata/root_history/%d.root.json", version)
}

// StateFile holds the open invitations of a signing event.
const StateFile = "metadata/.signing-event-state"

// At reads the state at a commit or tree. Metadata files are read here, in one
// go; artifacts when they are asked for. A file that cannot be parsed is no
// error yet: asking for its role is.
func (r *Repository) At(ctx context.Context, commit git.OID) (*State, error) {
	s := &State{repo: r, commit: commit, files: map[string]File{}}
	for _, dir := range []string{"metadata", "targets", "keys"} {
		entries, err := r.Git.Files(ctx, commit, r.Path(dir))
		if err != nil {
			return nil, fmt.Errorf("read %s at commit %.10s: %w", r.Path(dir), commit, err)
		}
		for _, e := range entries {
			p := e.Path
			if r.dir != "" {
				p = strings.TrimPrefix(p, r.dir+"/")
			}
			s.files[p] = File{Path: p, Mode: e.Mode, OID: e.OID}
			s.order = append(s.order, p)
		}
	}
	sort.Strings(s.order)
	var load []File
	for _, p := range s.order {
		f := s.files[p]
		if !f.Regular() {
			continue
		}
		if v, ok := rootVersion(p); ok {
			s.roots = append(s.roots, v)
		}
		if _, ok := roleOf(p); ok {
			load = append(load, f)
		}
	}
	sort.Slice(s.roots, func(i, j int) bool { return s.roots[i] < s.roots[j] })
	if err := r.load(ctx, load); err != nil {
		return nil, err
	}
	s.delegations()
	return s, nil
}

// roleOf is the role whose metadata stands in a file directly in metadata/.
func roleOf(p string) (string, bool) {
	name, ok := strings.CutPrefix(p, "metadata/")
	if !ok || strings.Contains(name, "/") {
		return "", false
	}
	role, ok := strings.CutSuffix(name, ".json")
	return role, ok && role != "" && role[0] != '.'
}

func rootVersion(p string) (int64, bool) {
	name, ok := strings.CutPrefix(p, "metadata/root_history/")
	number, ok2 := strings.CutSuffix(name, ".root.json")
	if !ok || !ok2 {
		return 0, false
	}
	v, err := strconv.ParseInt(number, 10, 64)
	return v, err == nil && v > 0 && strconv.FormatInt(v, 10) == number
}

// load parses blobs that are not parsed yet.
func (r *Repository) load(ctx context.Context, files []File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var want []git.OID
	for _, f := range files {
		if _, done := r.docs[f.OID]; !done {
			want = append(want, f.OID)
			r.docs[f.OID] = parsed{}
		}
	}
	if len(want) == 0 {
		return nil
	}
	err := r.Git.Blobs(ctx, want, func(i int, size int64, rd io.Reader) error {
		if size > maxMetadata {
			r.docs[want[i]] = parsed{err: &TooLargeError{Size: size, Max: maxMetadata}}
			return nil
		}
		data, err := io.ReadAll(rd)
		if err != nil {
			return err
		}
		doc, err := metadata.Parse(data)
		r.docs[want[i]] = parsed{doc: doc, err: err}
		return nil
	})
	if err != nil {
		for _, oid := range want { // nothing half-read may stay
			if p := r.docs[oid]; p.doc == nil && p.err == nil {
				delete(r.docs, oid)
			}
		}
		return fmt.Errorf("read metadata from git: %w", err)
	}
	return nil
}

// maxMetadata is the size beyond which a metadata file is not even read: the
// largest of the limits that common clients have.
const maxMetadata = 5_000_000

// TooLargeError says that a metadata file is larger than clients accept.
type TooLargeError struct{ Size, Max int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("it has %d bytes, more than the %d that clients read", e.Size, e.Max)
}

// Commit is what the state was read from.
func (s *State) Commit() git.OID { return s.commit }

// Repository is where the state was read from.
func (s *State) Repository() *Repository { return s.repo }

// File is one file of the state, by its path in the TUF repository.
func (s *State) File(p string) (File, bool) {
	f, ok := s.files[p]
	return f, ok
}

// Files are the files below a folder of the TUF repository, sorted by path.
func (s *State) Files(dir string) []File { return s.withPrefix(dir + "/") }

// withPrefix are the files whose path begins with prefix, sorted.
func (s *State) withPrefix(prefix string) []File {
	from := sort.SearchStrings(s.order, prefix)
	var files []File
	for _, p := range s.order[from:] {
		if !strings.HasPrefix(p, prefix) {
			break
		}
		files = append(files, s.files[p])
	}
	return files
}

// RootVersions are the versions in root_history, ascending.
func (s *State) RootVersions() []int64 { return s.roots }

// Roles are the roles that have a metadata file, in the order of
// [SortRoles]. Whether anybody delegates to them is another question.
func (s *State) Roles() []string {
	var roles []string
	for _, p := range s.order {
		if role, ok := roleOf(p); ok {
			roles = append(roles, role)
		}
	}
	return SortRoles(roles)
}

// SortRoles sorts role names the way every report lists them: root, targets,
// then by name.
func SortRoles(roles []string) []string {
	rank := func(role string) int {
		switch role {
		case metadata.Root:
			return 0
		case metadata.Targets:
			return 1
		}
		return 2
	}
	sort.Slice(roles, func(i, j int) bool {
		if a, b := rank(roles[i]), rank(roles[j]); a != b {
			return a < b
		}
		return roles[i] < roles[j]
	})
	return roles
}

// Document is the metadata of a role. The errors are *[MissingError] and
// *[InvalidError].
func (s *State) Document(role string) (*metadata.Document, error) {
	name := MetadataFile(role)
	f, ok := s.files[name]
	if !ok {
		return nil, &MissingError{Role: role, File: s.repo.Path(name), Commit: s.commit}
	}
	doc, err := s.repo.document(f)
	if err == nil && doc.Type() != typeOf(role) {
		err = fmt.Errorf("it holds metadata of type %s, not %s", doc.Type(), typeOf(role))
	}
	if err != nil {
		return nil, &InvalidError{Role: role, File: s.repo.Path(name), Commit: s.commit, Err: err}
	}
	return doc, nil
}

func (r *Repository) document(f File) (*metadata.Document, error) {
	if !f.Regular() {
		return nil, errors.New("it is not a regular file")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.docs[f.OID]
	if p.doc == nil && p.err == nil {
		return nil, errors.New("it was not read")
	}
	return p.doc, p.err
}

func typeOf(role string) string {
	switch role {
	case metadata.Root, metadata.Timestamp, metadata.Snapshot:
		return role
	}
	return metadata.Targets
}

// RootVersion is one version of root, from root_history.
func (s *State) RootVersion(ctx context.Context, version int64) (*metadata.Document, error) {
	name := RootFile(version)
	f, ok := s.files[name]
	if !ok {
		return nil, &MissingError{Role: metadata.Root, File: s.repo.Path(name), Commit: s.commit}
	}
	doc, err := s.repo.read(ctx, f)
	if err == nil && (doc.Type() != metadata.Root || doc.Version() != version) {
		err = fmt.Errorf("it holds %s version %d", doc.Type(), doc.Version())
	}
	if err != nil {
		return nil, &InvalidError{Role: metadata.Root, File: s.repo.Path(name), Commit: s.commit, Err: err}
	}
	return doc, nil
}

// listed is the version of a role that the snapshot lists; 0 where it does not.
func (s *State) listed(role string) int64 {
	snapshot, err := s.Document(metadata.Snapshot)
	if err != nil {
		return 0
	}
	return snapshot.Meta()[role+".json"].Version
}

// read parses a file that is not part of what [Repository.At] reads.
func (r *Repository) read(ctx context.Context, f File) (*metadata.Document, error) {
	if !f.Regular() {
		return nil, errors.New("it is not a regular file")
	}
	if err := r.load(ctx, []File{f}); err != nil {
		return nil, err
	}
	return r.document(f)
}

// delegations walks the delegation tree from targets as a client does, each
// (delegator, role) once, and notes who delegates to whom.
func (s *State) delegations() {
	s.delegate = map[string][]Delegated{}
	if root, err := s.Document(metadata.Root); err == nil {
		for _, d := range root.Delegations().Roles {
			s.delegate[d.Role] = append(s.delegate[d.Role], Delegated{By: metadata.Root, Delegation: d})
		}
	}
	visited := map[string]bool{metadata.Targets: true}
	queue := []string{metadata.Targets}
	for len(queue) > 0 {
		by := queue[0]
		queue = queue[1:]
		for _, d := range s.delegatesTo(by) {
			s.delegate[d.Role] = append(s.delegate[d.Role], d)
			if !visited[d.Role] {
				visited[d.Role] = true
				queue = append(queue, d.Role)
				s.reached = append(s.reached, d.Role)
			}
		}
	}
}

// delegatesTo lists the delegations of a targets role. Of hash bins only those
// that have a file are listed: there can be billions.
func (s *State) delegatesTo(by string) []Delegated {
	doc, err := s.Document(by)
	if err != nil || doc.Delegations() == nil {
		return nil
	}
	var list []Delegated
	for _, d := range doc.Delegations().Roles {
		if !reserved(d.Role) {
			list = append(list, Delegated{By: by, Delegation: d})
		}
	}
	if doc.Delegations().Succinct != nil {
		for _, role := range s.Roles() {
			if d, ok := doc.Delegation(role); ok {
				list = append(list, Delegated{By: by, Delegation: d})
			}
		}
	}
	return list
}

// reserved reports whether a delegated role's name would shadow a top-level
// role; such a delegation is never followed (rule role-name-unsafe).
func reserved(role string) bool {
	for _, top := range metadata.TopLevel {
		if strings.EqualFold(role, top) {
			return true
		}
	}
	return false
}

// Delegations are all delegations to a role, the one a client meets first first;
// none where nobody delegates to it.
func (s *State) Delegations(role string) []Delegated { return s.delegate[role] }

// Delegation is the delegation to a role that a client meets first.
func (s *State) Delegation(role string) (Delegated, bool) {
	if d := s.delegate[role]; len(d) > 0 {
		return d[0], true
	}
	return Delegated{}, false
}

// TargetsRoles are targets and all roles that it reaches by delegation, in the
// order a client meets them. A role need not have a file.
func (s *State) TargetsRoles() []string {
	return append([]string{metadata.Targets}, s.reached...)
}

// OfflineRoles are root and the targets roles that people sign: those whose
// delegation lists at least one key that is not an online key.
func (s *State) OfflineRoles() []string {
	roles := []string{metadata.Root}
	for _, role := range s.TargetsRoles() {
		d, ok := s.Delegation(role)
		if !ok {
			continue
		}
		for _, id := range d.KeyIDs {
			if k := d.Keys[id]; k != nil && k.OnlineURI == "" {
				roles = append(roles, role)
				break
			}
		}
	}
	return roles
}

// ArtifactFile is the file of a target path: artifacts stand below targets/
// under their own path.
func ArtifactFile(target string) string { return "targets/" + target }

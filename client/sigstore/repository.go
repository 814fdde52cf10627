package sigstore

import "github.com/sigstore/sigstore-go/pkg/tuf"

// Repository is a TUF repository with the trust material of a Sigstore instance.
type Repository struct {
	Name        string
	MetadataURL string
	TargetsURL  string
	Root        []byte // to start from; nil: nobody has vouched for one
}

// The repositories that are known by name.
const (
	PublicGood = "sigstore"
	Staging    = "staging"
)

// Lookup returns a known repository by its name. The roots are those that the
// sigstore-go library embeds, so they grow old with it. That does no harm: an
// expired root is still one to start from.
func Lookup(name string) (Repository, bool) {
	switch name {
	case PublicGood:
		return at(name, tuf.DefaultMirror, tuf.DefaultRoot()), true
	case Staging:
		return at(name, tuf.StagingMirror, tuf.StagingRoot()), true
	}
	return Repository{}, false
}

// At is the repository of an instance whose files lie as those of the known ones
// do: metadata at the URL, artifacts in targets below it.
func At(url string) Repository { return at(url, url, nil) }

func at(name, url string, root []byte) Repository {
	for len(url) > 0 && url[len(url)-1] == '/' {
		url = url[:len(url)-1]
	}
	return Repository{Name: name, MetadataURL: url, TargetsURL: url + "/targets", Root: root}
}

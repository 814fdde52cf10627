package onlinesign_test

import (
	"fmt"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"time"

	gotuf "github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"github.com/tufops/tufops/onlinesign/onlinesigntest"
)

func init() { clients["go-tuf"] = goTUF }

// goTUF updates with go-tuf's updater, what cosign and sigstore-go run.
func goTUF(w *onlinesigntest.World, anchor []byte, dir string) (timestamp, targets int64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("go-tuf panics: %v", p)
		}
	}()
	cfg, err := config.New("https://site.invalid/metadata", anchor)
	if err != nil {
		return 0, 0, err
	}
	cfg.Fetcher = siteFetcher(filepath.Join(w.Site, "metadata"))
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = filepath.Join(dir, "metadata"), filepath.Join(dir, "targets")
	u, err := updater.New(cfg)
	if err != nil {
		return 0, 0, err
	}
	u.UnsafeSetRefTime(w.Now)
	if err := u.Refresh(); err != nil {
		return 0, 0, err
	}
	set := u.GetTrustedMetadataSet()
	return set.Timestamp.Signed.Version, set.Targets[gotuf.TARGETS].Signed.Version, nil
}

// siteFetcher serves the files of a folder.
type siteFetcher string

func (dir siteFetcher) DownloadFile(url string, _ int64, _ time.Duration) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(string(dir), path.Base(url)))
	if os.IsNotExist(err) {
		return nil, &gotuf.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: url}
	}
	return data, err
}

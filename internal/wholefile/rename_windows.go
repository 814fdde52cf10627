package wholefile

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// These say that another process has the file open: a reader, or a scanner for
// viruses. The second is not among the names of package syscall.
const (
	accessDenied     = syscall.ERROR_ACCESS_DENIED
	sharingViolation = syscall.Errno(32)
)

// rename replaces a file also while others read the old one, which Windows
// refuses until they are done: it asks for two seconds.
func rename(from, to string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := os.Rename(from, to)
		if err == nil || wait > time.Second || !errors.Is(err, accessDenied) && !errors.Is(err, sharingViolation) {
			return err
		}
		time.Sleep(wait)
	}
}

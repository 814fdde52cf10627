// Package wholefile writes files that others see whole or not at all, on every
// system that people sign and verify on.
//
// It owns one thing: a file is written under another name, hidden by a dot,
// and takes its own name at the end. It decides nothing about what is in a file
// and trusts nobody to have left one behind: what a crash leaves is never read.
//
// There is google/renameio for this, which does not build on Windows.
package wholefile

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
)

// A File is being written. Nobody sees it under its name before Commit.
type File struct {
	*os.File
	path string
	over bool
}

// Create begins a file that will be path, with the permissions perm less the
// umask. It is written in the folder dir, which must be on the same file system
// as path; "" means that of path. Both folders must be there.
//
// The caller calls Discard in the end, whatever happened.
func Create(path, dir string, perm fs.FileMode) (*File, error) {
	if dir == "" {
		dir = filepath.Dir(path)
	}
	f, err := create(dir, filepath.Base(path), perm)
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: path}, nil
}

// create makes a file that was not there, under a name that others pass over.
func create(dir, base string, perm fs.FileMode) (f *os.File, err error) {
	for range 100 {
		name := filepath.Join(dir, "."+base+strconv.FormatUint(rand.Uint64(), 36))
		if f, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, perm); !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, err
}

// Commit closes the file and gives it its name, in place of another that may
// have it. Whether it outlives a power cut is for Sync to say, before. Without
// success there is what was there.
func (f *File) Commit() error {
	err := f.File.Close()
	if err == nil {
		err = rename(f.Name(), f.path)
	}
	f.over = err == nil
	return err
}

// Discard removes what was not committed. It may be called more than once.
func (f *File) Discard() {
	if f.over {
		return
	}
	f.over = true
	_ = f.File.Close() // which Commit may have done
	_ = os.Remove(f.Name())
}

// Write makes path hold data, also after a power cut that follows its return. A
// file that is there keeps its permissions, a new one has perm less the umask.
func Write(path string, data []byte, perm fs.FileMode) error {
	old, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := Create(path, "", perm)
	if err != nil {
		return err
	}
	defer f.Discard()
	if old != nil {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if _, err := f.File.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Commit()
}

package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strings"
	"sync"

	"github.com/tufops/tufops/publish"
)

// Memory is a store in memory with compare-and-swap and no lock, as cloud
// stores are. The zero value is empty and ready for use.
type Memory struct {
	mu      sync.Mutex
	objects map[string]memoryObject
	writes  int
}

type memoryObject struct {
	data                      []byte
	version                   int
	contentType, cacheControl string
}

// Get implements [publish.Reader].
func (m *Memory) Get(ctx context.Context, name string) (io.ReadCloser, publish.Version, error) {
	if err := valid(name); err != nil {
		return nil, "", err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	if !ok {
		return nil, "", fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return io.NopCloser(bytes.NewReader(o.data)), publish.Version(fmt.Sprint(o.version)), ctx.Err()
}

// List implements [publish.Reader].
func (m *Memory) List(_ context.Context, prefix string) ([]publish.Object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var objects []publish.Object
	for name, o := range m.objects {
		if strings.HasPrefix(name, prefix) {
			objects = append(objects, publish.Object{Name: name, Size: int64(len(o.data))})
		}
	}
	return objects, nil
}

// Put implements [publish.Store].
func (m *Memory) Put(ctx context.Context, u publish.Upload) error {
	name := u.Name
	if err := errors.Join(valid(name), ctx.Err()); err != nil {
		return err
	}
	data, err := io.ReadAll(u.Body)
	if err == nil && int64(len(data)) != u.Size {
		err = fmt.Errorf("%d bytes came, not %d", len(data), u.Size)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := publish.Version("")
	if o, ok := m.objects[name]; ok {
		now = publish.Version(fmt.Sprint(o.version))
	}
	if now != u.Was {
		return fmt.Errorf("%s: %w", name, publish.ErrChanged)
	}
	m.set(name, data)
	o := m.objects[name]
	o.contentType, o.cacheControl = u.ContentType, u.CacheControl
	m.objects[name] = o
	return nil
}

// Guarantees implements [publish.Store].
func (m *Memory) Guarantees() publish.Guarantees {
	return publish.Guarantees{CompareAndSwap: true, Headers: true}
}

// Delete implements [publish.Remover].
func (m *Memory) Delete(ctx context.Context, name string, was publish.Version) error {
	if err := errors.Join(valid(name), ctx.Err()); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch o, ok := m.objects[name]; {
	case !ok:
		return nil
	case publish.Version(fmt.Sprint(o.version)) != was:
		return fmt.Errorf("%s: %w", name, publish.ErrChanged)
	}
	delete(m.objects, name)
	return nil
}

func valid(name string) error {
	if !fs.ValidPath(name) || name == "." || strings.Contains(name, "\\") {
		return fmt.Errorf("%q cannot be the name of a published file", name)
	}
	return nil
}

// Headers are the content type and the cache header of an object.
func (m *Memory) Headers(name string) (contentType, cacheControl string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.objects[name]
	return o.contentType, o.cacheControl
}

func (m *Memory) set(name string, data []byte) {
	if m.objects == nil {
		m.objects = map[string]memoryObject{}
	}
	m.writes++
	m.objects[name] = memoryObject{data: data, version: m.writes}
}

// Set writes an object as somebody else would: unasked.
func (m *Memory) Set(name, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(name, []byte(content))
}

// Remove removes an object as somebody else would.
func (m *Memory) Remove(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
}

// Writes counts the writes so far.
func (m *Memory) Writes() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.writes
}

// Content is everything that is there, by name.
func (m *Memory) Content() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	content := map[string]string{}
	for name, o := range m.objects {
		content[name] = string(o.data)
	}
	return content
}

// Clone returns a copy that can go another way.
func (m *Memory) Clone() *Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return &Memory{objects: maps.Clone(m.objects), writes: m.writes}
}

package seal

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrMaster means that a text is no master key.
var ErrMaster = errors.New("seal: a master key is 32 random bytes in base64 (44 characters) or hex (64 digits); make one with `openssl rand -base64 32`")

// minDistinct is how many different bytes a key must have. Random ones have
// about 30; fewer than 16 come from a hand or a stuck generator.
const minDistinct = 16

// ParseMaster reads a master key from an environment variable or a file: 32
// random bytes in standard base64 or in hex, white space around them ignored.
// It returns [ErrMaster] for anything else, text that is no random key
// included, and never repeats it.
func ParseMaster(text string) (Key, error) {
	text = strings.TrimSpace(text)
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if len(text) == hex.EncodedLen(KeySize) {
		b, err = hex.DecodeString(text)
	}
	if err != nil || len(b) != KeySize || strings.ContainsAny(text, "\r\n") || distinct(b) < minDistinct {
		return Key{}, ErrMaster
	}
	return Key(b), nil
}

func distinct(b []byte) int {
	seen := make(map[byte]bool)
	for _, c := range b {
		seen[c] = true
	}
	return len(seen)
}

// LoadMaster reads the master key from a file that only its owner may read
// (mode 0600 or less). It returns an error that wraps [fs.ErrNotExist] when
// there is none, and [ErrMaster] for other contents.
func LoadMaster(path string) (Key, error) {
	f, err := os.Open(path)
	if err != nil {
		return Key{}, fmt.Errorf("seal: master key: %w", err)
	}
	defer f.Close()
	info, err := f.Stat() // of the file opened, not of what path means by now
	if err != nil {
		return Key{}, fmt.Errorf("seal: master key: %w", err)
	}
	switch {
	case !info.Mode().IsRegular():
		return Key{}, fmt.Errorf("seal: the master key %s is not a regular file; put the key in a file", path)
	case info.Mode().Perm()&0o077 != 0:
		return Key{}, fmt.Errorf("seal: the master key %s is open to others (mode %#o); run: chmod 600 %[1]s", path, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, 1024))
	if err != nil {
		return Key{}, fmt.Errorf("seal: master key: %w", err)
	}
	k, err := ParseMaster(string(text))
	if err != nil {
		return Key{}, fmt.Errorf("seal: the file %s: %w", path, err)
	}
	return k, nil
}

// LoadOrCreateMaster is [LoadMaster], or makes the file with a new key when
// there is none. The file appears whole and on disk, or not at all; of several
// processes that start together one creates it and all return its key. Whoever
// loses this file loses all that is sealed: keep a copy elsewhere.
func LoadOrCreateMaster(path string) (Key, error) {
	k, err := LoadMaster(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	if err := createMaster(path, NewKey()); err != nil && !errors.Is(err, fs.ErrExist) {
		return Key{}, fmt.Errorf("seal: create master key: %w", err)
	}
	return LoadMaster(path)
}

// createMaster writes k to path, which must not exist.
func createMaster(path string, k Key) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".master-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(base64.StdEncoding.EncodeToString(k[:]) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	// A link, unlike a rename, never replaces the key of a faster process.
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in dir survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

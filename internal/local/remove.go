package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
)

// Remove deletes a data folder, with the database that [StartPostgres] may
// have had to put elsewhere. It ends a server that a dead process left behind,
// and returns an error that wraps [ErrLocked] if the folder is in use.
func Remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	lock, err := Lock(dir)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }() // its file is gone by then
	folder, err := resolve(dir)
	if err != nil {
		return fmt.Errorf("local: remove: %w", err)
	}
	p := place{folder: folder, data: filepath.Join(folder, "postgres")}
	if b, err := os.ReadFile(p.pointer()); err == nil {
		p.data = strings.TrimSpace(string(b))
		if !strings.HasPrefix(filepath.Base(p.data), "postgres-") {
			return fmt.Errorf("local: remove: %s names %q, which is not a folder that this program made", p.pointer(), p.data)
		}
	}
	// The pointer goes with the folder, so the database goes first.
	if err := removeCluster(p); err != nil {
		return err
	}
	if err := os.RemoveAll(p.folder); err != nil {
		return fmt.Errorf("local: remove: %w", err)
	}
	return nil
}

func removeCluster(p place) error {
	data, err := os.Stat(p.data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("local: remove: %w", err)
	}
	lock, err := lockFile(p.data + ".lock")
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }() // its file is gone by then
	if err := stopOrphan(context.Background(), p, slog.New(slog.DiscardHandler)); err != nil {
		return fmt.Errorf("local: remove: %w", err)
	}
	gone := []string{p.data, p.data + ".lock"}
	if fi, err := os.Lstat(p.socketDir()); err == nil && fileOwner(fi).Uid == fileOwner(data).Uid {
		gone = append(gone, p.socketDir())
	}
	for _, path := range gone {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("local: remove: %w", err)
		}
	}
	return nil
}
